"""Capture: what a format module says about a recording: where its frames are, in which unit, and through which lens."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from STDNet.datasets import reading
from STDNet.datasets.layout import absent
from STDNet.errors import InputError

METRE, MILLIMETRE = 1.0, 1e-3


class Frame(NamedTuple):
    """One moment: a picture and the LR depth that belongs to it.

    Attributes:
        name: The stem of the result's files.
        rgb: The picture, or the video file that holds the pictures of all frames.
        depth: The LR depth.
        confidence: How much the sensor trusts each LR pixel, 0 to 2; None where the format does not say.
        number: Which picture of the video file it is; pictures in files of their own do not need it.
    """

    name: str
    rgb: Path
    depth: Path
    confidence: Path | None = None
    number: int = 0


class Camera(NamedTuple):
    """A pinhole camera, in pixels of a picture of height x width; the centre of the top left pixel is (0.5, 0.5)."""

    fx: float
    fy: float
    cx: float
    cy: float
    height: int
    width: int

    def intrinsics(self, height: int, width: int) -> tuple[float, float, float, float]:
        """(fx, fy, cx, cy) for the same picture resized to height x width."""
        across, down = width / self.width, height / self.height
        return self.fx * across, self.fy * down, self.cx * across, self.cy * down


@dataclass(frozen=True)
class Capture:
    """A recording as its format module describes it.

    Attributes:
        format: A key of `FORMATS`.
        folder: Where it lies.
        frames: Its frames, in order.
        metres_per_unit: What a stored depth of 1 is in metres.
        camera: The camera of the picture of frame t; None where the capture does not say.
        frames_per_s: None where the capture does not say.
        left_out: RGB or depth frames without a partner, which are not among `frames`.
    """

    format: str
    folder: Path
    frames: tuple[Frame, ...]
    metres_per_unit: float
    camera: Callable[[int], Camera | None] = lambda t: None
    frames_per_s: float | None = None
    left_out: int = 0

    def __post_init__(self) -> None:
        if not self.frames:
            raise InputError(
                f"{self.folder}: no frame with both RGB and depth ({self.left_out} frames have no partner, format "
                f"{self.format}): check that names, numbers or timestamps belong together"
            )
        names = [frame.name for frame in self.frames]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{self.folder}: two frames are called {twice!r}; the results need names that differ")

    def refuse_missing(self) -> None:
        """Every file is there, or an `InputError` names the first that is not."""
        paths = [path for frame in self.frames for path in (frame.rgb, frame.depth, frame.confidence) if path]
        if lacking := list(absent(dict.fromkeys(paths))):
            raise InputError(f"{lacking[0]}: no such file; {self.folder} lacks {len(lacking)} file(s), copy it again")

    def pictures(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """The pictures of frames start..stop-1, [H, W, 3] uint8, read one at a time."""
        frames = self.frames[start:stop]
        if not frames:
            return
        if frames[0].rgb.suffix.lower() not in reading.VIDEO_SUFFIXES:
            yield from reading.rgb_frames([frame.rgb for frame in frames], 0, len(frames))
            return
        first, last = frames[0].number, frames[-1].number
        wanted = {frame.number for frame in frames}
        pictures = reading.rgb_frames([frames[0].rgb] * (last + 1), first, last + 1)
        for number, picture in enumerate(pictures, start=first):
            if number in wanted:
                yield picture


def match_times(first: Sequence[float], second: Sequence[float], within_s: float) -> list[tuple[int, int]]:
    """Pairs (i, j) of the nearest times, in order; each time belongs to one pair at most.

    Args:
        first: Ascending times in seconds.
        second: Ascending times in seconds.
        within_s: Times further apart are no pair.
    """
    best: dict[int, int] = {}
    for i, time in enumerate(first):
        place = bisect_left(second, time)
        for j in sorted(range(max(0, place - 1), min(len(second), place + 1)), key=lambda j: abs(second[j] - time))[:1]:
            apart = abs(second[j] - time)
            if apart <= within_s and (j not in best or apart < abs(second[j] - first[best[j]])):
                best[j] = i
    return [(i, j) for j, i in sorted(best.items())]


def rate(times_s: Sequence[float]) -> float | None:
    """Frames a second of frames taken at ascending times; None where there is no telling."""
    return (len(times_s) - 1) / (times_s[-1] - times_s[0]) if len(times_s) > 1 and times_s[-1] > times_s[0] else None


def numbers_of(path: Path, line: str, count: int, separator: str | None = None) -> list[float]:
    """The first `count` numbers of a line of a text file; `InputError` where they are none."""
    try:
        numbers = [float(cell) for cell in line.split(separator)[:count]]
    except ValueError:
        numbers = []
    if len(numbers) < count:
        raise InputError(f"{path}: {line.strip()!r} should begin with {count} number(s); copy the file again")
    return numbers


def lines_of(path: Path) -> list[str]:
    """The lines of a text file that are neither empty nor comments."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise reading.missing(path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable text file ({error}); copy it again") from None
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
