"""The systems that were not made for depth video with RGB, as models of it: D3DNet and LGTD by sliding window, DSDMSR.

None of them sees RGB: it only gives the size. Our choices: at the ends of a video the first or last frame is repeated;
LGTD gets depth as grey pictures, and the mean of its three channels is added to bilinear upsampling, as D3DNet does it;
both start as bilinear upsampling, for the reason given in STDNet/models/reconstruction.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from STDNet.baselines.d3dnet import D3DNet
from STDNet.baselines.dsdmsr import DSDMSR
from STDNet.baselines.interpolation import upsample
from STDNet.baselines.lgtd import FRAMES, LGTD
from STDNet.models.inputs import fit
from STDNet.models.layers import start_at_zero
from STDNet.models.video_model import DepthVideoModel
from STDNet.ops import without_autocast


@dataclass(frozen=True)
class DepthVideoOutput:
    """The result: depth [B, T, 1, H, W], and the depths [B, T, 1, ., .] that deep supervision asks of."""

    depth: Tensor
    intermediate: tuple[Tensor, ...] = ()


class D3DNetDepth(DepthVideoModel):
    """Every frame of a depth video from a window of 7 (3 to either side), x4."""

    def __init__(self, net: D3DNet) -> None:
        super().__init__()
        self.net = net
        self.reach = net.frames // 2
        start_at_zero(net.reconstruction[-1])

    def forward(self, lr: Tensor, rgb: Tensor) -> DepthVideoOutput:
        """[B, T, 1, H/4, W/4] and [B, T, 3, H, W] as for `STDNet`; any T."""
        lr, _, (height, width) = fit(lr, rgb, self.net.scale, "d3dnet")
        depth = self.net(windows(lr, self.reach).flatten(0, 1)[:, :, 0])
        return DepthVideoOutput(depth.unflatten(0, lr.shape[:2])[..., :height, :width])


class LGTDDepth(DepthVideoModel):
    """Every frame of a depth video from a window of 5 (2 to either side), x4."""

    reach = FRAMES // 2

    def __init__(self, net: LGTD) -> None:
        super().__init__()
        self.net = net
        start_at_zero(net.reconstruction[-1])

    def forward(self, lr: Tensor, rgb: Tensor) -> DepthVideoOutput:
        """[B, T, 1, H/4, W/4] and [B, T, 3, H, W] as for `STDNet`; any T."""
        lr, _, (height, width) = fit(lr, rgb, self.net.scale, "lgtd")
        grey = windows(lr, self.reach).flatten(0, 1).expand(-1, -1, 3, -1, -1)
        residual = self.net(grey).mean(1, keepdim=True).unflatten(0, lr.shape[:2])
        depth = upsample(lr, self.net.scale, "bilinear") + residual
        return DepthVideoOutput(depth[..., :height, :width])


class DSDMSRDepth(DepthVideoModel):
    """Every frame alone; in training each doubling has its own ground truth, all with the weight of the result."""

    deep_weight = 1.0

    def __init__(self, net: DSDMSR) -> None:
        super().__init__()
        self.net = net

    def forward(self, lr: Tensor, rgb: Tensor) -> DepthVideoOutput:
        """[B, T, 1, H/s, W/s] and [B, T, 3, H, W] as for `STDNet`."""
        lr, _, (height, width) = fit(lr, rgb, self.net.scale, "dsdmsr")
        # Depth itself goes through all its convolutions; half precision would keep three digits of it.
        with without_autocast(lr.device):
            out = self.net(lr.flatten(0, 1))
        fused, *levels = (x.unflatten(0, lr.shape[:2]) for x in (out.fused, *out.levels))
        return DepthVideoOutput(fused[..., :height, :width], tuple(levels))


def windows(video: Tensor, reach: int) -> Tensor:
    """[B, T, ...] -> [B, T, 2 * reach + 1, ...]: every frame with its neighbours, the ends repeated."""
    frames = torch.arange(video.shape[1], device=video.device)
    offsets = torch.arange(-reach, reach + 1, device=video.device)
    return video[:, (frames[:, None] + offsets).clamp(0, video.shape[1] - 1)]
