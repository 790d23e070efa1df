"""Difference heads: turn the network's difference features into depth differences, for the training losses alone."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class DifferenceHead(nn.Module):
    """R_df of the paper: 1x1 convolution to one channel, bicubic x4, 1x1 convolution; no biases."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, 1, 1, bias=False)
        self.scale = nn.Conv2d(1, 1, 1, bias=False)
        # Silent at the start: random heads would make the difference losses outweigh the reconstruction.
        nn.init.zeros_(self.reduce.weight)
        nn.init.ones_(self.scale.weight)

    def forward(self, difference: Tensor) -> Tensor:
        """[B, T, C, h, w] -> [B, T, 1, 4h, 4w]."""
        flat = self.reduce(difference.flatten(0, 1))
        up = F.interpolate(flat, scale_factor=4.0, mode="bicubic", align_corners=False)
        return self.scale(up).unflatten(0, difference.shape[:2])


class DifferenceHeads(nn.Module):
    """Three heads, shared by both stages: for sigma, phi (adjacent) and phi-hat (cross). 3 * (C + 1) parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial = DifferenceHead(channels)
        self.adjacent = DifferenceHead(channels)
        self.cross = DifferenceHead(channels)
