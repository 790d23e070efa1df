"""Temporal difference branch: fuse every frame with its adjacent and its cross neighbour where depth changes in time.

Shapes as in the legend of stdnet.py. A pass reads only the features of the pass before it, never its own output, so all
frames of a pass are one batch, and a frame's result depends on two frames to one side.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from STDNet.models.layers import LEAK, ResidualGroup, conv3x3, start_at_zero
from STDNet.ops import deform_conv2d

PASSES = ("backward_1", "forward_1", "backward_2", "forward_2")
NEIGHBOURS = 2  # to the side that a pass looks at: the adjacent and the cross neighbour


class Pairs(NamedTuple):
    """Which frames of a window meet: frame earlier[i] and frame later[i]; all distance-1 pairs first, then 2 ..."""

    earlier: list[int]
    later: list[int]

    @classmethod
    def of(cls, frames: int, neighbours: int = NEIGHBOURS) -> Pairs:
        """All pairs of a window of `frames` frames that are at most `neighbours` frames apart."""
        both = [(t, t + distance) for distance in range(1, neighbours + 1) for t in range(frames - distance)]
        return cls([a for a, _ in both], [b for _, b in both])

    def at(self, distance: int) -> slice:
        """Where the pairs of frames so far apart are; frames of distance 1 come first, then 2, then 3."""
        apart = [later - earlier for earlier, later in zip(self.earlier, self.later, strict=True)]
        start = sum(d < distance for d in apart)
        return slice(start, start + apart.count(distance))

    def towards(self, name: str, targets: range) -> tuple[list[int], list[int], list[int]]:
        """For the pass `name`: which pairs it needs to make the frames `targets`, their current and neighbour frames.

        A backward pass looks at later frames, a forward pass at earlier ones.
        """
        currents, neighbours = (self.earlier, self.later) if name.startswith("backward") else (self.later, self.earlier)
        chosen = [i for i, t in enumerate(currents) if t in targets]
        return chosen, [currents[i] for i in chosen], [neighbours[i] for i in chosen]


def temporal_differences(features: Tensor, pairs: Pairs) -> Tensor:
    """[B, T, C, h, w] -> [B, P, C, h, w]: phi = |S_t - S_t+1| for the adjacent pairs, then phi-hat = |S_t - S_t+2|."""
    return (take(features, pairs.earlier) - take(features, pairs.later)).abs()


def take(features: Tensor, frames: list[int]) -> Tensor:
    """[B, T, C, h, w] -> [B, len(frames), C, h, w], in slices: a list as an index is copied to the GPU at every call.

    A CUDA graph cannot hold such a copy. Channels that come last in memory stay last.
    """
    if features.stride(2) != 1:
        return torch.cat([features[:, run] for run in runs(frames)], 1)
    rows = features.movedim(2, -1)
    return torch.cat([rows[:, run] for run in runs(frames)], 1).movedim(-1, 2)


def runs(frames: list[int]) -> list[slice]:
    """[0, 1, 2, 0, 1] -> [0:3, 0:2]; no frames are one empty run."""
    starts = [i for i, t in enumerate(frames) if i == 0 or t != frames[i - 1] + 1]
    ends = [*starts[1:], len(frames)]
    return [slice(frames[a], frames[b - 1] + 1) for a, b in zip(starts, ends, strict=False)] or [slice(0, 0)]


class TemporalDifference(nn.Module):
    """One pass: offsets and masks from the difference, deformable alignment of depth and RGB, fusion.

    The same weights serve the adjacent and the cross neighbour.

    Args:
        channels: Width C.
        deform_backend: See `STDNet.ops.deform_conv2d`.
        differences: False is the paper's ablation: the neighbours are concatenated as they are, without alignment.
        neighbours: How many there are to either side.
    """

    def __init__(
        self,
        channels: int,
        deform_backend: str = "auto",
        *,
        differences: bool = True,
        neighbours: int = NEIGHBOURS,
    ) -> None:
        super().__init__()
        self.deform_backend = deform_backend
        self.differences = differences
        if differences:
            self.difference_conv = conv3x3(channels, channels)
            self.current_conv = nn.Conv2d(2 * channels, channels, 1)
            self.offset_mask_conv = conv3x3(channels, 27)
            self.align_weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
            self.align_bias = nn.Parameter(torch.zeros(channels))
            self.aligned_conv = conv3x3(channels, channels)
        self.fusion = ResidualGroup(3 * channels, blocks=2)
        self.fusion_conv = nn.Conv2d(3 * channels, channels, 1)
        if differences:
            nn.init.kaiming_uniform_(self.align_weight, a=5**0.5)
            start_at_zero(self.offset_mask_conv)
        # A frame starts as the mean of what its neighbours make of it, nearly itself: what was learnt on single
        # frames stays when the temporal branch joins.
        nn.init.normal_(self.fusion_conv.weight, std=0.02)
        nn.init.zeros_(self.fusion_conv.bias)  # type: ignore[arg-type]
        self.fusion_conv.weight.data[:, :channels, 0, 0] += torch.eye(channels) / neighbours

    def forward(
        self,
        name: str,
        features: Tensor,
        rgb: Tensor,
        weight: Tensor,
        differences: Tensor,
        pairs: Pairs,
        targets: range,
    ) -> Tensor:
        """Make the frames `targets` of the pass `name` from a window of T frames.

        Args:
            name: One of PASSES; it says to which side the neighbours lie.
            features: [B, T, C, h, w], the result of the pass before.
            rgb: [B, T, C, h, w], the RGB feature.
            weight: [B, T, C, h, w], w of the spatial difference branch; a fusion uses the current frame's.
            differences: [B, P, C, h, w], phi and phi-hat of `pairs`; not looked at without `differences`.
            pairs: Which frames of the window meet.
            targets: Indices of the wanted frames in the window. A frame that has no neighbour in the window is copied.

        Returns:
            [B, len(targets), C, h, w].
        """
        chosen, currents, neighbours = pairs.towards(name, targets)
        out = features[:, targets.start : targets.stop].clone()
        if not chosen:
            return out
        current = take(features, currents).flatten(0, 1)
        depth, guide = (take(x, neighbours).flatten(0, 1) for x in (features, rgb))
        if self.differences:
            offset, mask = self.offsets(current, take(differences, chosen).flatten(0, 1))
            depth, guide = self.align(depth, guide, offset, mask)
        guide = guide * take(weight, currents).flatten(0, 1)
        fused = self.fusion_conv(self.fusion(torch.cat((current, depth, guide), 1)))
        fused = fused.unflatten(0, (-1, len(chosen))).to(out.dtype)
        # First what the adjacent neighbours make of their frames, then, added, what the cross neighbours do.
        done = 0
        for frames in runs(currents):
            here, count = out[:, frames.start - targets.start : frames.stop - targets.start], frames.stop - frames.start
            more = fused[:, done : done + count]
            here.copy_(more if done == 0 else here + more)
            done += count
        return out

    def offsets(self, current: Tensor, difference: Tensor) -> tuple[Tensor, Tensor]:
        """Where to sample: offsets [N, 18, h, w] in grid cells and masks [N, 9, h, w] in 0..1."""
        joint = self.current_conv(torch.cat((current, self.difference_conv(difference)), 1))
        offset, mask = self.offset_mask_conv(joint).split((18, 9), 1)
        return offset, torch.sigmoid(mask)

    def align(self, depth: Tensor, rgb: Tensor, offset: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Bring the neighbours' depth and RGB features [N, C, h, w] to the current frames; one sampling for both."""
        weight, bias = self.align_weight.repeat(2, 1, 1, 1), self.align_bias.repeat(2)
        both = deform_conv2d(torch.cat((depth, rgb), 1), offset, mask, weight, bias, self.deform_backend)
        depth, rgb = both.chunk(2, 1)
        return self.aligned_conv(nn.functional.leaky_relu(depth, LEAK)), rgb
