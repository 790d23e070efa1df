"""DVSR: depth video super-resolution by flow-guided propagation, the multi-frame system STDNet is compared with.

Paper: Sun, Ye, Xiong, Choe, Wang, Su, Ranjan, "Consistent Direct Time-of-Flight Video Depth Super-Resolution", CVPR
2023 (arXiv 2211.08658); its propagation is that of Chan, Zhou, Xu, Loy, "BasicVSR++", CVPR 2022. Written from a
description of the papers. The variant that sees depth only, not the histograms.
How close: the stated parts (two stages, SPyNet, second-order alignment with 16 groups and offsets of 10 * tanh, four
recurrent passes of 7 residual blocks, STDNet's reconstruction) give the stated count, 15.495 M (15,494,556), which
settles the widths: the offsets come from 3C + 4 channels through four convolutions, and a pass reads the features of
all passes before it. Our choices, where nothing is stated: the layers start as STDNet's do, the flow is
untrained at first (the original loads a pretrained SPyNet), and features outside the image are zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from STDNet.baselines.spynet import SPyNet, warp
from STDNet.errors import InputError
from STDNet.models.inputs import fit
from STDNet.models.layers import (
    LEAK,
    ConvBlock,
    Encoder,
    activated_conv3x3,
    conv3x3,
    start_at_zero,
    start_from_differences,
)
from STDNet.models.reconstruction import Reconstruction, blend
from STDNet.models.stdnet import COLOUR_GAIN, DEPTH_GAIN, GRID
from STDNet.models.temporal_difference import PASSES
from STDNet.models.video_model import DepthVideoModel
from STDNet.ops import deform_conv2d

OFFSET_GROUPS = 16  # over the 2C channels of two neighbours
LARGEST_OFFSET = 10.0  # cells, on top of the flow
FLOW_PIXELS = 2**18  # whose flow is found at once, about
CONTEXT, CHUNK = 8, 16  # frames to either side of a piece of a long video, and of the piece


@dataclass(frozen=True)
class DVSROutput:
    """The result: depth [B, T, 1, H, W] in network units, and the same of each stage before the blend."""

    depth: Tensor
    stages: tuple[Tensor, ...]

    @property
    def intermediate(self) -> tuple[Tensor, ...]:
        """What deep supervision asks of: the depth of both stages."""
        return self.stages


class Flows(NamedTuple):
    """Optical flow on the grid, [B, T - 1, 2, h, w], dx and dy in cells."""

    to_next: Tensor  # of frames 0 .. T - 2
    to_previous: Tensor  # of frames 1 .. T - 1


class StagePrediction(NamedTuple):
    """Depth and confidence (before the softmax) [B, T, 1, H, W], the fused feature [B, T, C, h, w]."""

    depth: Tensor
    confidence: Tensor
    fused: Tensor


class SecondOrderAlignment(nn.Module):
    """Bring the results of the last two frames to the current one: flow, plus learnt offsets around it."""

    def __init__(self, channels: int, deform_backend: str) -> None:
        super().__init__()
        self.deform_backend = deform_backend
        self.offset_mask_conv = nn.Sequential(
            activated_conv3x3(3 * channels + 4, channels),
            nn.LeakyReLU(LEAK),
            activated_conv3x3(channels, channels),
            nn.LeakyReLU(LEAK),
            activated_conv3x3(channels, channels),
            nn.LeakyReLU(LEAK),
            conv3x3(channels, 27 * OFFSET_GROUPS),
        )
        self.weight = nn.Parameter(torch.empty(channels, 2 * channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        start_at_zero(self.offset_mask_conv[-1])

    def forward(self, current: Tensor, first: Tensor, second: Tensor, flow1: Tensor, flow2: Tensor) -> Tensor:
        """Align.

        Args:
            current: [B, C, h, w], the current frame's feature.
            first: [B, C, h, w], the result of the frame before (in the direction of the pass).
            second: [B, C, h, w], of the frame before that; zeros where there is none.
            flow1: [B, 2, h, w], from the current frame to the first.
            flow2: [B, 2, h, w], from the current frame to the second.

        Returns:
            [B, C, h, w].
        """
        seen = (warp(first, flow1), current, warp(second, flow2), flow1.to(current.dtype), flow2.to(current.dtype))
        around, mask = self.offset_mask_conv(torch.cat(seen, 1)).split((18 * OFFSET_GROUPS, 9 * OFFSET_GROUPS), 1)
        # Half of the groups sample the first neighbour, half the second; dy comes before dx in an offset.
        flows = torch.cat([flow.flip(1).repeat(1, 9 * OFFSET_GROUPS // 2, 1, 1) for flow in (flow1, flow2)], 1)
        offset = LARGEST_OFFSET * torch.tanh(around.to(flows.dtype)) + flows
        both = torch.cat((first, second), 1)
        return deform_conv2d(both, offset, torch.sigmoid(mask), self.weight, self.bias, self.deform_backend)


class Propagation(nn.Module):
    """One pass over the clip, frame after frame; `passes_before` passes have run already."""

    def __init__(self, channels: int, passes_before: int, deform_backend: str) -> None:
        super().__init__()
        self.align = SecondOrderAlignment(channels, deform_backend)
        self.fuse = ConvBlock((2 + passes_before) * channels, channels, blocks=7)

    def forward(self, features: list[Tensor], flows: Flows, backward: bool) -> Tensor:
        """Run the pass.

        Args:
            features: The spatial feature and the results of the passes before, each [B, T, C, h, w].
            flows: Between adjacent frames.
            backward: From the last frame to the first.

        Returns:
            [B, T, C, h, w].
        """
        frames = features[0].shape[1]
        order = range(frames)[::-1] if backward else range(frames)
        between = (flows.to_next.flip(1) if backward else flows.to_previous).unbind(1)
        nothing = torch.zeros_like(features[0][:, 0])
        results: list[Tensor] = []
        for step, t in enumerate(order):
            state = nothing
            if step > 0:
                flow1, flow2 = between[step - 1], torch.zeros_like(between[0])
                if step > 1:
                    flow2 = flow1 + warp(between[step - 2], flow1)
                second = results[-2] if step > 1 else nothing
                state = self.align(features[0][:, t], results[-1], second, flow1, flow2)
            results.append(state + self.fuse(torch.cat([*(x[:, t] for x in features), state], 1)))
        return torch.stack(results[::-1] if backward else results, 1)


class Stage(nn.Module):
    """Encode the guide, join the depth, pass four times over time, reconstruct."""

    def __init__(self, channels: int, previous: bool, deform_backend: str) -> None:
        super().__init__()
        guide_gains = (DEPTH_GAIN, 1.0) if previous else (COLOUR_GAIN,) * 3  # depth and confidence, or RGB
        self.flow = SPyNet()
        self.guide_encoder = Encoder(len(guide_gains), channels, stride=2, gains=guide_gains, precise=previous)
        self.features = ConvBlock((2 * channels if previous else channels) + 1, channels, blocks=5, precise=True)
        # The depth is one input among C: it starts as the first layer of STDNet's depth encoder does.
        depth_conv = activated_conv3x3(1, channels)
        start_from_differences(depth_conv, (DEPTH_GAIN,))
        self.features.conv.weight.data[:, channels : channels + 1] = depth_conv.weight.data
        self.passes = nn.ModuleDict(
            {name: Propagation(channels, before, deform_backend) for before, name in enumerate(PASSES)}
        )
        self.reconstruction = Reconstruction(channels)

    def forward(self, guide: Tensor, grid: Tensor, rgb: Tensor, previous: Tensor | None) -> StagePrediction:
        """Run the stage on whole clips.

        Args:
            guide: [B, T, 3 or 2, H, W]: RGB, or depth and confidence of the stage before.
            grid: [B, T, 1, h, w], the low-resolution depth on the grid.
            rgb: [B, T, 3, H, W], for the flow.
            previous: [B, T, C, h, w], the fused feature of the stage before, or None.
        """
        frames = grid.shape[1]
        encoded = self.guide_encoder(guide.flatten(0, 1))
        joint = [encoded, grid.flatten(0, 1)]
        if previous is not None:
            joint.append(previous.flatten(0, 1))
        features = [self.features(torch.cat(joint, 1)).unflatten(0, (-1, frames))]
        flows = self.flows(rgb)
        for name, propagation in self.passes.items():
            features.append(propagation(features, flows, name.startswith("backward")))
        made = self.reconstruction([x.flatten(0, 1) for x in features], grid.flatten(0, 1))
        fused, depth, confidence = (x.unflatten(0, (-1, frames)) for x in made)
        return StagePrediction(depth, confidence, fused)

    def flows(self, rgb: Tensor) -> Flows:
        """[B, T, 3, H, W] -> the flow between adjacent frames, found at full resolution and brought to the grid."""
        b, frames, _, height, width = rgb.shape
        if frames == 1:
            nothing = rgb.new_zeros(b, 0, 2, height // GRID, width // GRID)
            return Flows(nothing, nothing)
        size = (height // GRID, width // GRID)

        def small(start: Tensor, end: Tensor) -> Tensor:
            flow = self.flow(start.flatten(0, 1), end.flatten(0, 1))
            flow = F.interpolate(flow, size=size, mode="bicubic", align_corners=False) / GRID
            return flow.unflatten(0, (b, -1))

        # A few pairs at a time: at full resolution, all at once would take most of the memory.
        step = max(1, FLOW_PIXELS // (b * height * width))
        pairs = [(rgb[:, t:-1][:, :step], rgb[:, t + 1 :][:, :step]) for t in range(0, frames - 1, step)]
        to_next = torch.cat([small(earlier, later) for earlier, later in pairs], 1)
        to_previous = torch.cat([small(later, earlier) for earlier, later in pairs], 1)
        return Flows(to_next, to_previous)


class DVSR(DepthVideoModel):
    """Two stages: the first guided by RGB, the second by the first; both find their own optical flow in RGB.

    Every frame sees its whole clip. A stream makes 16 frames at a time from clips with 8 more frames to either side, so
    that videos of at most 16 frames are one clip. In training, both stages are supervised (0.1) for the first third.

    Args:
        scale: RGB pixels per depth pixel along each axis: 4, 8, 16 or another multiple of 4.
        channels: Width C, a multiple of 8; 64 in the paper (15.495 M parameters).
        deform_backend: Back-end of the deformable convolutions, see `STDNet.ops.deform_conv2d`.
    """

    reach = CONTEXT
    chunk = CHUNK
    deep_weight = 0.1
    deep_share = 1 / 3  # 50,000 of 150,000 steps in the paper

    def __init__(self, scale: int = 4, *, channels: int = 64, deform_backend: str = "auto") -> None:
        super().__init__()
        if scale < GRID or scale % GRID:
            raise InputError(f"dvsr: scale must be a multiple of {GRID} (4, 8, 16 ...), got {scale}")
        if channels < 8 or channels % 8:
            raise InputError(f"dvsr: channels must be a multiple of 8 ({OFFSET_GROUPS} offset groups), got {channels}")
        self.scale = scale
        self.stages = nn.ModuleList(Stage(channels, previous, deform_backend) for previous in (False, True))

    def forward(self, lr: Tensor, rgb: Tensor) -> DVSROutput:
        """Super-resolve clips; a frame depends on all frames of its clip.

        Args:
            lr: [B, T, 1, H/s, W/s], low-resolution depth in network units. Any T.
            rgb: [B, T, 3, H, W], colour in 0..1. H and W need not be multiples of s, as for `STDNet`.

        Returns:
            `DVSROutput`; depth is [B, T, 1, H, W] in the type of `lr`.

        Raises:
            InputError: Shapes that do not belong together.
        """
        lr, rgb, (height, width) = fit(lr, rgb, self.scale, "dvsr")
        repeat = self.scale // GRID
        grid = lr.repeat_interleave(repeat, -2).repeat_interleave(repeat, -1)
        first = self.stages[0](rgb, grid, rgb, None)
        second = self.stages[1](torch.cat((first.depth, first.confidence), 2), grid, rgb, first.fused)
        depth, _ = blend([first.depth, second.depth], [first.confidence, second.confidence])
        stages = tuple(stage.depth[..., :height, :width] for stage in (first, second))
        return DVSROutput(depth[..., :height, :width], stages)
