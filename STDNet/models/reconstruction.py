"""Reconstruction: fuse the four passes, shuffle up to full resolution, add the residual to the upsampled depth."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from STDNet.models.layers import LEAK, ConvBlock, PixelShuffleUpsample, activated_conv3x3, conv3x3, start_at_zero


class Reconstruction(nn.Module):
    """From the features of one stage to its depth and confidence at four times the grid's size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fuse = ConvBlock(5 * channels, channels, blocks=5)
        self.upsample1 = PixelShuffleUpsample(channels)
        self.upsample2 = PixelShuffleUpsample(channels)
        self.conv = activated_conv3x3(channels, channels)
        self.head = conv3x3(channels, 2)
        self.activation = nn.LeakyReLU(LEAK)
        # An untrained network is bilinear upsampling. From random weights, training first spends hundreds of steps on
        # unlearning a residual that is fifty times larger than the true one.
        start_at_zero(self.head)

    def forward(self, features: list[Tensor], grid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruct N frames.

        Args:
            features: The spatial feature and the four passes' results, each [N, C, h, w].
            grid: [N, 1, h, w], the low-resolution depth on the network's grid.

        Returns:
            The fused feature [N, C, h, w] (handed to the next stage), depth [N, 1, H, W] and confidence [N, 1, H, W]
            before the softmax over the stages, both in the type of `grid`.
        """
        fused = self.fuse(torch.cat(features, 1))
        x = self.activation(self.upsample1(fused))
        x = self.activation(self.upsample2(x))
        residual, confidence = self.head(self.activation(self.conv(x))).to(grid.dtype).chunk(2, 1)
        return fused, residual + upsample_grid(grid), confidence


def upsample_grid(grid: Tensor) -> Tensor:
    """[N, 1, h, w] -> [N, 1, 4h, 4w], bilinear: what the residual is added to."""
    size = 4 * grid.shape[-2], 4 * grid.shape[-1]
    return F.interpolate(grid, size, mode="bilinear", align_corners=False)


def blend(depths: list[Tensor], confidences: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Blend the stages' depths by a softmax of their confidences.

    Args:
        depths: One [..., 1, H, W] a stage.
        confidences: The same shapes, before the softmax.

    Returns:
        The blended depth [..., 1, H, W] and the confidences after the softmax, stacked [..., stages, H, W].
    """
    weights = torch.softmax(torch.cat(confidences, -3), -3)
    return (torch.cat(depths, -3) * weights).sum(-3, keepdim=True), weights
