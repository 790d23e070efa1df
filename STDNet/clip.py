"""Clip: what travels between the rooms. RGB in 0..1, depth in metres, nothing normalised yet."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from STDNet.errors import InputError


@dataclass(frozen=True)
class Clip:
    """T consecutive frames of one video, or a crop of them.

    Attributes:
        rgb: [T, 3, H, W] float32 in 0..1.
        lr: [T, 1, h, w] float32, low-resolution depth in metres, with H = h * scale and W = w * scale.
        gt: [T, 1, H, W] float32, high-resolution depth in metres; None where there is no ground truth.
        valid: [T, 1, H, W] bool, True where `gt` may be compared with a prediction; None means everywhere.
        name: Which video and which frames, for messages and file names.
    """

    rgb: Tensor
    lr: Tensor
    gt: Tensor | None = None
    valid: Tensor | None = None
    name: str = ""

    def __post_init__(self) -> None:
        frames, _, height, width = _shape(self.name, "rgb", self.rgb, channels=3)
        lr_frames, _, lr_height, lr_width = _shape(self.name, "lr", self.lr, channels=1)
        scale = width // lr_width
        if lr_frames != frames or (lr_height * scale, lr_width * scale) != (height, width):
            raise InputError(
                f"{self.name}: LR depth {lr_frames} x {lr_height} x {lr_width} does not divide "
                f"RGB {frames} x {height} x {width} by one whole factor"
            )
        for field in ("gt", "valid"):
            value = getattr(self, field)
            if value is not None and _shape(self.name, field, value, channels=1) != (frames, 1, height, width):
                raise InputError(
                    f"{self.name}: {field} {tuple(value.shape)} does not match RGB {tuple(self.rgb.shape)}"
                )
        if self.valid is not None and self.valid.dtype != torch.bool:
            raise InputError(f"{self.name}: valid must be a bool tensor, got {self.valid.dtype}")

    def __len__(self) -> int:
        return self.rgb.shape[0]

    @property
    def scale(self) -> int:
        """HR pixels per LR pixel, along each axis."""
        return self.rgb.shape[-1] // self.lr.shape[-1]


def _shape(name: str, field: str, value: Tensor, *, channels: int) -> tuple[int, int, int, int]:
    """The four sizes of `value`, after a check of rank and channel count."""
    if value.dim() != 4 or value.shape[1] != channels:
        raise InputError(f"{name}: {field} must be [T, {channels}, height, width], got {tuple(value.shape)}")
    frames, _, height, width = value.shape
    return frames, channels, height, width
