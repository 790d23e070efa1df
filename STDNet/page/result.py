"""A finished run as the page shows it: depth maps by kind, pictures of them, slices, points, and the scores."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from STDNet.datasets import reading
from STDNet.datasets.layout import as_metres, files
from STDNet.errors import InputError
from STDNet.evaluation import upsample_bilinear
from STDNet.files import write_image, write_npy
from STDNet.geometry import unproject
from STDNet.metrics import ErrorSums
from STDNet.super_resolve.capture import MILLIMETRE, Camera, Capture
from STDNet.super_resolve.grid import Grid, size
from STDNet.super_resolve.inputs import CaptureFrames
from STDNet.visualize import ERROR_M, VIRIDIS, colour, picture

log = logging.getLogger(__name__)
METHODS = ("bilinear", "stdnet")
MAX_SHOWN = 1280  # pixels across a picture on the page; finer ones are thinned out
RANGE_FRAMES = 8  # the colour scale is that of about so many pixels as these frames have
MAX_POINTS = 120_000  # that a phone's browser still turns smoothly
ASSUMED_VIEW_DEG = 60.0  # horizontal field of view of a capture that does not say its camera

Flow = Callable[[int], Tensor | None]


@dataclass(frozen=True)
class Result:
    """One finished run.

    Attributes:
        folder: Of the run: result/ is what super_resolve wrote, view/ what else the page shows.
        names: Of the frames.
        grid: The sizes.
        span_m: 1st and 95th percentile of the measured depth: a view through a window takes no colours away.
        camera: Of the output's pixels.
        camera_known: False where the field of view is a guess.
        scores: Method -> metrics in cm; empty where there is no ground truth.
        summary: What super_resolve says.
    """

    folder: Path
    names: tuple[str, ...]
    grid: Grid
    span_m: tuple[float, float]
    camera: tuple[float, float, float, float]
    camera_known: bool
    scores: dict[str, dict[str, float | None]]
    summary: dict[str, Any]

    @property
    def kinds(self) -> tuple[str, ...]:
        """What can be shown of a frame."""
        return ("rgb", "lr", *METHODS, *(("truth", "error_bilinear", "error_stdnet") if self.scores else ()))

    def depth(self, kind: str, t: int) -> np.ndarray:
        """[H, W] metres on disk, [h, w] for "lr"; 0 or NaN where there is none."""
        if kind == "rgb" or kind not in self.kinds or not 0 <= t < len(self.names):
            raise InputError(f"{kind}, frame {t}: there is no such depth in this result")
        if kind == "stdnet":
            return reading.read_npy(self.folder / "result" / "depth_m" / f"{self.names[t]}.npy")
        return reading.read_npy(_view(self.folder, kind, t))

    def picture(self, kind: str, t: int) -> tuple[bytes, str]:
        """A frame as the page shows it, and its media type: colour as it is, depth and errors in colours."""
        if kind == "rgb" and 0 <= t < len(self.names):
            return _view(self.folder, "rgb", t, ".jpg").read_bytes(), "image/jpeg"
        step = 1 if kind == "lr" else -(-self.grid.output[1] // MAX_SHOWN)
        return self._png(kind, self._rows(kind, t, 0, self.grid.output[0])[::step, ::step]), "image/png"

    def row_over_time(self, kind: str, row: int) -> bytes:
        """One row of every frame, t down and x to the right, as a PNG one pixel a frame high; of RGB there is none."""
        if not 0 <= row < self.grid.output[0]:
            raise InputError(f"row {row}: the frames have the rows 0 to {self.grid.output[0] - 1}")
        row = row // self.grid.scale if kind == "lr" else row
        lines = [self._rows(kind, t, row, row + 1)[0] for t in range(len(self.names))]
        return self._png(kind, np.stack(lines))

    def points(self, kind: str, t: int) -> bytes:
        """The point cloud of a frame: of every point x, y, z (float32, metres; right, down, forward) and RGB0 (uint8).

        Holes are left out, and so are points at regular distances where there are more than MAX_POINTS.
        """
        if kind.startswith("error"):
            raise InputError(f"{kind}: errors have no point cloud")
        depth_m = torch.from_numpy(np.array(self.depth(kind, t), np.float32))
        height, width = depth_m.shape
        factor = width / self.grid.output[1]
        points = unproject(depth_m, [value * factor for value in self.camera])
        with Image.open(_view(self.folder, "rgb", t, ".jpg")) as image:
            rgb = np.asarray(image.resize((width, height), Image.Resampling.BOX))
        step = math.ceil(math.sqrt(height * width / MAX_POINTS))
        seen = self._valid(t, (height, width)) & (depth_m.numpy() > 0)
        seen, points, rgb = seen[::step, ::step], points[::step, ::step], rgb[::step, ::step]
        found = np.zeros(int(seen.sum()), np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 4)]))
        found["xyz"], found["rgb"][:, :3] = points.numpy()[seen], rgb[seen]
        return found.tobytes()

    def _rows(self, kind: str, t: int, start: int, stop: int) -> np.ndarray:
        """Rows start..stop-1 of a depth or error map, NaN where it is unknown."""
        if kind.startswith("error_"):
            made = self.depth(kind.removeprefix("error_"), t)
            return np.abs(made[start:stop] - self._rows("truth", t, start, stop))
        rows = np.array(self.depth(kind, t)[start:stop])
        return np.where(rows > 0, rows, np.nan)

    def _valid(self, t: int, shape: tuple[int, ...]) -> np.ndarray:
        """[h, w] bool: where the sensor measured."""
        with Image.open(self.folder / "result" / "valid" / f"{self.names[t]}.png") as image:
            return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.NEAREST)) > 0

    def _png(self, kind: str, values: np.ndarray) -> bytes:
        error = kind.startswith("error_")
        ends = (0.0, ERROR_M) if error else self.span_m
        image = colour(torch.from_numpy(np.array(values)), *ends, *((VIRIDIS,) if error else ()))
        content = io.BytesIO()
        image.save(content, "PNG", compress_level=3)
        return content.getvalue()


def collect(
    folder: Path,
    capture: Capture,
    grid: Grid,
    summary: dict[str, Any],
    *,
    camera: Camera | None = None,
    flow: Flow | None = None,
) -> Result:
    """Go through the frames of a finished run once: keep what the page shows, and score it.

    Args:
        folder: Of the run, with result/ in it.
        capture: The frames of the run.
        grid: Their sizes.
        summary: Of super_resolve.
        camera: Of the stored pictures; None asks the capture.
        flow: Frame -> forward flow [H, W, 2], for TEPE; None where there is none.
    """
    frames = CaptureFrames(capture, grid, max_depth_m=summary["max_depth_m"])
    truths = _truths(capture, grid)
    sums: dict[str, ErrorSums] = {}
    measured: list[np.ndarray] = []
    before: dict[str, Tensor] = {}
    for t, clip in enumerate(frames.frames()):
        assert clip.valid is not None
        rgb = picture(clip.rgb[0])
        rgb.thumbnail((MAX_SHOWN, MAX_SHOWN))
        write_image(_view(folder, "rgb", t, ".jpg"), rgb, quality=90)
        bilinear = upsample_bilinear(clip.lr, grid.scale)[0, 0]
        write_npy(_view(folder, "bilinear", t), bilinear.numpy())
        known = clip.valid[0, 0, :: grid.scale, :: grid.scale]
        write_npy(_view(folder, "lr", t), torch.where(known, clip.lr[0, 0], float("nan")).numpy())
        measured.append(clip.lr[0, 0][known].numpy()[:: max(1, len(frames) // RANGE_FRAMES)])
        if truths:
            stdnet = np.load(folder / "result" / "depth_m" / f"{clip.name}.npy", allow_pickle=False)
            now = {"truth": _truth(truths[t], grid), "bilinear": bilinear, "stdnet": torch.from_numpy(stdnet)}
            write_npy(_view(folder, "truth", t), now["truth"].numpy())
            _add(sums, before, now, flow(t - 1) if flow and t else None)
            before = now
    values = np.concatenate(measured)
    low, high = np.percentile(values, [1, 95]) if values.size else (0.0, 1.0)
    intrinsics, camera_known = _intrinsics(camera or capture.camera(0), grid)
    scores = {method: total.metrics() for method, total in sums.items()}
    names = tuple(frame.name for frame in capture.frames)
    return Result(folder, names, grid, (float(low), float(high)), intrinsics, camera_known, scores, summary)


def _add(sums: dict[str, ErrorSums], before: dict[str, Tensor], now: dict[str, Tensor], flow: Tensor | None) -> None:
    """The errors of one frame, and of the pair that it ends, as in the protocol "metric"."""
    truth = now["truth"]
    for method in METHODS:
        total = sums.get(method, ErrorSums()) + ErrorSums.of_frames(truth, now[method], truth > 0)
        if before and flow is not None:
            truths, made = (torch.stack((before[kind], now[kind])) for kind in ("truth", method))
            total = total + ErrorSums.of_pairs(truths, made, flow[None], truths > 0, protocol="metric")
        sums[method] = total


def _truths(capture: Capture, grid: Grid) -> list[Path]:
    """The ground truth, one file a frame: depth/ beside lr/ in a folder, of the output's size; else empty."""
    depth, lr = (files(capture.folder / name, *reading.DEPTH_PATTERNS) for name in ("depth", "lr"))
    if capture.format != "folder" or not lr or len(depth) != len(lr):
        return []
    if reading.read_depth(depth[0]).shape != grid.output:
        log.warning("%s: not of the result's size, so nothing is scored", depth[0].parent)
        return []
    return depth


def _truth(path: Path, grid: Grid) -> Tensor:
    """[H, W] metres, 0 where it is unknown."""
    stored = reading.read_depth(path)
    if stored.shape != grid.output:
        raise InputError(f"{path}: {size(stored.shape)} pixels, but the first has {size(grid.output)}; copy it again")
    depth_m = stored * np.float32(MILLIMETRE) if path.suffix == ".png" else as_metres(stored, path)
    return torch.from_numpy(np.where(np.isfinite(depth_m) & (depth_m > 0), depth_m, 0).astype(np.float32))


def _intrinsics(camera: Camera | None, grid: Grid) -> tuple[tuple[float, float, float, float], bool]:
    """(fx, fy, cx, cy) of the output, and whether they are known."""
    height, width = grid.output
    if camera is not None:
        return camera.intrinsics(height, width), True
    focal = width / (2 * math.tan(math.radians(ASSUMED_VIEW_DEG) / 2))
    return (focal, focal, width / 2, height / 2), False


def _view(folder: Path, kind: str, t: int, suffix: str = ".npy") -> Path:
    return folder / "view" / kind / f"{t:06d}{suffix}"
