"""Texture look-up: all patterns at all sizes on one sheet, sampled smoothly at the size that a pixel sees."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from STDNet.datasets.synthetic import patterns

LEVELS = 8  # 256, 128, ... 2 pixels
_COLUMNS = 8


@lru_cache(maxsize=2)
def sheet(device: torch.device) -> tuple[Tensor, Tensor]:
    """The sheet [1, 3, Y, X] of linear colour, and where each level begins on it, [LEVELS] columns.

    A level is a table of `_COLUMNS` columns of patterns, each with a border of one pixel that continues it.
    """
    pictures, _ = patterns.bank()
    level, parts, begins = pictures**2, [], [0]
    for _ in range(LEVELS):
        parts.append(_table(level))
        begins.append(begins[-1] + parts[-1].shape[1])
        level = (level[:, ::2, ::2] + level[:, 1::2, ::2] + level[:, ::2, 1::2] + level[:, 1::2, 1::2]) / 4
    picture = np.zeros((parts[0].shape[0], begins[-1], 3), np.float32)
    for part, begin in zip(parts, begins[:-1], strict=True):
        picture[: part.shape[0], begin : begin + part.shape[1]] = part
    return torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous().to(device), torch.tensor(begins[:-1]).to(
        device
    )


def _table(level: np.ndarray) -> np.ndarray:
    """[K, s, s, 3] to [rows * (s + 2), _COLUMNS * (s + 2), 3]."""
    padded = np.pad(level, ((0, -len(level) % _COLUMNS), (1, 1), (1, 1), (0, 0)), mode="wrap")
    side = padded.shape[1]
    table = padded.reshape(-1, _COLUMNS, side, side, 3).transpose(0, 2, 1, 3, 4)
    return table.reshape(-1, _COLUMNS * side, 3)


def sample(pattern: Tensor, u: Tensor, v: Tensor, footprint: Tensor) -> Tensor:
    """Colour of patterns at some places.

    Args:
        pattern: [N] whole numbers as floats.
        u: [N] place along the columns, in sides of the pattern; it repeats.
        v: [N] along the rows.
        footprint: [N] how much a pixel sees of it, in sides of the pattern.

    Returns:
        [3, N] linear colour in 0..1.
    """
    picture, begins = sheet(u.device)
    size = (footprint * patterns.SIZE).clamp(1, 2 ** (LEVELS - 1)).log2()
    fine = size.floor().clamp(max=LEVELS - 2)
    share = size - fine
    row, column = (pattern / _COLUMNS).floor(), pattern % _COLUMNS
    u, v = u - u.floor(), v - v.floor()
    colours = []
    for level in (fine, fine + 1):
        side = torch.exp2(-level) * patterns.SIZE
        x = begins[level.long()] + column * (side + 2) + 1 + u * side
        y = row * (side + 2) + 1 + v * side
        where = torch.stack([x * (2 / picture.shape[3]) - 1, y * (2 / picture.shape[2]) - 1], dim=-1)
        colours.append(grid_sample(picture, where[None, None], align_corners=False)[0, :, 0])
    return torch.lerp(colours[0], colours[1], share)
