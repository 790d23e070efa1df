"""What a data set module says about one sequence: where its files are and in which unit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from STDNet.errors import InputError

# (stored values, their file) -> float32 metres. Module-level functions or partials of them: workers pickle these.
ToMetres = Callable[[np.ndarray, Path], np.ndarray]
PROTOCOLS = ("paper", "metric")
WITHOUT_A_DOWNLOAD = (
    "Without a download: python demo.py, train.py --dataset synthetic, "
    "python -m STDNet.evaluation --dataset synthetic --model_dir stdnet-s-x4"
)


@dataclass(frozen=True)
class Frame:
    """Where the files of one frame are.

    Attributes:
        rgb: The picture, or the video file that holds the pictures of all frames.
        depth: High-resolution depth; None where there is no ground truth.
        lr: Where the layout puts the low-resolution depth, whether or not the file exists.
        flow: Forward optical flow to the next frame; None where there is no such file.
    """

    rgb: Path
    depth: Path | None
    lr: Path
    flow: Path | None = None


class Box(NamedTuple):
    """A rectangle of pixels: HR pixels, or LR pixels where an argument is called `lr_box`."""

    top: int
    left: int
    height: int
    width: int

    def times(self, factor: int) -> Box:
        """The same rectangle on a grid that is `factor` times finer."""
        return Box(*(side * factor for side in self))


@dataclass(frozen=True)
class SensorRange:
    """The simulated sensor's histogram: `bins` bins over 0..`max_range_m` metres."""

    max_range_m: float = 100.0
    bins: int = 1024


@dataclass(frozen=True)
class DepthRule:
    """Which depths of a file the protocol uses.

    Attributes:
        clip_m: Ground truth and LR depth are clipped to 0..`clip_m`; None leaves them as they are.
        masked: True: ground truth that is not finite or not strictly between `above_m` and `below_m` becomes 0 and
            `valid` False. False: there is no mask, and such a depth (NaN, infinite, negative) is an error.
        above_m: Valid depths are larger.
        below_m: Valid depths are smaller.
    """

    clip_m: float | None = None
    masked: bool = False
    above_m: float = 0.0
    below_m: float = float("inf")

    def ground_truth(self, depth_m: Tensor) -> tuple[Tensor, Tensor | None]:
        """(depth, mask) as the protocol wants them, of depth as it is stored; the mask is None where there is none."""
        if self.clip_m is not None:
            depth_m = depth_m.clamp(0, self.clip_m)
        if not self.masked:
            return depth_m, None
        valid = depth_m.isfinite() & (depth_m > self.above_m) & (depth_m < self.below_m)
        return torch.where(valid, depth_m, 0.0), valid


def as_metres(values: np.ndarray, path: Path) -> np.ndarray:
    """Files that hold metres as floating-point numbers, which is the common case."""
    if not np.issubdtype(values.dtype, np.floating):
        raise InputError(f"{path}: depth of type {values.dtype}; expected metres as floating-point numbers")
    return values.astype(np.float32)


@dataclass(frozen=True)
class Layout:
    """One sequence as a data set module describes it.

    Attributes:
        name: For messages, tables and output folders: "hospital/P047".
        frames: Where the files are.
        max_depth_m: The depth that the network sees as 1.
        sensor: The range of the simulated sensor.
        rule: Clipping and mask.
        metres: Reads stored HR depth as metres.
        lr_metres: Reads stored LR depth as metres.
        centre: (stored height, stored width, height, width): frames of the stored size are cropped to their centre.
        poses: The camera poses of a static scene, one line a frame; None where there are none.
        flow: Reads the stored values of a flow file as [H, W, 2] pixels.
    """

    name: str
    frames: tuple[Frame, ...]
    max_depth_m: float
    sensor: SensorRange
    rule: DepthRule = field(default_factory=DepthRule)
    metres: ToMetres = as_metres
    lr_metres: ToMetres = as_metres
    centre: tuple[int, int, int, int] | None = None
    poses: Path | None = None
    flow: Callable[[Path], np.ndarray] | None = None


def first_folder(name: str, tried: Iterable[Path], advice: str) -> Path:
    """The first of `tried` that is a folder.

    Raises:
        InputError: None is; the message lists them all and ends with `advice`, what to download and where to put it.
    """
    tried = list(tried)
    for folder in tried:
        if folder.is_dir():
            return folder
    raise InputError(f"{name}: not found; looked for {' and '.join(map(str, tried))}. {advice}. {WITHOUT_A_DOWNLOAD}")


def absent(paths: Iterable[Path]) -> Iterator[Path]:
    """Those that are no files; every folder is listed once, which is faster than asking for each file."""
    listed: dict[Path, set[str]] = {}
    for path in paths:
        if path.parent not in listed:
            listed[path.parent] = {item.name for item in path.parent.iterdir()} if path.parent.is_dir() else set()
        if path.name not in listed[path.parent]:
            yield path


def files(folder: Path, *patterns: str) -> list[Path]:
    """The files of `folder` that match one of the glob patterns, in natural order: frame_2 before frame_10."""
    found = {path for pattern in patterns for path in folder.glob(pattern) if not path.name.startswith(".")}
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts numbers in file names by value."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def take(found: list[Path], count: int, what: str, where: Path) -> list[Path]:
    """The first `count` of the files found.

    Raises:
        InputError: There are fewer.
    """
    if len(found) < count:
        raise InputError(
            f"{where}: {len(found)} {what} found, {count} expected: a frame is missing, or the index "
            f"counts more frames than there are"
        )
    return found[:count]
