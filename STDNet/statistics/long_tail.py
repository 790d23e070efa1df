"""Histograms of depth errors and depth differences, inside and outside the regions that hold the long tail.

The paper motivates its two branches by two histograms: |GT - upsampled LR| in smooth and non-smooth regions (spatial),
and |D_t - D_t+1| and |D_t - D_t+2| (temporal). It gives neither the upsampling nor the border between the regions.
Here the upsampling is bilinear (what the network adds its residual to), and

    non-smooth    on or within 2 pixels of a step of more than 5 % of the depth (`metrics.depth_edges`, the edges of
                  every table); smooth is the rest
    changing      a pixel whose ground truth changes by more than 5 % of the nearer depth from frame t to t + k, without
                  any warping, as in the paper's |D_t - D_t+k|; still is the rest

Pure functions of tensors in metres; sums that add up, so that videos of any length are seen one frame at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from STDNet.errors import InputError
from STDNet.metrics import EDGE_STEP, depth_edges

DISTANCES = (1, 2)  # frames, as in the paper: the adjacent and the cross neighbour
# What is compared -> its calm region and the one that holds the long tail.
QUANTITIES = {
    "depth": ("smooth", "non-smooth"),
    "difference 1": ("still", "changing"),
    "difference 2": ("still", "changing"),
}


@dataclass(frozen=True)
class Bins:
    """`count` bins of `width_m` metres, [0, width), [width, 2 * width) ..., and a last one for all beyond."""

    width_m: float = 0.05
    count: int = 60

    def __post_init__(self) -> None:
        if not (0 < self.width_m < 1000 and 1 <= self.count <= 100_000):
            raise InputError(f"bins: need a positive width in metres and 1 to 100000 of them, got {self}")

    def edges_m(self) -> list[float]:
        """The `count` + 1 borders of the bounded bins."""
        return [i * self.width_m for i in range(self.count + 1)]


@dataclass(frozen=True)
class Distribution:
    """A histogram of absolute values in metres, with their exact sum.

    Attributes:
        counts: [bins + 1] int64; the last one counts the values beyond the bins.
        total_m: Sum of the values.
    """

    counts: Tensor
    total_m: float = 0.0

    @classmethod
    def of(cls, values_m: Tensor, bins: Bins) -> Distribution:
        """The distribution of some non-negative values, any shape, in metres."""
        values_m = values_m.flatten().double()
        edges = torch.tensor(bins.edges_m(), dtype=torch.float64, device=values_m.device)
        place = torch.bucketize(values_m, edges, right=True) - 1
        return cls(torch.bincount(place, minlength=bins.count + 1).cpu(), float(values_m.sum()))

    def __add__(self, other: Distribution) -> Distribution:
        """The distribution of both together."""
        return Distribution(self.counts + other.counts, self.total_m + other.total_m)

    @property
    def pixels(self) -> int:
        """How many values there are."""
        return int(self.counts.sum())

    @property
    def mean_m(self) -> float:
        """Their mean, NaN where there are none."""
        return self.total_m / self.pixels if self.pixels else float("nan")


class Estimates(NamedTuple):
    """One frame: truth [H, W] in metres, where it is valid [H, W] bool, and depth [H, W] by the name of its method."""

    truth: Tensor
    valid: Tensor
    depths: Mapping[str, Tensor]


@dataclass(frozen=True)
class LongTail:
    """The statistics of any number of frames; those of two parts add up.

    Attributes:
        bins: Of every histogram.
        truth: Distance k in frames -> distribution of |D_t - D_t+k| of the ground truth.
        errors: (method, quantity, region) -> distribution of the absolute error. Quantities and regions are those of
            `QUANTITIES`: the depth itself, and the signed differences P_t - P_t+k against D_t - D_t+k.
    """

    bins: Bins
    truth: dict[int, Distribution] = field(default_factory=dict)
    errors: dict[tuple[str, str, str], Distribution] = field(default_factory=dict)

    def __add__(self, other: LongTail) -> LongTail:
        """Both together."""
        return LongTail(self.bins, _sum(self.truth, other.truth), _sum(self.errors, other.errors))

    def methods(self) -> list[str]:
        """The names of the methods, in their order."""
        return list(dict.fromkeys(method for method, _, _ in self.errors))

    def share(self, method: str, quantity: str, region: str) -> tuple[float, float]:
        """Which part of the pixels, and of the summed absolute error, lies in `region`; NaN where there is nothing."""
        parts = {name: self.errors[method, quantity, name] for name in QUANTITIES[quantity]}
        pixels, total = sum(part.pixels for part in parts.values()), sum(part.total_m for part in parts.values())
        here = parts[region]
        return (here.pixels / pixels if pixels else float("nan")), (here.total_m / total if total else float("nan"))


def long_tail(frames: Iterable[Estimates], bins: Bins) -> LongTail:
    """The statistics of one video, from its frames in order; three of them are held at a time.

    Raises:
        InputError: Shapes that do not fit each other.
    """
    found, before = LongTail(bins), deque[Estimates](maxlen=max(DISTANCES))
    for frame in frames:
        for name, value in {**frame.depths, "valid": frame.valid}.items():
            if value.shape != frame.truth.shape:
                raise InputError(f"{name} is {tuple(value.shape)}, the ground truth {tuple(frame.truth.shape)}")
        found += _of_frame(frame, bins)
        for distance in DISTANCES:
            if len(before) >= distance:
                found += _of_pair(before[-distance], frame, distance, bins)
        before.append(frame)
    return found


def changing(earlier_m: Tensor, later_m: Tensor, step: float = EDGE_STEP) -> Tensor:
    """Where depth [H, W] differs between two frames by more than `step` of the nearer depth: [H, W] bool."""
    return (earlier_m - later_m).abs() > step * torch.minimum(earlier_m, later_m)


def _of_frame(frame: Estimates, bins: Bins) -> LongTail:
    """The depth errors of one frame."""
    rough = depth_edges(frame.truth, frame.valid)
    regions = dict(zip(QUANTITIES["depth"], (frame.valid & ~rough, frame.valid & rough), strict=True))
    return LongTail(bins, errors=_by_region(frame.depths, frame.truth, "depth", regions, bins))


def _of_pair(earlier: Estimates, later: Estimates, distance: int, bins: Bins) -> LongTail:
    """The differences of two frames."""
    valid, quantity = earlier.valid & later.valid, f"difference {distance}"
    moving = changing(earlier.truth, later.truth)
    regions = dict(zip(QUANTITIES[quantity], (valid & ~moving, valid & moving), strict=True))
    truth = earlier.truth.double() - later.truth.double()
    differences = {name: depth.double() - later.depths[name].double() for name, depth in earlier.depths.items()}
    errors = _by_region(differences, truth, quantity, regions, bins)
    return LongTail(bins, {distance: Distribution.of(truth[valid].abs(), bins)}, errors)


def _by_region(
    values: Mapping[str, Tensor], truth: Tensor, quantity: str, regions: Mapping[str, Tensor], bins: Bins
) -> dict[tuple[str, str, str], Distribution]:
    """The absolute errors of every method in every region."""
    return {
        (method, quantity, region): Distribution.of((value.double() - truth.double()).abs()[where], bins)
        for method, value in values.items()
        for region, where in regions.items()
    }


def _sum(one: dict, other: dict) -> dict:
    """Key by key; a key that one of the two lacks is taken from the other."""
    both = {key: one[key] + other[key] if key in one else other[key] for key in other}
    return {**one, **both}
