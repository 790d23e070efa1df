"""D3DNet: video super-resolution by deformable 3-D convolutions.

Paper: Ying, Wang, Wang, Sheng, An, Guo, "Deformable 3D Convolution for Video Super-Resolution", IEEE Signal Processing
Letters 27, 2020 (arXiv 2004.02803). Written from a description of the paper and of its released network.
How close: layer by layer as described; the count of 2,579,941 parameters is met exactly, which settles the biases
(none in the first convolution and in the reconstruction). Our choices, where nothing is stated: frames
outside the clip are zero, as pixels outside the image are, and convolutions in 2-D keep PyTorch's initialisation.

The operator needs no kernel of its own: a slice of the 3 x 3 x 3 kernel is a 2-D deformable convolution of a
neighbouring frame. With offsets in time, too, a slice sees every frame, weighted by its distance from the wanted time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from STDNet.errors import InputError
from STDNet.models.layers import start_at_zero
from STDNet.ops import deform_conv2d

SCALE = 4
LEAK = 0.1
SIDE = 3  # of the cubic kernel
AXES = "THW"


def deform_conv3d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    axes: str = "HW",
    backend: str = "auto",
) -> Tensor:
    """Convolve a clip where every tap of the 3 x 3 x 3 kernel samples at its own, fractional position.

    Args:
        x: [B, C, T, H, W] features.
        offset: [B, 27 * A, T, H, W], for each tap (time, row, column) its shift along each of the A `axes`, in frames
            or pixels.
        weight: [O, C, 3, 3, 3].
        bias: [O] or None.
        axes: Along which axes the taps move, in the order of "THW". Offsets in time take
            2T - 1 calls of the 2-D operator instead of one, for each slice of the kernel.
        backend: See `STDNet.ops.deform_conv2d`.

    Returns:
        [B, O, T, H, W]; samples are linear in time and space, zero outside the clip.

    Raises:
        InputError: Unknown axes, or offsets of another shape.
    """
    _check_axes(axes)
    b, _, frames, height, width = x.shape
    if tuple(offset.shape) != (b, SIDE**3 * len(axes), frames, height, width):
        raise InputError(
            f"deform_conv3d: offset is {tuple(offset.shape)}, "
            f"expected [{b}, {SIDE**3} * {len(axes)} axes, {frames}, {height}, {width}]"
        )
    times, pixels = _split_offsets(offset, axes)
    result = x.new_zeros(())
    for tap in range(SIDE):
        moved_by = times[:, tap] + (tap - 1)  # frames from the output frame to the wanted time
        for shift in range(1 - frames, frames) if "T" in axes else (tap - 1,):
            near = (1 - (moved_by - shift).abs()).clamp(min=0) if "T" in axes else None
            shifted = _shift(x, shift).transpose(1, 2).flatten(0, 1)
            result = result + deform_conv2d(shifted, pixels[:, tap], near, weight[:, :, tap], None, backend)
    result = result.unflatten(0, (b, frames)).transpose(1, 2)
    return result if bias is None else result + bias.to(result.dtype).reshape(1, -1, 1, 1, 1)


def _split_offsets(offset: Tensor, axes: str) -> tuple[Tensor, Tensor]:
    """[B, 27 * A, T, H, W] -> in time [B * T, 3, 9, H, W] and in space [B * T, 3, 18, H, W] (dy, dx of each tap)."""
    flat = offset.transpose(1, 2).flatten(0, 1).unflatten(1, (SIDE, SIDE**2, len(axes)))
    none = torch.zeros_like(flat[:, :, :, 0])
    time, row, column = (flat[:, :, :, axes.index(axis)] if axis in axes else none for axis in AXES)
    return time, torch.stack((row, column), 3).flatten(2, 3)


def _shift(x: Tensor, frames: int) -> Tensor:
    """The frame `frames` later in the place of each of [B, C, T, H, W]; zeros where the clip has none."""
    if frames >= 0:
        return F.pad(x[:, :, frames:], (0, 0, 0, 0, 0, min(frames, x.shape[2])))
    return F.pad(x[:, :, :frames], (0, 0, 0, 0, min(-frames, x.shape[2]), 0))


def _check_axes(axes: str) -> None:
    """Refuse anything but one, two or three of T, H, W in this order."""
    if not axes or axes != "".join(axis for axis in AXES if axis in axes):
        raise InputError(f"deform_conv3d: axes must be one or more of T, H, W in this order, got {axes!r}")


class DeformConv3d(nn.Module):
    """Offsets from a plain 3-D convolution (zero at the start), then `deform_conv3d`; C channels to C."""

    def __init__(self, channels: int, axes: str = "HW", backend: str = "auto") -> None:
        super().__init__()
        _check_axes(axes)
        self.axes = axes
        self.backend = backend
        self.offset_conv = nn.Conv3d(channels, SIDE**3 * len(axes), SIDE, padding=1)
        self.weight = nn.Parameter(torch.empty(channels, channels, SIDE, SIDE, SIDE))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.normal_(self.weight, std=(2 / (SIDE**3 * channels)) ** 0.5)
        start_at_zero(self.offset_conv)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, C, T, H, W]."""
        return deform_conv3d(x, self.offset_conv(x), self.weight, self.bias, axes=self.axes, backend=self.backend)


class Residual(nn.Module):
    """x + second(leaky(first(x)))."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, x: Tensor) -> Tensor:
        """The shape stays."""
        return x + self.second(F.leaky_relu(self.first(x), LEAK))


class D3DNet(nn.Module):
    """Seven frames of one channel (brightness, or depth) to the one in the middle, four times the size.

    Args:
        scale: 4; the network knows no other.
        frames: An odd number; 7 in the paper.
        channels: Width; 64 in the paper (2,579,941 parameters).
        axes: Along which axes the taps of the deformable convolutions move; "HW" in the paper's network.
        deform_backend: See `STDNet.ops.deform_conv2d`.
    """

    def __init__(
        self,
        scale: int = SCALE,
        *,
        frames: int = 7,
        channels: int = 64,
        axes: str = "HW",
        deform_backend: str = "auto",
    ) -> None:
        super().__init__()
        if scale != SCALE:
            raise InputError(f"d3dnet: scale must be {SCALE}, got {scale}")
        if frames < 1 or frames % 2 == 0:
            raise InputError(f"d3dnet: frames must be odd, got {frames}")
        if channels < 1:
            raise InputError(f"d3dnet: channels must be at least 1, got {channels}")
        self.scale = scale
        self.frames = frames
        self.first = nn.Conv3d(1, channels, SIDE, padding=1, bias=False)
        nn.init.normal_(self.first.weight, std=(2 / (SIDE**3 * channels)) ** 0.5)
        self.clip_blocks = nn.Sequential(
            *(Residual(*(DeformConv3d(channels, axes, deform_backend) for _ in range(2))) for _ in range(5))
        )
        self.merge = nn.Conv2d(frames * channels, channels, 1)
        self.blocks = nn.Sequential(
            *(Residual(*(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))) for _ in range(6))
        )
        self.reconstruction = nn.Sequential(
            nn.Conv2d(channels, channels * SCALE**2, 1, bias=False),
            nn.PixelShuffle(SCALE),
            nn.Conv2d(channels, 1, 3, padding=1, bias=False),
            nn.Conv2d(1, 1, 3, padding=1, bias=False),
        )

    def forward(self, clip: Tensor) -> Tensor:
        """Super-resolve the middle frame.

        Args:
            clip: [B, frames, h, w], any size.

        Returns:
            [B, 1, 4h, 4w].

        Raises:
            InputError: Another shape.
        """
        if clip.dim() != 4 or clip.shape[1] != self.frames:
            raise InputError(f"d3dnet takes [B, {self.frames}, h, w], got {tuple(clip.shape)}")
        features = self.clip_blocks(F.leaky_relu(self.first(clip[:, None]), LEAK))
        # Frame after frame in the stacked channels.
        merged = self.merge(features.transpose(1, 2).flatten(1, 2))
        middle = clip[:, self.frames // 2, None]
        base = F.interpolate(middle, scale_factor=float(SCALE), mode="bilinear", align_corners=False)
        return base + self.reconstruction(self.blocks(merged))
