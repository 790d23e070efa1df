"""The dToF simulator: a photon histogram for every block of HR pixels, its highest bin is the LR depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from STDNet.errors import InputError

Array = TypeVar("Array", np.ndarray, Tensor)

# Added to the squared depth (as a fraction of the range) so that the weight of a surface at the lens stays finite.
_NEAR = 1e-3
# An 8-bit colour that went through float32 comes back within 1e-4 of a whole number; farther off it never was 8 bit.
_EIGHT_BIT_TOLERANCE = 1e-3
# float32 sums of a block are right to 1e-5 of it; a closer race between two bins is run again in float64.
_CLOSE_RACE = 1e-4
# Pixels that go through histograms at once: their float64 values stay in the processor's cache.
_PIXELS = 2**16
# Histogram entries that are held at once, 8 bytes each.
_HISTOGRAM_ENTRIES = 2**22
# What shot noise is stated for.
_REFERENCE_M = 10.0


@dataclass(frozen=True)
class SensorEffects:
    """What a real sensor adds to the ideal histogram. Ours, not the paper's: its LR files have none of it.

    The same seed gives the same effects for a frame, however many frames are simulated at once (on one kind of device:
    CPU and GPU draw different numbers).

    Attributes:
        shot_noise: Photon noise, 0 is off: the relative standard deviation of the photon count of a zone that is white
            and 10 m away. That zone expects 1 / shot_noise ** 2 photons, others in proportion to their weight (see
            `simulate`). Every bin is drawn from a Poisson distribution; a zone without a single photon returns 0.
        dropped_zones: Probability, 0 to 1, that an LR pixel gives no measurement and returns 0.
        range_limit_m: LR depth beyond this many metres is not measured and returns 0; None is off.
        seed: Chooses the noise, 0 or more.
    """

    shot_noise: float = 0.0
    dropped_zones: float = 0.0
    range_limit_m: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:  # noqa: D105
        if not 0 <= self.shot_noise < float("inf"):
            raise InputError(f"shot_noise {self.shot_noise} must be 0 (off) or a positive number")
        if not 0 <= self.dropped_zones <= 1:
            raise InputError(f"dropped_zones {self.dropped_zones} must be a probability, 0 to 1")
        if self.range_limit_m is not None and not self.range_limit_m > 0:
            raise InputError(f"range_limit_m {self.range_limit_m} must be positive, or None for no limit")
        if not 0 <= self.seed < 2**31:
            raise InputError(f"seed {self.seed} must be 0 to {2**31 - 1}")


def simulate(
    depth_m: Array,
    rgb: Array,
    scale: int,
    *,
    max_range_m: float = 100.0,
    bins: int = 1024,
    effects: SensorEffects | None = None,
    first_frame: int = 0,
) -> Array:
    """The LR depth that a direct time-of-flight sensor sees: the highest bin of each block's photon histogram.

    An HR pixel of depth d falls into bin round(d / max_range_m * (bins - 1)) with the weight
    albedo / (1e-3 + (d / max_range_m) ** 2), where the albedo is the mean of its R, G and B in 0..255. Weights are
    summed per bin over every scale x scale block, and the LR depth is the depth of the highest bin (the lowest of
    equals). This is the simulator of DVSR (Sun et al., CVPR 2023) in its peak mode; with the default range and bins it
    reproduces the LR files that STDNet's authors released, so LR depth is quantised to 100 m / 1023 = 9.775 cm.

    A depth of 0 is no return and weighs nothing; a block without any return gives 0. Set pixels of unknown depth to 0.
    Depth beyond `max_range_m` counts as `max_range_m` and falls into the last bin; what the paper does is unknown.

    Args:
        depth_m: [T, H, W] or [H, W] HR depth in metres, finite and not negative. numpy or torch, any device.
        rgb: [T, 3, H, W] or [3, H, W] the same frames in 0..1, of the same kind and device. Values k / 255 are taken
            back to the exact 8-bit k.
        scale: HR pixels per LR pixel along each axis; divides H and W.
        max_range_m: Depth of the last bin, in metres.
        bins: Number of bins, 2 to 65536.
        effects: Noise and losses of a real sensor; None is the ideal sensor of the paper.
        first_frame: Index in its video of the first frame given; `effects` differ from frame to frame.

    Returns:
        [T, H / scale, W / scale] or [H / scale, W / scale] float32 LR depth in metres, of the kind that was given.

    Raises:
        InputError: Shapes that do not fit each other or the scale, NaN, infinite or negative depth, RGB outside 0..1.
    """
    if isinstance(depth_m, np.ndarray):
        # Memory-mapped frames are read-only, which torch does not know: "W" copies them.
        given = [torch.from_numpy(np.require(values, np.float32, ["C", "W"])) for values in (depth_m, rgb)]
    else:
        given = [values.detach() for values in (depth_m, rgb)]
    frames, colours = given
    _check_arguments(frames, colours, scale, max_range_m, bins)
    single = frames.dim() == 2
    if single:
        frames, colours = frames[None], colours[None]
    # Close races are decided in float64, which accelerators other than CUDA's lack.
    work = frames.device if frames.is_cuda else torch.device("cpu")
    sensor = _Sensor(scale, max_range_m, bins, effects or SensorEffects())
    lr = [
        sensor.frame(depth.to(work, torch.float32).contiguous(), rgb.to(work, torch.float32), index)
        for index, (depth, rgb) in enumerate(zip(frames, colours, strict=True), start=first_frame)
    ]
    result = (lr[0] if single else torch.stack(lr)).to(frames.device)
    return result.numpy() if isinstance(depth_m, np.ndarray) else result


@dataclass(frozen=True)
class _Sensor:
    """Simulates one frame at a time, so that intermediate results stay in the processor's cache.

    Blocks are picked out as [P, K]: the scale ** 2 pixels of a block in their order, then the block. Reductions over
    the first axis are many times faster than over the last.
    """

    scale: int
    max_range_m: float
    bins: int
    effects: SensorEffects

    def frame(self, depth_m: Tensor, rgb: Tensor, index: int) -> Tensor:
        """[H, W] and [3, H, W] to [h, w]; `index` is the frame's place in its video."""
        height, width = (size // self.scale for size in depth_m.shape)
        bands = depth_m.view(height, self.scale, -1)
        nearest = _columns(bands.amin(1), self.scale).amin(0)
        farthest = _columns(bands.amax(1), self.scale).amax(0)
        albedo = (rgb[0] + rgb[1]).add_(rgb[2])
        some_zero = _check_values(nearest, farthest, albedo, index)
        low, high = self.bin_of(self.fraction_of(nearest)), self.bin_of(self.fraction_of(farthest))
        # A block within one bin needs no histogram, unless it is so dark that no bin may have any weight.
        mixed = (low != high) | (albedo[:: self.scale, :: self.scale] == 0)
        noise = _Noise(self.effects, index, depth_m.device)
        row, column = (torch.ones_like(mixed) if noise.photons else mixed).nonzero().unbind(-1)
        corner = (row * depth_m.shape[1] + column) * self.scale
        inside = torch.arange(self.scale, device=depth_m.device)
        pixel = (corner + (inside[:, None] * depth_m.shape[1] + inside).view(-1, 1)).flatten()
        fraction = self.fraction_of(depth_m.flatten().index_select(0, pixel)).view(self.scale**2, -1)
        albedo = albedo.flatten().index_select(0, pixel).view(self.scale**2, -1)
        if some_zero:
            albedo.masked_fill_(fraction == 0, 0)
        where = row * width + column
        low, high = low.flatten(), high.flatten()
        edges = low.index_select(0, where), high.index_select(0, where)
        find = self.peak_by_histogram if noise.photons else self.peak
        low.index_copy_(0, where, find(fraction, albedo, *edges, noise))
        lr = low / (self.bins - 1) * self.max_range_m
        return noise.lose(lr.view(height, width))

    def fraction_of(self, depth_m: Tensor) -> Tensor:
        """Depth as a fraction of the range, 0 to 1."""
        return depth_m.clamp(max=self.max_range_m).div_(self.max_range_m)

    def bin_of(self, fraction: Tensor) -> Tensor:
        """The bin of every depth, as float32: exact for these counts, and faster to compare than integers."""
        return (fraction * (self.bins - 1)).round_()

    def peak(self, fraction: Tensor, albedo: Tensor, low: Tensor, high: Tensor, noise: _Noise) -> Tensor:
        """The highest bin [K] of blocks [P, K], whose bins are within `low` to `high`."""
        weight = _weight(fraction, albedo)
        # Right where there are just two bins, which is the most common case by far.
        of_high = self.bin_of(fraction).sub_(low).mul_(weight).sum(0)
        of_both = weight.sum(0)
        lead = 2 * of_high - of_both
        peak = low + (lead > 0)
        rest = ((high - low != 1) | (lead.abs() <= _CLOSE_RACE * of_both)).nonzero()[:, 0]
        pixels = fraction.index_select(1, rest), albedo.index_select(1, rest)
        edges = low.index_select(0, rest), high.index_select(0, rest)
        return peak.index_copy_(0, rest, self.peak_by_histogram(*pixels, *edges, noise))

    def peak_by_histogram(self, fraction: Tensor, albedo: Tensor, low: Tensor, high: Tensor, noise: _Noise) -> Tensor:
        """The highest bin [K] of any blocks [P, K], 0 where nothing has any weight.

        The histograms lie end to end, each as long as the span of its block's bins. The highest bin holds a pixel, so
        it is looked for among the pixels and not among the bins.
        """
        span = (high - low + 1).long()
        half = len(span) // 2
        if half and (fraction.numel() > _PIXELS or len(span) * int(span.max()) > _HISTOGRAM_ENTRIES):
            cut = [half, len(span) - half]
            parts = zip(fraction.split(cut, 1), albedo.split(cut, 1), low.split(cut), high.split(cut), strict=True)
            return torch.cat([self.peak_by_histogram(*part, noise) for part in parts])
        index = self.bin_of(fraction)
        entry = (index.long() + (span.cumsum(0) - span - low.long())).flatten()
        total = torch.bincount(entry, _weight(fraction.double(), _eight_bit(albedo)).flatten())
        if noise.photons:
            white = _weight(total.new_tensor(_REFERENCE_M / self.max_range_m), total.new_tensor(255.0))
            total = noise.count(total / (white * self.scale**2))
        total = total.index_select(0, entry).view(index.shape)
        best = total.amax(0)
        peak = index.masked_fill_(total != best, self.bins).amin(0)
        return peak.masked_fill_(best == 0, 0)


class _Noise:
    """The random numbers of one frame, from nothing but the seed and the frame's index."""

    def __init__(self, effects: SensorEffects, index: int, device: torch.device) -> None:
        """Nothing is drawn yet."""
        self.effects = effects
        self.photons = effects.shot_noise**-2 if effects.shot_noise else 0.0
        if self.photons or effects.dropped_zones:
            # The CPU's generator reads 32 bits of its seed, so both numbers are mixed into these.
            mixed = np.random.SeedSequence((effects.seed, index)).generate_state(1)
            self.generator = torch.Generator(device).manual_seed(int(mixed[0]))

    def count(self, total: Tensor) -> Tensor:
        """Bins relative to the whole return of the reference zone, to photons that were counted."""
        return torch.poisson(total * self.photons, generator=self.generator)

    def lose(self, lr_m: Tensor) -> Tensor:
        """LR depth [h, w] without the zones that are dropped or too far."""
        if self.effects.dropped_zones:
            drawn = torch.rand(lr_m.shape, generator=self.generator, device=lr_m.device)
            lr_m = torch.where(drawn < self.effects.dropped_zones, 0, lr_m)
        if self.effects.range_limit_m is not None:
            lr_m = torch.where(lr_m > self.effects.range_limit_m, 0, lr_m)
        return lr_m


def _columns(bands: Tensor, scale: int) -> Tensor:
    """[h, W] to [s, h, w]."""
    return bands.view(len(bands), -1, scale).permute(2, 0, 1).contiguous()


def _weight(fraction: Tensor, albedo: Tensor) -> Tensor:
    """What a pixel returns."""
    return albedo / (fraction * fraction).add_(_NEAR)


def _eight_bit(albedo: Tensor) -> Tensor:
    """R + G + B with channels in 0..1 to the channel mean in 0..255, float64, exact where the colours are 8-bit."""
    total = albedo * 255
    whole = total.round()
    return torch.where((total - whole).abs() < _EIGHT_BIT_TOLERANCE, whole, total).double() / 3


def _check_arguments(depth_m: Tensor, rgb: Tensor, scale: int, max_range_m: float, bins: int) -> None:
    """Refuse shapes and parameters that make no LR frame."""
    shape = tuple(depth_m.shape)
    if depth_m.dim() not in (2, 3) or tuple(rgb.shape) != (*shape[:-2], 3, *shape[-2:]):
        raise InputError(
            f"depth {shape} and rgb {tuple(rgb.shape)} do not fit: "
            "give [T, H, W] and [T, 3, H, W], or [H, W] and [3, H, W]"
        )
    if scale < 1 or shape[-2] % scale or shape[-1] % scale or not depth_m.numel():
        raise InputError(f"{shape[-2]} x {shape[-1]} pixels are no whole number of {scale} x {scale} blocks: crop them")
    if not 2 <= bins <= 65536:
        raise InputError(f"bins {bins} must be 2 to 65536")
    if not 0 < max_range_m < float("inf"):
        raise InputError(f"max_range_m {max_range_m} must be a positive number of metres")


def _check_values(nearest: Tensor, farthest: Tensor, albedo: Tensor, index: int) -> bool:
    """Refuse depth and colour that are none (extremes of NaN are NaN: no comparison holds). Is there a depth of 0?"""
    least, most = float(nearest.amin()), float(farthest.amax())
    if not (least >= 0 and most < float("inf")):
        raise InputError(
            f"frame {index}: depth {least:g} to {most:g} m: set NaN, infinite and negative depth to 0 (no return)"
        )
    dark, bright = (float(value) / 3 for value in albedo.aminmax())
    if not (dark >= 0 and bright <= 1 + _EIGHT_BIT_TOLERANCE):
        raise InputError(f"frame {index}: rgb {dark:g} to {bright:g} is not in 0..1: divide 8-bit colours by 255")
    return least == 0
