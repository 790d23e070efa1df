"""The loaders on real frames; skipped where they are not beside the project."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from making import write_index

from STDNet.datasets import Box, ClipDataset, videos

ROOT = Path(__file__).resolve().parents[2]
CLIPS = ROOT.parent / "shared" / "clips"
pytestmark = pytest.mark.skipif(not CLIPS.is_dir(), reason="no real clips beside the project")


@pytest.mark.parametrize("scale", [4, 8, 16])
def test_simulated_lr_equals_the_authors_files(scale):
    index = ROOT / "data/DyDToF_test_subset.txt"
    files, simulated = (
        videos("dydtof", CLIPS / "DyDToF", index, scale=scale, lr=lr)[0] for lr in ("files", "simulate")
    )
    assert (len(files), files.height, files.width) == (30, 528, 960)
    box = Box(0, 320, 528, 320)
    for t in (0, 29):
        assert torch.equal(files.read(t, t + 1, box=box).lr, simulated.read(t, t + 1, box=box).lr)


@pytest.fixture
def hospital(tmp_path):
    return videos("tartanair", CLIPS / "TarTanAir", write_index(tmp_path / "list.txt", "hospital, clip, 30"), scale=4)


def test_training_samples_of_a_real_clip(hospital):
    clips = ClipDataset(hospital, seed=7240)
    assert len(clips) == 22
    sample = clips[3]
    assert sample["rgb"].shape == (7, 3, 256, 256)
    # LR and HR show the same place: most LR depths are the depth of the block's middle, up to quantisation
    middle = sample["gt"][..., 2::4, 2::4]
    assert ((sample["lr"] - middle).abs() * 30).median() < 0.06


@pytest.mark.parametrize("t", [0, 28])
def test_flow_from_poses_agrees_with_the_next_frames_depth(hospital, t):
    """A point's depth in the next camera, and the next frame's depth where the flow says it is."""
    (video,) = hospital
    flow, depth, after = video.flow(t), video.read_depth(t), video.read_depth(t + 1)
    row, column = torch.meshgrid(torch.arange(480.0), torch.arange(640.0), indexing="ij")
    u, v = column + flow[..., 0], row + flow[..., 1]
    seen = (u >= 0) & (u <= 639) & (v >= 0) & (v <= 479)
    # normalised so that -1 and 1 are the outer edges of the frame
    grid = torch.stack([(u + 0.5) / 320 - 1, (v + 0.5) / 240 - 1], -1)
    found = F.grid_sample(after[None, None], grid[None], align_corners=False, padding_mode="border")[0, 0]
    expected = depth_in_next_camera(video, t, depth)
    error = ((found - expected).abs() / expected)[seen]
    assert seen.float().mean() > 0.5
    assert error.median() < 1e-3
    # occlusions and edges are what is left
    assert (error < 0.01).float().mean() > 0.9


def depth_in_next_camera(video, t: int, depth: torch.Tensor) -> torch.Tensor:
    """Depth along the next camera's axis, written down from rotation matrices on its own."""
    poses = [[float(word) for word in line.split()] for line in video.layout.poses.read_text().splitlines()]
    here, there = (torch.tensor(poses[k], dtype=torch.float64) for k in (t, t + 1))
    row, column = torch.meshgrid(torch.arange(480) + 0.5, torch.arange(640) + 0.5, indexing="ij")
    rays = torch.stack([torch.ones(480, 640), (column - 320) / 320, (row - 240) / 320], -1).double()
    world = (rays * depth[..., None]) @ matrix(here[3:]).T + here[:3]
    return ((world - there[:3]) @ matrix(there[3:])[:, 0]).float()


def matrix(quaternion: torch.Tensor) -> torch.Tensor:
    """The rotation of the quaternion x y z w."""
    x, y, z, w = (quaternion / quaternion.norm()).tolist()
    return torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ],
        dtype=torch.float64,
    )
