"""Tiny captures on disk, in every format: a slope that moves, under random colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from conftest import save
from PIL import Image

HEIGHT, WIDTH, LR_HEIGHT, LR_WIDTH = 32, 48, 8, 12


def rgb_of(t: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """[H, W, 3] uint8, different for every frame."""
    return np.random.default_rng([1, t]).integers(0, 255, (height, width, 3), dtype=np.uint8)


def mm_of(t: int, height: int = LR_HEIGHT, width: int = LR_WIDTH) -> np.ndarray:
    """[h, w] uint16 millimetres, 1 m to 3 m."""
    row, column = np.mgrid[:height, :width]
    return (1000 + 10 * t + 1000 * row // height + 500 * column // width).astype(np.uint16)


def folder(root: Path, frames: int = 4, size: tuple[int, int] = (HEIGHT, WIDTH), kind: str = "npy") -> Path:
    """rgb/ and lr/."""
    for t in range(frames):
        save(root / "rgb" / f"f{t}.png", rgb_of(t, *size))
        depth = mm_of(t) if kind == "png" else mm_of(t).astype(np.float32) / 1000
        save(root / "lr" / f"f{t}.{kind}", depth)
    return root


def stray(root: Path, frames: int = 4) -> Path:
    """A Stray Scanner capture; the video needs PyAV."""
    from STDNet.visualize import film

    film(root / "rgb.mp4", (Image.fromarray(rgb_of(t)) for t in range(frames)))
    for t in range(frames):
        save(root / "depth" / f"{t:06d}.png", mm_of(t))
        save(root / "confidence" / f"{t:06d}.png", np.full((LR_HEIGHT, LR_WIDTH), 2, np.uint8))
    (root / "camera_matrix.csv").write_text("40.0, 0.0, 24.0\n0.0, 40.0, 16.0\n0.0, 0.0, 1.0\n")
    lines = [f"{100 + t / 60}, {t:06d}, 0, 0, 0, 0, 0, 0, 1\n" for t in range(frames)]
    (root / "odometry.csv").write_text("timestamp, frame, x, y, z, qx, qy, qz, qw\n" + "".join(lines))
    return root


def arkitscenes(root: Path, frames: int = 4, rgb: str = "lowres_wide") -> Path:
    """An ARKitScenes sequence whose depth is 3 ms late; the last picture has none."""
    for t in range(frames + 1):
        time = 6855.2 + t / 10
        save(root / rgb / f"407_{time:.3f}.png", rgb_of(t))
        pincam = root / f"{rgb}_intrinsics" / f"407_{time:.3f}.pincam"
        pincam.parent.mkdir(exist_ok=True)
        pincam.write_text(f"{WIDTH} {HEIGHT} {40 + t} {40 + t} 24 16\n")
        if t < frames:
            save(root / "lowres_depth" / f"407_{time + 0.003:.3f}.png", mm_of(t))
            save(root / "confidence" / f"407_{time + 0.003:.3f}.png", np.full((LR_HEIGHT, LR_WIDTH), 2, np.uint8))
    return root


def tum(root: Path, frames: int = 4) -> Path:
    """A TUM RGB-D sequence: depth as fine as RGB, blocks of 4 x 4 pixels that are one."""
    rgb, depth = ["# color images\n"], ["# depth maps\n"]
    for t in range(frames):
        save(root / "rgb" / f"{t}.000000.png", rgb_of(t))
        save(root / "depth" / f"{t}.010000.png", (mm_of(t) * 5).repeat(4, 0).repeat(4, 1))
        rgb.append(f"{t}.000000 rgb/{t}.000000.png\n")
        depth.append(f"{t}.010000 depth/{t}.010000.png\n")
    (root / "rgb.txt").write_text("".join(rgb))
    (root / "depth.txt").write_text("".join(depth))
    return root
