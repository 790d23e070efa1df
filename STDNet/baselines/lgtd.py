"""LGTD: short- and long-term temporal differences for video super-resolution; five RGB frames to the one in the middle.

Paper: Xiao et al., "Local-Global Temporal Difference Learning for Satellite Video Super-Resolution", IEEE TCSVT 2023
(doi 10.1109/TCSVT.2023.3312321). The fusion of the aligned frames (TSA) is that of Wang, Chan, Yu, Dong, Loy, "EDVR",
CVPRW 2019. Written from descriptions of the papers and of the released network.
How close: the variant with a convolutional reconstruction. All stated counts are met: S-TDM 1.038 M, alignment 0.686 M,
TSA 0.324 M, L-TDM 0.480 M, in all 6.88 M; they settle the kernel sizes (64 -> 5 * 64 in L-TDM is 3x3, its closing
convolution 5 * 64 -> 64 is not in the 0.480 M). The released code reads frames forwards and backwards from one list, so
that its long-term difference is always zero; here the reversed list is a copy. As in the released code the
short-term difference is added as it is, and the long-term one passes the difference compensation unit (DCU).
The weights begin Kaiming normal as in the released training.
Our choices, where nothing is stated: biases begin at zero and what residual blocks add begins at a tenth (else the
features grow a thousandfold), the result is not a residual of an upsampled frame, each PReLU has one slope,
the middle frame is aligned to itself like its neighbours, and an odd size is extended by its last row or column inside.
The inside of TSA is only given by its count and the figure of EDVR.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from STDNet.errors import InputError
from STDNet.models.inputs import extend
from STDNet.models.layers import LEAK, conv3x3, start_at_zero
from STDNet.ops import deform_conv2d

SCALE = 4
FRAMES = 5
OFFSET_GROUPS = 8


class ResBlock(nn.Module):
    """prelu(x + conv(prelu(conv(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, channels)
        self.activation1 = nn.PReLU()
        self.conv2 = conv3x3(channels, channels)
        self.activation2 = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, C, h, w]."""
        return self.activation2(x + self.conv2(self.activation1(self.conv1(x))))


def res_blocks(channels: int, blocks: int = 5) -> nn.Sequential:
    """A chain of `ResBlock`s."""
    return nn.Sequential(*(ResBlock(channels) for _ in range(blocks)))


class ShortTermDifference(nn.Module):
    """S-TDM: what changes between adjacent frames, brought to the middle frame. 1.038 M parameters at C = 64."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.difference_conv = nn.Sequential(conv3x3(3, channels), nn.PReLU(), nn.AvgPool2d(2))
        self.merge = nn.Sequential(conv3x3((FRAMES - 1) * channels, 2 * channels), nn.PReLU())
        self.coarse = nn.Sequential(ResBlock(2 * channels), conv3x3(2 * channels, channels))
        self.target_conv = conv3x3(3, 2 * channels)
        self.fine = nn.Sequential(ResBlock(2 * channels), conv3x3(2 * channels, channels))

    def forward(self, clip: Tensor) -> Tensor:
        """[B, 5, 3, h, w] -> [B, C, h, w], h and w even."""
        differences = (clip[:, :-1] - clip[:, 1:]).unbind(1)
        merged = self.merge(torch.cat([self.difference_conv(x) for x in differences], 1))
        target = self.target_conv(clip[:, FRAMES // 2])
        fine = self.fine(0.5 * target + 0.5 * resize_like(merged, target))
        return 0.5 * fine + 0.5 * resize_like(self.coarse(merged), fine)


class MultiScaleAlignment(nn.Module):
    """MSD: bring a neighbour to the middle frame by offsets from three kernel sizes. 0.686 M parameters at C = 64."""

    def __init__(self, channels: int, deform_backend: str) -> None:
        super().__init__()
        self.deform_backend = deform_backend
        self.merge = conv3x3(2 * channels, channels)
        self.scales = nn.ModuleList(nn.Conv2d(channels, channels, size, padding=size // 2) for size in (3, 5, 7))
        self.fuse = conv3x3(3 * channels, channels)
        self.offset_mask_conv = conv3x3(channels, 27 * OFFSET_GROUPS)
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.kaiming_normal_(self.weight)
        # At first every sample lies where its pixel lies.
        start_at_zero(self.offset_mask_conv)

    def forward(self, neighbour: Tensor, middle: Tensor) -> Tensor:
        """[N, C, h, w] and [N, C, h, w] -> the aligned neighbour [N, C, h, w]."""
        merged = self.merge(torch.cat((neighbour, middle), 1))
        joint = merged + self.fuse(torch.cat([conv(merged) for conv in self.scales], 1))
        offset, mask = self.offset_mask_conv(joint).split((18 * OFFSET_GROUPS, 9 * OFFSET_GROUPS), 1)
        backend = self.deform_backend
        aligned = deform_conv2d(neighbour, offset, torch.sigmoid(mask), self.weight, self.bias, backend)
        return F.leaky_relu(aligned, LEAK)


class TemporalSpatialAttention(nn.Module):
    """TSA of EDVR: weigh the aligned frames by likeness to the middle one, then the pixels. 0.324 M at C = 64."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.embed_middle = conv3x3(channels, channels)
        self.embed = conv3x3(channels, channels)
        self.fuse = nn.Conv2d(FRAMES * channels, channels, 1)
        self.attend = nn.Conv2d(FRAMES * channels, channels, 1)
        self.half_conv1 = nn.Conv2d(2 * channels, channels, 1)
        self.quarter_conv1 = nn.Conv2d(channels, channels, 1)
        self.quarter_conv2 = conv3x3(2 * channels, channels)
        self.quarter_conv3 = conv3x3(channels, channels)
        self.half_conv2 = conv3x3(channels, channels)
        self.half_conv3 = nn.Conv2d(channels, channels, 1)
        self.full_conv = conv3x3(channels, channels)
        self.add = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.LeakyReLU(LEAK), nn.Conv2d(channels, channels, 1))

    def forward(self, aligned: Tensor) -> Tensor:
        """[B, 5, C, h, w] -> [B, C, h, w]."""
        middle = self.embed_middle(aligned[:, FRAMES // 2])
        embedded = self.embed(aligned.flatten(0, 1)).unflatten(0, aligned.shape[:2])
        likeness = torch.sigmoid((embedded * middle[:, None]).sum(2, keepdim=True))
        stacked = (aligned * likeness).flatten(1, 2)
        fused = F.leaky_relu(self.fuse(stacked), LEAK)
        attention = self.full_conv(self._pyramid(F.leaky_relu(self.attend(stacked), LEAK)))
        # Twice the sigmoid: an attention of zero leaves the feature as it is.
        return 2 * fused * torch.sigmoid(attention) + self.add(attention)

    def _pyramid(self, attention: Tensor) -> Tensor:
        """Look at the attention at half and quarter size; [B, C, h, w] -> [B, C, h, w]."""
        half = F.leaky_relu(self.half_conv1(_pooled(attention)), LEAK)
        quarter = F.leaky_relu(self.quarter_conv1(half), LEAK)
        quarter = F.leaky_relu(self.quarter_conv2(_pooled(quarter)), LEAK)
        quarter = F.leaky_relu(self.quarter_conv3(quarter), LEAK)
        half = F.leaky_relu(self.half_conv2(half), LEAK) + resize_like(quarter, half)
        half = F.leaky_relu(self.half_conv3(half), LEAK)
        return resize_like(half, attention)


class LongTermDifference(nn.Module):
    """L-TDM: attention from the difference between the frames read forwards and backwards.

    0.480 M parameters at C = 64, and 0.184 M of the closing convolution.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.compress = nn.Sequential(conv3x3(FRAMES * channels, channels), conv3x3(channels, channels))
        self.full_conv = conv3x3(channels, channels)
        self.half_conv = conv3x3(channels, channels)
        self.expand = conv3x3(channels, FRAMES * channels)
        self.close = conv3x3(FRAMES * channels, channels)

    def forward(self, aligned: list[Tensor]) -> Tensor:
        """Five [B, C, h, w], in the order of time -> [B, C, h, w]."""
        features = torch.cat(aligned, 1)
        forwards, backwards = self.compress(features), self.compress(torch.cat(aligned[::-1], 1))
        context = self.full_conv(forwards) + resize_like(self.half_conv(_halved(forwards)), forwards)
        difference = forwards - backwards
        attention = sum(torch.sigmoid(self.expand(branch + context)) for branch in (difference, -difference))
        return self.close(features * attention + features)


class DifferenceCompensation(nn.Module):
    """DCU: a feature, plus what five blocks make of how it differs from a difference feature."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.blocks = res_blocks(channels)

    def forward(self, feature: Tensor, difference: Tensor) -> Tensor:
        """[B, C, h, w] and [B, C, h, w] -> [B, C, h, w]."""
        return feature + self.blocks(feature - difference)


class LGTD(nn.Module):
    """Both temporal differences around aligned and fused frames, four times the size.

    Args:
        scale: 4; the network knows no other.
        channels: Width C, a multiple of 8; 64 in the paper.
        reconstruction_channels: Width of the reconstruction; 180 in the paper.
        deform_backend: See `STDNet.ops.deform_conv2d`.
    """

    def __init__(
        self,
        scale: int = SCALE,
        *,
        channels: int = 64,
        reconstruction_channels: int = 180,
        deform_backend: str = "auto",
    ) -> None:
        super().__init__()
        if scale != SCALE:
            raise InputError(f"lgtd: scale must be {SCALE}, got {scale}")
        if channels < 1 or channels % OFFSET_GROUPS:
            raise InputError(f"lgtd: channels must be a multiple of {OFFSET_GROUPS} (offset groups), got {channels}")
        if reconstruction_channels < 1:
            raise InputError(f"lgtd: reconstruction_channels must be at least 1, got {reconstruction_channels}")
        self.scale = scale
        self.short_term = ShortTermDifference(channels)
        self.features = nn.Sequential(conv3x3(3, channels), res_blocks(channels))
        self.align = MultiScaleAlignment(channels, deform_backend)
        self.fusion = TemporalSpatialAttention(channels)
        self.long_term = LongTermDifference(channels)
        self.compensation = DifferenceCompensation(channels)
        self.reconstruction = nn.Sequential(
            conv3x3(channels, reconstruction_channels),
            res_blocks(reconstruction_channels),
            conv3x3(reconstruction_channels, channels),
            nn.LeakyReLU(LEAK),
            *(layer for _ in range(2) for layer in (conv3x3(channels, 4 * channels), nn.PixelShuffle(2))),
            conv3x3(channels, 3),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module is not self.align.offset_mask_conv:
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        for module in self.modules():
            if isinstance(module, ResBlock):
                module.conv2.weight.data.mul_(0.1)

    def forward(self, clip: Tensor) -> Tensor:
        """Super-resolve the middle frame.

        Args:
            clip: [B, 5, 3, h, w], RGB in 0..1, any size.

        Returns:
            [B, 3, 4h, 4w].

        Raises:
            InputError: Another shape; fewer frames than five included.
        """
        if clip.dim() != 5 or clip.shape[1:3] != (FRAMES, 3):
            raise InputError(f"lgtd takes [B, {FRAMES}, 3, h, w], got {tuple(clip.shape)}")
        height, width = clip.shape[-2:]
        clip = extend(clip, height + height % 2, width + width % 2)
        features = self.features(clip.flatten(0, 1)).unflatten(0, clip.shape[:2])
        middle = features[:, FRAMES // 2]
        aligned = [self.align(neighbour, middle) for neighbour in features.unbind(1)]
        fused = self.fusion(torch.stack(aligned, 1))
        short = middle + self.short_term(clip)
        combined = self.compensation(fused, self.long_term(aligned)) + short
        return self.reconstruction(combined)[..., : SCALE * height, : SCALE * width]


def resize_like(x: Tensor, other: Tensor) -> Tensor:
    """[N, C, ., .] -> [N, C, h, w] as large as `other`, bilinear."""
    return F.interpolate(x, size=other.shape[-2:], mode="bilinear", align_corners=False)


def _halved(x: Tensor) -> Tensor:
    """[N, C, h, w] -> [N, C, h / 2, w / 2], means of 2 x 2."""
    return F.avg_pool2d(x, 2)


def _pooled(x: Tensor) -> Tensor:
    """[N, C, h, w] -> [N, 2C, h / 2, w / 2] (rounded up): maxima and means of 3 x 3."""
    return torch.cat((F.max_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 3, 2, 1)), 1)
