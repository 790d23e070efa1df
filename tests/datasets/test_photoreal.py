"""The sample video that ships: its flow, depth and poses belong together; the tool that made it says what it needs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from STDNet.datasets import videos
from STDNet.datasets.synthetic import photoreal
from STDNet.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "dataset" / "sample"


def sample_poses() -> tuple[np.ndarray, np.ndarray]:
    """[T, 4, 4] camera-to-world, and fx fy cx cy."""
    path = SAMPLE / "room" / "poses.txt"
    intrinsics = [float(word) for word in path.read_text().splitlines()[0].split("=")[1].split()[:4]]
    return np.loadtxt(path).reshape(-1, 4, 4), np.array(intrinsics)


def moved(depth: np.ndarray, now: np.ndarray, then: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """[H, W, 2] where a still point goes from one camera to the next, in pixels."""
    fx, fy, cx, cy = intrinsics
    height, width = depth.shape
    v, u = np.mgrid[:height, :width] + 0.5
    points = np.stack([(u - cx) / fx * depth, (v - cy) / fy * depth, depth, np.ones_like(depth)], -1)
    x, y, z, _ = np.moveaxis(points @ (np.linalg.inv(then) @ now).T, -1, 0)
    return np.stack([fx * x / z + cx - u, fy * y / z + cy - v], -1)


def test_the_sample_moves_as_its_poses_say():
    (video,) = videos("dynamic_replica", SAMPLE, SAMPLE / "index.txt", scale=4, protocol="metric", lr="simulate")
    poses, intrinsics = sample_poses()
    assert (len(video), video.height, video.width) == (16, 480, 640) and len(poses) == 16
    still = []
    for t in range(15):
        flow, depth = video.flow(t).numpy(), video.read_depth(t).squeeze().numpy()
        assert depth.min() > 0.3 and depth.max() < 20
        away = np.linalg.norm(flow - moved(depth.astype(float), poses[t], poses[t + 1], intrinsics), axis=-1)
        still.append(np.mean(away < 0.05))
        assert np.linalg.norm(flow, axis=-1).max() > 1  # something happens
    # Depth is kept as float16, flow too; two things in the room move on their own.
    assert min(still) > 0.7 and np.mean(still) < 1


@pytest.mark.skipif(importlib.util.find_spec("bpy") is not None, reason="Blender is installed")
def test_without_blender_the_tool_says_what_to_install(tmp_path: Path):
    with pytest.raises(InputError, match="pip install '.\\[blender\\]'"):
        photoreal.main(["--out", str(tmp_path / "sample")])
    assert not (tmp_path / "sample").exists()


@pytest.mark.parametrize("flag", ["--frames", "--height", "--samples"])
def test_nothing_can_be_rendered_without_pixels(flag: str, tmp_path: Path):
    with pytest.raises(InputError, match=f"{flag} must be positive, got 0"):
        photoreal.main(["--out", str(tmp_path), flag, "0"])
