"""The sizes of a run: how RGB and LR depth are brought to one whole, supported ratio."""

from __future__ import annotations

import math
from dataclasses import dataclass

from STDNet.datasets import reading
from STDNet.errors import InputError
from STDNet.super_resolve.capture import Capture

SCALES = (4, 8, 16)  # what weights exist for
LEAST_RATIO = 2.0  # below, the depth is about as fine as RGB already
ASPECT_TOLERANCE = 0.03

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Grid:
    """Sizes as (height, width) in pixels.

    Attributes:
        rgb: Of the pictures as they are stored.
        depth: Of the depth maps as they are stored.
        downsample: Stored depth pixels per LR pixel, along each axis.
        scale: Output pixels per LR pixel, along each axis.
    """

    rgb: Size
    depth: Size
    downsample: int
    scale: int

    @property
    def lr(self) -> Size:
        """The depth that the network gets."""
        return self.depth[0] // self.downsample, self.depth[1] // self.downsample

    @property
    def output(self) -> Size:
        """The result, and RGB as the network gets it."""
        return self.lr[0] * self.scale, self.lr[1] * self.scale

    def described(self) -> str:
        """One line for the log."""
        text = f"RGB {size(self.rgb)} over LR depth {size(self.lr)} is x{self.rgb[0] / self.lr[0]:.4g}"
        if self.rgb == self.output:
            return f"{text}: nothing is resized"
        kind = "enlarged" if self.rgb[0] < self.output[0] else "reduced"
        return f"{text}: RGB is {kind} to {size(self.output)} for x{self.scale} (height x width)"


def stored_sizes(capture: Capture) -> tuple[Size, Size]:
    """(RGB, depth) of the first frame."""
    height, width = reading.read_depth(capture.frames[0].depth).shape
    return reading.image_size(capture.frames[0].rgb), (height, width)


def nearest_scale(rgb: Size, depth: Size, downsample: int, where: object) -> int:
    """The supported scale that resizes RGB least.

    Args:
        rgb: Stored size.
        depth: Stored size.
        downsample: Stored depth pixels per LR pixel.
        where: The capture, for messages.

    Raises:
        InputError: `depth` is no multiple of `downsample`, RGB and depth show different shapes, or the depth is about
            as fine as RGB.
    """
    if downsample < 1 or any(side % downsample for side in depth):
        raise InputError(f"--downsample_depth {downsample}: must divide the depth maps' {size(depth)} pixels")
    down, across = rgb[0] / depth[0], rgb[1] / depth[1]
    if abs(down / across - 1) > ASPECT_TOLERANCE:
        turned = abs(rgb[0] / depth[1] * depth[0] / rgb[1] - 1) <= ASPECT_TOLERANCE
        advice = "one of them is turned by 90 degrees: turn it back" if turned else "crop RGB to what the depth shows"
        raise InputError(f"{where}: RGB is {size(rgb)}, depth {size(depth)} (height x width); {advice}")
    ratio = down * downsample
    if ratio < LEAST_RATIO:
        raise InputError(
            f"{where}: RGB {size(rgb)} over depth {size(depth)} (height x width) is x{ratio:.4g}, the network needs "
            f"coarser depth, about x4, x8 or x16; take blocks of its pixels as one with --downsample_depth "
            f"{downsample_for(depth, ratio / downsample)}"
        )
    return min(SCALES, key=lambda scale: abs(math.log(scale / ratio)))


def downsample_for(depth: Size, ratio: float, scale: int = SCALES[0]) -> int:
    """The divisor of the depth's sides that brings RGB over depth, which is `ratio`, nearest to `scale`."""
    divisors = [n for n in range(1, 65) if not any(side % n for side in depth)]
    return min(divisors, key=lambda n: abs(math.log(scale / (ratio * n))))


def size(value: Size) -> str:
    """Height x width."""
    return f"{value[0]} x {value[1]}"
