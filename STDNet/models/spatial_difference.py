"""Spatial difference branch: where depth changes inside a frame, filter the RGB feature before it joins the depth.

Shapes as in the legend of stdnet.py; here N = B * T frames.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from STDNet.models.layers import LEAK, ResidualGroup, conv3x3


class SpatialFusion(NamedTuple):
    """What the branch returns, each [N, C, h, w]."""

    feature: Tensor  # the fused RGB-D feature
    weight: Tensor  # w, how much the RGB feature is trusted; the temporal branch uses it again
    difference: Tensor | None  # sigma, the spatial difference of the depth feature; None where it is switched off


class SpatialDifference(nn.Module):
    """sigma, the kernel generator, the adaptive weight, and the intra-frame fusion of RGB and depth.

    Args:
        channels: Width C.
        differences: False is the paper's ablation: the RGB feature is concatenated as it is, with weight 1.
    """

    def __init__(self, channels: int, *, differences: bool = True) -> None:
        super().__init__()
        self.differences = differences
        if differences:
            self.difference_conv = conv3x3(channels, channels)
            self.kernel_generator = KernelGenerator(channels)
            self.weight_conv = conv3x3(2, channels)
            self.beta = nn.Parameter(torch.full((1,), 0.1))
        self.fusion = ResidualGroup(2 * channels, blocks=1)
        self.fusion_conv = nn.Conv2d(2 * channels, channels, 1)
        # The depth feature passes through from the start, some of the RGB feature is added.
        self.fusion_conv.weight.data.mul_(0.5)
        self.fusion_conv.weight.data[:, :channels, 0, 0] += torch.eye(channels)
        nn.init.zeros_(self.fusion_conv.bias)  # type: ignore[arg-type]

    def forward(self, depth: Tensor, rgb: Tensor) -> SpatialFusion:
        """Fuse the depth feature [N, C, h, w] and the RGB feature [N, C, h, w] of the same frames."""
        if not self.differences:
            feature = self.fusion_conv(self.fusion(torch.cat((depth, rgb), 1)))
            return SpatialFusion(feature, torch.ones_like(rgb), None)
        sigma = spatial_difference(depth)
        kernels = self.kernel_generator(self.difference_conv(sigma))
        statistics = torch.cat((sigma.mean(1, keepdim=True), sigma.amax(1, keepdim=True)), 1)
        weight = torch.sigmoid(self.weight_conv(statistics))
        guided = weight * rgb + self.beta * filter_per_pixel(rgb, kernels)
        feature = self.fusion_conv(self.fusion(torch.cat((depth, guided), 1)))
        return SpatialFusion(feature, weight, sigma)


class KernelGenerator(nn.Module):
    """From sigma to one 3x3 filter for every channel and pixel: [N, C, h, w] -> [N, C, 9, h, w], not normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.group = ResidualGroup(channels, blocks=1)
        self.activation = nn.LeakyReLU(LEAK)
        self.conv = nn.Conv2d(channels, 9 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, C, 9, h, w]."""
        return self.conv(self.activation(self.group(x))).unflatten(1, (-1, 9))


def spatial_difference(x: Tensor) -> Tensor:
    """Sigma = |x - up2(down2(x))|, bilinear: what is lost at half the resolution.

    An odd size is extended by its last row or column for the purpose.
    """
    height, width = x.shape[-2:]
    even = F.pad(x, (0, width % 2, 0, height % 2), mode="replicate") if height % 2 or width % 2 else x
    # By sizes, not by factors: with factors a traced network holds float arithmetic on its sizes, which export refuses.
    low = F.interpolate(even, (even.shape[-2] // 2, even.shape[-1] // 2), mode="bilinear", align_corners=False)
    up = F.interpolate(low, even.shape[-2:], mode="bilinear", align_corners=False)
    return (x - up[..., :height, :width]).abs()


def filter_per_pixel(x: Tensor, kernels: Tensor) -> Tensor:
    """Filter [N, C, h, w] with an own 3x3 kernel for every channel and pixel, [N, C, 9, h, w]; zero outside."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1))
    taps = (padded[..., dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3))
    out = torch.zeros_like(x)
    for k, tap in enumerate(taps):
        out = out + kernels[:, :, k] * tap
    return out
