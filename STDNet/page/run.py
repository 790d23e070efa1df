"""One run: the sample or a capture in, a folder of results out, with what the page shows of them."""

from __future__ import annotations

import logging
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from STDNet.datasets.source import sample_video
from STDNet.errors import InputError
from STDNet.files import write_npy
from STDNet.models import STDNet
from STDNet.page.result import Result, collect
from STDNet.super_resolve import SuperResolveConfig, open_capture
from STDNet.super_resolve.capture import Camera, Capture
from STDNet.super_resolve.grid import LEAST_RATIO, Grid, Size, downsample_for, nearest_scale, size, stored_sizes
from STDNet.super_resolve.run import run_config

log = logging.getLogger(__name__)
MAX_PIXELS = 4_000_000  # of an output frame; the full RGB of a phone's capture has 2.8 million
MAX_RGB_PIXELS = 50_000_000
ARCHIVE = "result.zip"
# Shares of the time: the sample's sensor, the network, the film and what the page shows.
SIMULATED, NETWORK = 0.1, 0.9

# What is going on, and the share of the run that is done, 0 to 1.
Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Task:
    """What one run is asked to do.

    Attributes:
        capture: Folder of the capture; None is the sample.
        weights: A name or a file.
        scale: Of the weights.
        frames: At most so many, from the first one on.
        device: A device or "auto".
        sample: Folder of the sample.
    """

    capture: Path | None
    weights: str
    scale: int
    frames: int
    device: str
    sample: Path


class Facts(NamedTuple):
    """What the page says of a capture before a run."""

    format: str
    frames: int
    rgb: Size
    depth: Size
    scale: int  # the one to suggest


def describe(folder: Path) -> Facts:
    """Look at a capture; `InputError` where it cannot be used."""
    capture = open_capture(folder)
    rgb, depth = stored_sizes(capture)
    if rgb[0] * rgb[1] > MAX_RGB_PIXELS:
        raise InputError(f"the pictures have {size(rgb)} pixels; make them smaller")
    scale = nearest_scale(rgb, depth, _block(rgb, depth, 4), "the capture")
    return Facts(capture.format, len(capture.frames), rgb, depth, scale)


def perform(task: Task, folder: Path, report: Report) -> Result:
    """Super-resolve, score where there is ground truth, and pack the files for the download.

    Args:
        task: What to do.
        folder: Empty; for everything that is made.
        report: Called with progress; what it raises stops the run.

    Raises:
        InputError: The capture, the weights and the scale do not go together, or a file is broken.
    """
    source, camera, flow, before = task.capture, None, None, 0.0
    if source is None:
        source, before = folder / "capture", SIMULATED
        camera, flow = _write_sample(task, source, report)
    capture = open_capture(source)
    rgb, depth = stored_sizes(capture)
    grid = Grid(rgb, depth, _block(rgb, depth, task.scale), task.scale)
    if grid.output[0] * grid.output[1] > MAX_PIXELS:
        raise InputError(f"at x{task.scale} the result has {size(grid.output)} pixels a frame; choose a smaller scale")
    config = SuperResolveConfig(
        capture=source,
        out=folder / "result",
        weights=task.weights,
        scale=task.scale,
        frames=task.frames,
        downsample_depth=grid.downsample,
        device=task.device,
    )
    frames = min(task.frames, len(capture.frames))
    summary = run_config(config, _watch(report, frames, before))
    report("measuring and drawing", 0.95)
    result = collect(folder, _first(capture, frames), grid, summary, camera=camera, flow=flow)
    _pack(folder)
    return result


def _watch(report: Report, frames: int, before: float) -> Callable[[], None]:
    """Counts the steps of `run_config`: every frame is read, written and read again for the film."""
    steps, early = 0, STDNet.chunk + 1  # so many frames are read before the network begins

    def watch() -> None:
        nonlocal steps
        steps += 1
        if steps < 2 * frames:
            done = max(0, steps - early) / max(1, 2 * frames - early)
            report("super-resolving", before + (NETWORK - before) * done)
        else:
            report("drawing the film", min(0.95, NETWORK + 0.05 * (steps / frames - 2)))

    return watch


def _block(rgb: Size, depth: Size, scale: int) -> int:
    """Depth pixels that are taken as one, along each axis: more than one where depth is as fine as RGB."""
    ratio = rgb[0] / depth[0]
    return 1 if ratio >= LEAST_RATIO else downsample_for(depth, ratio, scale)


def _first(capture: Capture, frames: int) -> Capture:
    names = capture.frames[:frames]
    return Capture(capture.format, capture.folder, names, capture.metres_per_unit, capture.camera)


def _write_sample(task: Task, folder: Path, report: Report) -> tuple[Camera, Callable[[int], Any]]:
    """The sample as a capture, with simulated LR depth (as demo.py has it) and ground truth; its camera and flow."""
    video = sample_video(task.sample, scale=task.scale)
    frames = min(task.frames, len(video))
    (folder / "rgb").mkdir(parents=True)
    for t, clip in enumerate(video.frames(0, frames)):
        assert clip.gt is not None
        report("simulating the sensor", SIMULATED * t / frames)
        rgb = video.layout.frames[t].rgb
        shutil.copyfile(rgb, folder / "rgb" / f"{t:06d}{rgb.suffix}")
        write_npy(folder / "lr" / f"{t:06d}.npy", clip.lr[0, 0].numpy())
        write_npy(folder / "depth" / f"{t:06d}.npy", clip.gt[0, 0].numpy())
    poses = next(task.sample.glob("*/poses.txt"))
    with poses.open() as file:
        found = re.search(r"fx fy cx cy = (\S+) (\S+) (\S+) (\S+)", file.readline())
    if found is None:
        raise InputError(f"{poses}: the first line does not name fx fy cx cy; get the sample again")
    fx, fy, cx, cy = (float(number) for number in found.groups())
    return Camera(fx, fy, cx, cy, video.height, video.width), video.flow


def _pack(folder: Path) -> None:
    """The results as one archive; its films and pictures are compressed already."""
    with zipfile.ZipFile(folder / ARCHIVE, "w") as archive:
        for path in sorted((folder / "result").rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
