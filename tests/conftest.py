"""What several tests share: deterministic weights and inputs, and the folder of reference data where it is there."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from STDNet import STDNet
from STDNet.checkpoint import official_names

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS), str(TESTS / "super_resolve")]  # its captures serve the page too
SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture
def shared() -> Path:
    """The folder with reference numbers and real clips; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("no reference data beside the project")
    return SHARED


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers for every test."""
    torch.manual_seed(0)


def fill_by_name(net: STDNet) -> STDNet:
    """Give every weight a value that follows from its official name alone, the same on every machine."""
    names = official_names()
    net.load_state_dict({ours: _filled(names[ours], value.shape) for ours, value in net.state_dict().items()})
    return net


def _filled(name: str, shape: torch.Size) -> Tensor:
    """Normal numbers from a generator seeded by the name: kernels / sqrt(fan in), the rest * 0.05."""
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(shape))
    scale = 1 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.05
    return torch.from_numpy(np.ascontiguousarray(values * scale)).float()


def moving_disc(seed: int, n: int, t: int, h: int, w: int, scale: int) -> tuple[Tensor, Tensor, Tensor]:
    """(lr, rgb, gt) [n, t, ., ., .] in network units: a smooth wall, a nearer disc that moves, random texture."""
    rng = np.random.RandomState(seed)
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float64)
    depth, rgb = np.empty((n, t, 1, h, w)), np.empty((n, t, 3, h, w))
    for b in range(n):
        wall = 0.3 + 0.2 * np.sin(xx / w * 3 + rng.rand()) * np.cos(yy / h * 2 + rng.rand())
        texture = rng.rand(3, h, w)
        x, y, radius = rng.rand() * w, rng.rand() * h, 0.2 * min(h, w)
        vx, vy = rng.randn(2) * 2
        for k in range(t):
            disc = ((xx - x - vx * k) ** 2 + (yy - y - vy * k) ** 2) < radius * radius
            depth[b, k, 0] = np.where(disc, 0.15, wall + 0.01 * k)
            rgb[b, k] = 0.7 * texture + 0.3 * disc
    gt = torch.from_numpy(depth).float()
    return gt[..., ::scale, ::scale].contiguous(), torch.from_numpy(rgb).float(), gt


def write_tartanair(root: Path, sequences: dict[str, int], size: int = 32) -> Path:
    """A small data set in the paper's TarTanAir layout: sequence -> frames, scene "room". Returns its index file."""
    for number, (sequence, frames) in enumerate(sequences.items()):
        folder = root / "HR_RGB" / "room" / sequence
        (folder / "image_left").mkdir(parents=True)
        (folder / "depth_left").mkdir()
        _, rgb, gt = moving_disc(number, 1, frames, size, size, 4)
        for t in range(frames):
            picture = (rgb[0, t] * 255).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(picture).save(folder / "image_left" / f"{t:06d}_left.png")
            np.save(folder / "depth_left" / f"{t:06d}_left_depth.npy", (10 * gt[0, t, 0]).numpy())
        (folder / "pose_left.txt").write_text("0 0 0 0 0 0 1\n" * frames)
    index = root / "index.txt"
    index.write_text("".join(f"room, {name}, {frames}\n" for name, frames in sequences.items()))
    return index


def save(path: Path, values: np.ndarray) -> Path:
    """An .npy file or a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path)
    return path
