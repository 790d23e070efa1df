"""Tiny data sets on disk, in every layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from conftest import save

HEIGHT, WIDTH, SCALE = 16, 24, 4


def rgb_of(t: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """[H, W, 3] uint8, different for every frame."""
    return np.random.default_rng([1, t]).integers(20, 255, (height, width, 3), dtype=np.uint8)


def depth_of(t: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """[H, W] float32 metres, 3 to 9: a slope with a little of something else in every frame."""
    row, column = np.mgrid[:height, :width]
    noise = np.random.default_rng([2, t]).uniform(0, 0.05, (height, width))
    return (3 + 0.2 * row + 0.125 * column + noise).astype(np.float32)


def write_index(path: Path, *lines: str) -> Path:
    """An index file."""
    path.write_text("# a comment\n" + "\n".join(lines) + "\n")
    return path


def tartanair(tmp_path: Path, frames: int = 4, folder: str = "HR_RGB/hall/P000") -> tuple[Path, Path]:
    """(root, index) of one sequence; `folder` chooses the layout."""
    root = tmp_path / "TarTanAir"
    for t in range(frames):
        save(root / folder / "image_left" / f"{t:06d}_left.png", rgb_of(t))
        save(root / folder / "depth_left" / f"{t:06d}_left_depth.npy", depth_of(t))
    return root, write_index(tmp_path / "list.txt", f"hall, P000, {frames}")


def dydtof(tmp_path: Path, frames: int = 2) -> tuple[Path, Path]:
    """(root, index) of one sequence with depth up to 60 m."""
    root = tmp_path / "DyDToF"
    for t in range(frames):
        folder = root / "DyDToF_HR_RGB" / "school" / "shot"
        save(folder / "color" / f"a.{t:04d}.jpeg", rgb_of(t))
        save(folder / "depth" / f"a.{t:04d}.npy", depth_of(t) * 6)
    return root, write_index(tmp_path / "list.txt", f"school, shot, {frames}, a.")
