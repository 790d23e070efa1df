"""Forward warp with a z-buffer (for TEPE), and depth to a point cloud."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from STDNet.errors import InputError


def forward_warp(depth_m: Tensor, flow: Tensor, *, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Move every pixel of a depth frame along its flow, unchanged in depth; where several land, the nearest is seen.

    A point of column j and row i lands at (x, y) = (j + u, i + v), where the centre of column x's pixel is x + 0.5. It
    covers every pixel whose centre is strictly nearer than 1 pixel, at most 2 x 2. No half pixel is added to the start
    of a point: that is how the evaluation of DVSR (Sun et al., CVPR 2023), and of the papers after it, defines it.

    Args:
        depth_m: [..., H, W] depth in metres.
        flow: [..., H, W, 2] (u to the right, v down) in pixels; leading dimensions broadcast to those of `depth_m`.
        valid: [..., H, W] bool, like `flow`; points where it is False are not drawn. None draws all of them.

    Returns:
        The warped depth [..., H, W] in the type of `depth_m`, 0 where no point landed, and `hit` [..., H, W], True
        where one did. Points whose flow or depth is not finite are not drawn.

    Raises:
        InputError: Shapes that do not fit each other.
    """
    if depth_m.dim() < 2 or tuple(flow.shape[-3:]) != (*depth_m.shape[-2:], 2):
        raise InputError(f"depth {tuple(depth_m.shape)} needs a flow [..., H, W, 2], got {tuple(flow.shape)}")
    if valid is not None and valid.shape[-2:] != depth_m.shape[-2:]:
        raise InputError(f"depth {tuple(depth_m.shape)} and valid {tuple(valid.shape)} differ in size")
    height, width = depth_m.shape[-2:]
    column = flow[..., 0] + torch.arange(width, dtype=flow.dtype, device=flow.device)
    row = flow[..., 1] + torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None]
    drawn = torch.isfinite(column) & torch.isfinite(row)
    if valid is not None:
        drawn = drawn & valid
    frames = max(1, depth_m.numel() // (height * width))
    depth = depth_m.reshape(frames, -1)
    depth = torch.where(torch.isfinite(depth), depth, torch.inf)
    # One cell more than the frame has: what lands outside is thrown there.
    nearest = depth.new_full((frames, height * width + 1), torch.inf)
    for cell in _covered_cells(column, row, drawn):
        index = cell.expand(depth_m.shape).reshape(frames, -1)
        nearest.scatter_reduce_(1, index, depth, "amin")
    nearest = nearest[:, :-1].reshape(depth_m.shape)
    hit = torch.isfinite(nearest)
    return torch.where(hit, nearest, 0), hit


def _covered_cells(column: Tensor, row: Tensor, drawn: Tensor) -> list[Tensor]:
    """For each of the 2 x 2 pixels around a point its flat index, or height * width where it is not covered."""
    height, width = column.shape[-2:]
    # Far outside is outside, and would not fit an integer.
    column, row = column.nan_to_num(-9, -9, -9).clamp(-9, width + 9), row.nan_to_num(-9, -9, -9).clamp(-9, height + 9)
    first_column, first_row = (column - 1.5).floor() + 1, (row - 1.5).floor() + 1
    cells = []
    for down in (0, 1):
        for right in (0, 1):
            x, y = first_column + right, first_row + down
            near = (x + 0.5 - column) ** 2 + (y + 0.5 - row) ** 2 < 1
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            cells.append(torch.where(drawn & near & inside, y.long() * width + x.long(), height * width))
    return cells


def unproject(depth_m: Tensor, intrinsics: Sequence[float]) -> Tensor:
    """The point cloud of a depth frame, in the camera's frame.

    Args:
        depth_m: [..., H, W] depth along the optical axis, in metres.
        intrinsics: (fx, fy, cx, cy) of a pinhole camera in pixels; the centre of the top left pixel is at (0.5, 0.5),
            so the middle of the frame is (W / 2, H / 2).

    Returns:
        [..., H, W, 3] points in metres: x to the right, y down, z forward.

    Raises:
        InputError: Not four intrinsics, or a focal length that is not positive.
    """
    if len(intrinsics) != 4 or not (intrinsics[0] > 0 and intrinsics[1] > 0):
        raise InputError(f"intrinsics {tuple(intrinsics)} must be (fx, fy, cx, cy) in pixels with fx, fy > 0")
    fx, fy, cx, cy = (float(value) for value in intrinsics)
    height, width = depth_m.shape[-2:]
    column = torch.arange(width, dtype=depth_m.dtype, device=depth_m.device) + 0.5
    row = torch.arange(height, dtype=depth_m.dtype, device=depth_m.device)[:, None] + 0.5
    return torch.stack([depth_m * ((column - cx) / fx), depth_m * ((row - cy) / fy), depth_m], dim=-1)
