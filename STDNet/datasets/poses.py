"""Optical flow of a static scene, from its depth and the camera's poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from STDNet.errors import InputError

# TarTanAir's camera: 640 x 480 pixels, the centre of pixel (0, 0) is at (0.5, 0.5).
FOCAL = 320.0
CENTRE_U = 320.0
CENTRE_V = 240.0
# Where a point goes that is no longer in front of the camera, or has no depth: far outside of every frame, but finite.
NOWHERE = 1e6


def read_poses(path: Path, frames: int) -> np.ndarray:
    """[N, 7] camera poses `x y z qx qy qz qw`, metres and unit quaternions, N >= `frames`.

    Raises:
        InputError: The file is unreadable, has another number of columns, numbers that are none, or too few lines.
    """
    try:
        poses = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable pose file ({error}); expected x y z qx qy qz qw a line") from None
    if poses.shape[1:] != (7,) or len(poses) < frames:
        raise InputError(f"{path}: {poses.shape[0]} lines of {poses.shape[1]} numbers; expected {frames} of 7")
    lengths = np.linalg.norm(poses[:, 3:], axis=1)
    bad = np.flatnonzero(~np.isfinite(poses).all(axis=1) | ~(np.abs(lengths - 1) < 1e-2))
    if len(bad):
        raise InputError(f"{path}, line {bad[0] + 1}: not a pose: x y z and a quaternion of length 1 are expected")
    return poses


def flow_from_poses(depth_m: np.ndarray, pose: np.ndarray, next_pose: np.ndarray) -> np.ndarray:
    """Forward flow of a static scene.

    Poses are camera-to-world in NED axes: the camera looks along x, y is right, z is down; depth is along x.

    Args:
        depth_m: [H, W] depth of the frame in metres; 0 or not finite: unknown.
        pose: [7] x y z qx qy qz qw of the frame.
        next_pose: [7] of the next frame.

    Returns:
        [H, W, 2] float32 displacement in pixels, u right, v down; `NOWHERE` for points of unknown depth and points that
        are behind the next camera.
    """
    height, width = depth_m.shape
    depth = depth_m.astype(np.float64)
    known = np.isfinite(depth) & (depth > 0)
    column, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    ray = np.stack([np.ones_like(column), (column - CENTRE_U) / FOCAL, (row - CENTRE_V) / FOCAL], axis=-1)
    turn, next_turn = Rotation.from_quat(pose[3:]), Rotation.from_quat(next_pose[3:])
    relative = (next_turn.inv() * turn).as_matrix()
    shift = next_turn.inv().apply(pose[:3] - next_pose[:3])
    x, y, z = np.moveaxis((ray * np.where(known, depth, 0)[..., None]) @ relative.T + shift, -1, 0)
    known &= x > 1e-6
    x = np.where(known, x, 1)
    flow = np.stack([FOCAL * y / x + CENTRE_U - column, FOCAL * z / x + CENTRE_V - row], axis=-1)
    return np.where(known[..., None], flow, NOWHERE).astype(np.float32)
