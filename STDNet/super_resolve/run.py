"""From a capture to files: choose scale and weights, super-resolve the frames that are not there yet, report."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from STDNet import checkpoint, distributed
from STDNet.checkpoint import Checkpoint
from STDNet.clip import Clip
from STDNet.command_line import progress
from STDNet.datasets import Video
from STDNet.errors import InputError
from STDNet.evaluation import for_inference, predict
from STDNet.files import write_json
from STDNet.models import DepthVideoModel, STDNet
from STDNet.super_resolve.capture import Camera, Capture
from STDNet.super_resolve.config import DEFAULT_MAX_DEPTH_M, SuperResolveConfig
from STDNet.super_resolve.formats import open_capture
from STDNet.super_resolve.grid import Grid, nearest_scale, stored_sizes
from STDNet.super_resolve.inputs import CaptureFrames
from STDNet.super_resolve.output import UNITS, Output
from STDNet.super_resolve.report import report
from STDNet.systems import UNTRAINED

log = logging.getLogger(__name__)


def super_resolve(capture: Path | str, out: Path | str, **options: Any) -> dict[str, Any]:
    """Super-resolve the depth of a capture, frame by frame, in memory that does not grow with its length.

    A run that was stopped goes on where it was: finished frames stay, the others are computed with the frames of
    context to either side that the model looks at, so that they are what one run would have given.

    Args:
        capture: The folder of a capture: rgb/ or rgb.mp4 with lr/, Stray Scanner, ARKitScenes, or TUM RGB-D.
        out: The folder of the results: depth_m/*.npy (metres), depth_mm/*.png (16 bit), valid/*.png (255 where the
            sensor measured, 0 where a hole was filled), preview.mp4, slices.png, ply/*.ply and summary.json.
        options: The other fields of `SuperResolveConfig`: format, weights, model, scale, max_depth, min_confidence,
            frames, downsample_depth, save, preview, ply, focal, frames_per_s, device, amp.

    Returns:
        What summary.json holds: frames, seconds, depth range, share of invalid pixels, depth beyond max_depth, units.

    Raises:
        InputError: A capture that is not there, is of no known format, or whose files do not belong together or are
            broken; RGB and depth of sizes that do not go together; weights of another scale; results of other settings
            in `out`; a point cloud without intrinsics.
    """
    return run_config(SuperResolveConfig(capture=Path(capture), out=Path(out), **options))


def run_config(config: SuperResolveConfig, watch: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """What `super_resolve` does, of checked flags.

    `watch` is called whenever a frame was read for the network, written, or read for the report: three times a frame.
    An exception that it raises stops the run, which can be gone on with later.
    """
    assert config.capture is not None and config.out is not None
    capture = open_capture(config.capture, config.format)
    capture = dataclasses.replace(capture, frames=capture.frames[: config.frames])
    log.info("%s: %s capture of %d frames", capture.folder, capture.format, len(capture.frames))
    if capture.left_out:
        log.warning("%s: %d frames have no partner and are left out", capture.folder, capture.left_out)
    cameras = _cameras(config, capture)
    name, weights, grid = _weights_and_grid(config, capture)
    log.info("%s", grid.described())
    max_depth_m = config.max_depth or weights.max_depth_m or DEFAULT_MAX_DEPTH_M
    frames = CaptureFrames(capture, grid, max_depth_m=max_depth_m, min_confidence=config.min_confidence, watch=watch)
    device = distributed.choose_device(config.device)
    output = Output(config.out, config.save)
    settings = _settings(frames, name, config.amp)
    output.claim(settings)
    model = for_inference(checkpoint.build(weights, source=name), device)
    effort = _complete(model, frames, output, device, config.amp, watch)
    numbers = report(frames, output, config, cameras)
    units = {path: unit for path, unit in UNITS.items() if (output.folder / path).parent.is_dir()}
    left_out = {"frames_left_out": capture.left_out}
    summary = {**settings, **left_out, "weights": name, "device": str(device), **effort, **numbers, "units": units}
    write_json(output.folder / "summary.json", summary)
    log.info("wrote %d frames and %s", len(frames), output.folder / "summary.json")
    return summary


def _complete(
    model: DepthVideoModel,
    frames: CaptureFrames,
    output: Output,
    device: torch.device,
    amp: str,
    watch: Callable[[], None],
) -> dict[str, float | int | None]:
    """Write the frames that are not there yet; how many were, and how long the others took."""
    missing = output.unfinished([frame.name for frame in frames.capture.frames])
    if kept := len(frames) - len(missing):
        log.info("%s: %d of %d frames are there already and are kept", output.folder, kept, len(frames))
    started, network_seconds = time.perf_counter(), 0.0
    made = _predicted(model, frames, missing, device, amp)
    for clip, depth_m, seconds in progress(made, total=len(missing), desc="super-resolve", unit="frames"):
        assert clip.valid is not None
        output.write(clip.name, depth_m[0, 0].float().cpu(), clip.valid[0, 0])
        network_seconds += seconds
        watch()
    seconds = time.perf_counter() - started
    return {
        "frames_kept": kept,
        "frames_computed": len(missing),
        "seconds": round(seconds, 3),
        "network_seconds": round(network_seconds, 3),
        "frames_per_s": round(len(missing) / seconds, 3) if missing else None,
    }


def spans(missing: Sequence[int], *, reach: int = STDNet.reach, chunk: int = STDNet.chunk) -> list[tuple[int, int]]:
    """Ranges start..stop-1 that cover the missing frames.

    Gaps that are shorter than the context of a new start are covered too. A range starts with one of the batches that
    a run over everything has, and one batch early: all that its first frame depends on is then computed in the same
    batches as there, and the results are equal to the bit, not only to the rounding.
    """
    found: list[tuple[int, int]] = []
    for t in missing:
        if found and t - found[-1][1] <= 2 * reach:
            found[-1] = found[-1][0], t + 1
        else:
            found.append((max(0, t - t % chunk - chunk), t + 1))
    return found


def _predicted(
    model: DepthVideoModel, frames: CaptureFrames, missing: Sequence[int], device: torch.device, amp: str
) -> Iterator[tuple[Clip, Tensor, float]]:
    """(frame, depth [1, 1, H, W] in metres, seconds) of the missing frames, in order."""
    wanted = set(missing)
    # Of a video, `predict` uses the length, the frames and the normaliser alone.
    video = cast(Video, frames)
    for start, stop in spans(missing, reach=model.reach, chunk=model.chunk):
        for t, result in enumerate(predict(model, video, start, stop, device=device, amp=amp), start=start):
            if t in wanted:
                yield result


def _weights_and_grid(config: SuperResolveConfig, capture: Capture) -> tuple[str, Checkpoint, Grid]:
    """The name of the weights, what they are, and the sizes; --scale decides, then --weights, then the capture."""
    rgb, depth = stored_sizes(capture)
    nearest = nearest_scale(rgb, depth, config.downsample_depth, capture.folder)
    name = config.weights or f"stdnet-s-x{config.scale or nearest}"
    if config.model in UNTRAINED:
        name = config.model
        weights = checkpoint.of_model(name, name, scale=config.scale or nearest)
    else:
        weights = checkpoint.of_model(config.model, name, scale=config.scale)
    return name, weights, Grid(rgb, depth, config.downsample_depth, weights.config.scale)


def _settings(frames: CaptureFrames, weights: str, amp: str) -> dict[str, Any]:
    """All that decides what the results are."""
    capture, grid = frames.capture, frames.grid
    return {
        "capture": str(capture.folder.resolve()),
        "format": capture.format,
        "frames": len(frames),
        "first_frame": capture.frames[0].name,
        "last_frame": capture.frames[-1].name,
        "weights_sha256": _fingerprint(weights),
        "scale": grid.scale,
        "max_depth_m": frames.max_depth_m,
        "min_confidence": frames.min_confidence,
        "downsample_depth": grid.downsample,
        "amp": amp,
        "rgb_size": list(grid.rgb),
        "lr_size": list(grid.lr),
        "output_size": list(grid.output),
    }


def _fingerprint(weights: str) -> str:
    """Of the file of the weights; of a model without weights, its name."""
    if weights in UNTRAINED:
        return weights
    return hashlib.sha256(checkpoint.locate(weights).read_bytes()).hexdigest()


def _cameras(config: SuperResolveConfig, capture: Capture) -> dict[int, Camera]:
    """The camera of every frame that becomes a point cloud."""
    cameras: dict[int, Camera] = {}
    height, width = stored_sizes(capture)[0] if config.ply else (0, 0)
    for t in config.ply:
        if not 0 <= t < len(capture.frames):
            raise InputError(f"--ply {t}: the capture has the frames 0 to {len(capture.frames) - 1}")
        camera = capture.camera(t)
        if config.focal is not None:
            camera = Camera(config.focal, config.focal, width / 2, height / 2, height, width)
        if camera is None:
            raise InputError(
                f"--ply {t}: {capture.folder} has no intrinsics; give the focal length in pixels of the stored RGB "
                f"({width} pixels across) with --focal"
            )
        cameras[t] = camera
    return cameras
