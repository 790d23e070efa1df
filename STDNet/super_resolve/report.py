"""What is said and drawn of a finished result, read back from disk frame by frame: numbers, film, x-t slice, points."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from STDNet.clip import Clip
from STDNet.files import write_image
from STDNet.geometry import unproject
from STDNet.super_resolve.capture import Camera
from STDNet.super_resolve.config import DEFAULT_FRAMES_PER_S, SuperResolveConfig
from STDNet.super_resolve.inputs import CaptureFrames
from STDNet.super_resolve.output import Output, millimetres, write_ply
from STDNet.visualize import Panel, colour, film, picture, slices, strip

log = logging.getLogger(__name__)
PANEL_WIDTH = 400
RANGE_FRAMES = 8  # the film's colour scale is that of so many frames
SLICE_FRAMES = 512  # of a longer video every n-th frame is in the x-t slice: its memory is bounded


class Result(NamedTuple):
    """One frame: what went in, and the depth [H, W] in metres that came out."""

    t: int
    clip: Clip
    depth_m: Tensor
    lr_m: Tensor  # [h, w], 0 in holes


@dataclass
class Totals:
    """Counts over all frames."""

    lr_pixels: int = 0
    holes: int = 0
    beyond: int = 0
    first_beyond: int | None = None
    low_m: float = float("inf")
    high_m: float = float("-inf")
    without_mm: int = 0

    def add(self, result: Result, max_depth_m: float) -> None:
        """Count one frame."""
        lr, depth = result.lr_m, result.depth_m
        beyond = int((lr > max_depth_m).sum())
        if beyond and self.first_beyond is None:
            self.first_beyond = result.t
        self.lr_pixels += lr.numel()
        self.holes += int((lr == 0).sum())
        self.beyond += beyond
        self.without_mm += int((millimetres(depth.numpy()) == 0).sum())
        assert result.clip.valid is not None
        known = depth[result.clip.valid[0, 0] & depth.isfinite()]
        if known.numel():
            self.low_m = min(self.low_m, float(known.min()))
            self.high_m = max(self.high_m, float(known.max()))

    def summary(self, max_depth_m: float) -> dict[str, Any]:
        """The numbers for summary.json; also says in the log what the user should know."""
        share = self.beyond / max(1, self.lr_pixels - self.holes)
        if self.beyond:
            log.warning(
                "%d LR pixels (%.2g of those measured) are beyond --max_depth %g m, the first in frame %s; they are "
                "not clipped, but the network has not seen such depth: is the unit right?",
                *(self.beyond, share, max_depth_m, self.first_beyond),
            )
        if self.without_mm:
            log.warning("%d output pixels are not within 0.5 mm and 65.535 m; in the PNG they are 0", self.without_mm)
        measured = self.low_m <= self.high_m
        return {
            "depth_range_m": [self.low_m, self.high_m] if measured else None,
            "invalid_share": self.holes / max(1, self.lr_pixels),
            "beyond_max_depth": {"lr_pixels": self.beyond, "share": share, "first_frame": self.first_beyond},
            "pixels_without_mm": self.without_mm,
        }


def report(
    frames: CaptureFrames, output: Output, config: SuperResolveConfig, cameras: Mapping[int, Camera]
) -> dict[str, Any]:
    """Read every frame of the result once; draw what was asked for.

    Args:
        frames: The capture.
        output: Its finished result.
        config: The flags.
        cameras: Frame -> camera, of the point clouds.

    Returns:
        The numbers for summary.json.
    """
    totals, rows = Totals(), SliceRows(len(frames))

    def visited() -> Iterator[Result]:
        for result in _results(frames, output):
            totals.add(result, frames.max_depth_m)
            if result.t in cameras:
                _point_cloud(output.folder / "ply" / f"{result.clip.name}.ply", result, cameras[result.t])
            if config.preview:
                rows.add(result)
            yield result

    if config.preview and importlib.util.find_spec("av") is None:
        log.warning("preview.mp4 is left out: films need the package av: pip install 'STDNet[video]'")
    if config.preview and importlib.util.find_spec("av") is not None:
        span = _depth_span(frames)
        speed = config.frames_per_s or frames.capture.frames_per_s or DEFAULT_FRAMES_PER_S
        pictures = (_side_by_side(result, span) for result in visited())
        film(output.folder / "preview.mp4", pictures, frames_per_s=speed)
    else:
        for _ in visited():
            pass
    if config.preview:
        rows.draw(output.folder / "slices.png")
    return totals.summary(frames.max_depth_m)


class SliceRows:
    """The middle row of the frames, over time."""

    def __init__(self, frames: int) -> None:
        self.step = -(-frames // SLICE_FRAMES)
        self.depth: list[Tensor] = []
        self.lr: list[Tensor] = []

    def add(self, result: Result) -> None:
        """Keep the row of one frame."""
        if result.t % self.step == 0:
            row, scale = result.lr_m.shape[0] // 2, result.clip.scale
            # Copies: a view would keep its whole frame in memory.
            self.depth.append(result.depth_m[row * scale + scale // 2].clone())
            self.lr.append(result.lr_m[row].repeat_interleave(scale))

    def draw(self, path: Path) -> None:
        """Write the picture."""
        depth = torch.stack(self.depth)[:, None]
        if not (depth > 0).any():
            log.warning("%s is left out: there is no depth above 0 in the middle row", path.name)
            return
        every = f", every {self.step} frames" if self.step > 1 else ""
        label = f"middle row over time{every}; grey: not measured"
        image = slices({"STDNet": depth, "LR depth": torch.stack(self.lr)[:, None]}, 0, label=label)
        write_image(path, image)


def _results(frames: CaptureFrames, output: Output) -> Iterator[Result]:
    """The frames of a finished result, in order."""
    for t, clip in enumerate(frames.frames()):
        assert clip.valid is not None
        known = clip.valid[0, 0, :: clip.scale, :: clip.scale]
        yield Result(t, clip, torch.from_numpy(output.read(clip.name)), torch.where(known, clip.lr[0, 0], 0.0))


def _depth_span(frames: CaptureFrames) -> tuple[float, float]:
    """1st and 99th percentile of the measured depth of a few frames all over the capture, in metres."""
    chosen = np.linspace(0, len(frames) - 1, min(RANGE_FRAMES, len(frames))).round().astype(int)
    values = np.concatenate([depth_m[known] for depth_m, known in (frames.lr_depth(int(t)) for t in chosen)])
    low, high = np.percentile(values, [1, 99]) if values.size else (0.0, frames.max_depth_m)
    return float(low), float(high)


def _side_by_side(result: Result, span: tuple[float, float]) -> Image.Image:
    """RGB, LR depth with its holes in grey, and the result."""
    finer = max(1, result.depth_m.shape[1] // (2 * PANEL_WIDTH))  # colours for more pixels than are shown take long
    lr = torch.where(result.lr_m > 0, result.lr_m, float("nan"))
    maps = {"LR depth": lr, "STDNet": result.depth_m[::finer, ::finer]}
    panels = [Panel("RGB", picture(result.clip.rgb[0])), *(Panel(k, colour(v, *span)) for k, v in maps.items())]
    return strip(f"frame {result.t}: {result.clip.name}", panels, span, width=PANEL_WIDTH)


def _point_cloud(path: Path, result: Result, camera: Camera) -> None:
    """The points that the sensor measured, in the colours of RGB."""
    assert result.clip.valid is not None
    depth = result.depth_m
    height, width = depth.shape
    seen = result.clip.valid[0, 0] & depth.isfinite() & (depth > 0)
    points = unproject(depth, camera.intrinsics(height, width))[seen]
    colours = (result.clip.rgb[0].permute(1, 2, 0)[seen] * 255).round().byte()
    write_ply(path, points.numpy(), colours.numpy())
