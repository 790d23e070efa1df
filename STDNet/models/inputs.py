"""What every network that sees depth and RGB checks first: do the shapes belong together? Legend in stdnet.py."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from STDNet.errors import InputError


def fit(lr: Tensor, rgb: Tensor, scale: int, name: str) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Check a clip and extend it to whole multiples of the scale by repeating the last row and column.

    Args:
        lr: [B, T, 1, H/s, W/s], low-resolution depth; sizes rounded down or up where s does not divide H or W.
        rgb: [B, T, 3, H, W].
        scale: s, RGB pixels per depth pixel.
        name: Of the network, for the message.

    Returns:
        Both, extended, and (H, W) to crop the result back to.

    Raises:
        InputError: Shapes that do not belong together.
    """
    if lr.dim() != 5 or rgb.dim() != 5 or lr.shape[2] != 1 or rgb.shape[2] != 3 or lr.shape[:2] != rgb.shape[:2]:
        raise InputError(
            f"{name} takes lr [B, T, 1, H/{scale}, W/{scale}] and rgb [B, T, 3, H, W], "
            f"got {tuple(lr.shape)} and {tuple(rgb.shape)}"
        )
    height, width = rgb.shape[-2:]
    rows, columns = -(-height // scale), -(-width // scale)
    for have, full, size in zip(lr.shape[-2:], (rows, columns), (height, width), strict=True):
        if have not in (full, size // scale) or have == 0:
            raise InputError(
                f"{name}: LR depth {tuple(lr.shape[-2:])} does not fit RGB {height} x {width} at scale {scale}, "
                f"expected {rows} x {columns}"
            )
    return extend(lr, rows, columns), extend(rgb, rows * scale, columns * scale), (height, width)


def extend(x: Tensor, height: int, width: int) -> Tensor:
    """Repeat the last row and column of [B, T, c, H, W] up to height x width."""
    down, right = height - x.shape[-2], width - x.shape[-1]
    if not (down or right):
        return x
    return F.pad(x.flatten(0, 1), (0, right, 0, down), mode="replicate").unflatten(0, x.shape[:2])
