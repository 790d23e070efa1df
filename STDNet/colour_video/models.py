"""D3DNet and LGTD on their own task, and bicubic upsampling beside them: a window of RGB frames to its middle frame.

Our choices, where the descriptions state nothing: LGTD adds its result to the bicubic upsampling of the middle frame;
both networks begin as plain upsampling, so that minutes of training show what they learn.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from STDNet.baselines import LGTD, D3DNet
from STDNet.baselines.lgtd import FRAMES
from STDNet.colour_video.metrics import LUMA_WEIGHTS, luma
from STDNet.errors import InputError
from STDNet.models.layers import start_at_zero
from STDNet.models.video_model import ModelConfig


def resize(frames: Tensor, height: int, width: int) -> Tensor:
    """[N, C, ., .] -> [N, C, height, width] by bicubic interpolation (a = -0.5), antialiased where it gets smaller."""
    return F.interpolate(frames, size=(height, width), mode="bicubic", antialias=True, align_corners=False)


class ColourVideoModel(nn.Module):
    """net(window [B, 2 * reach + 1, 3, h, w]) is the middle frame [B, 3, s * h, s * w], RGB in 0..1 (not clamped).

    Attributes:
        config: What the model is.
        meta: What is known of its weights.
        reach: Frames to either side of the middle one.
    """

    config: ModelConfig
    reach: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.meta: dict[str, Any] = {}

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """What its paper minimises; [B, 3, H, W] both."""
        raise NotImplementedError

    def check(self, window: Tensor) -> Tensor:
        """The window, if it is one of this model's."""
        if window.dim() != 5 or window.shape[1:3] != (2 * self.reach + 1, 3):
            raise InputError(f"{self.config.name} takes [B, {2 * self.reach + 1}, 3, h, w], got {tuple(window.shape)}")
        return window


class ColourBicubic(ColourVideoModel):
    """Every frame alone, nothing to train."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        if scale < 1:
            raise InputError(f"bicubic: scale must be at least 1, got {scale}")
        self.scale = scale

    def forward(self, window: Tensor) -> Tensor:
        """[B, 1, 3, h, w] -> [B, 3, s * h, s * w]."""
        frame = self.check(window)[:, 0]
        return resize(frame, self.scale * frame.shape[-2], self.scale * frame.shape[-1])


class D3DNetColour(ColourVideoModel):
    """The brightness of seven frames by D3DNet, the colour by bicubic upsampling, as its paper shows pictures."""

    reach = 3

    def __init__(self, net: D3DNet) -> None:
        super().__init__()
        self.net = net
        start_at_zero(net.reconstruction[-1])

    def forward(self, window: Tensor) -> Tensor:
        """[B, 7, 3, h, w] -> [B, 3, 4h, 4w]."""
        brightness = self.net(luma(self.check(window))[:, :, 0])
        base = resize(window[:, self.reach], *brightness.shape[-2:])
        # The same added to R, G and B changes the brightness by their weights' sum, and no colour difference.
        return base + (brightness - luma(base)) / sum(LUMA_WEIGHTS)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean squared error of the brightness."""
        return F.mse_loss(luma(prediction), luma(target))


class LGTDColour(ColourVideoModel):
    """Five RGB frames to the one in the middle."""

    reach = FRAMES // 2

    def __init__(self, net: LGTD) -> None:
        super().__init__()
        self.net = net
        start_at_zero(net.reconstruction[-1])

    def forward(self, window: Tensor) -> Tensor:
        """[B, 5, 3, h, w] -> [B, 3, 4h, 4w]."""
        residual = self.net(self.check(window))
        return resize(window[:, self.reach], *residual.shape[-2:]) + residual

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean absolute error."""
        return F.l1_loss(prediction, target)
