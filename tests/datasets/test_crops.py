"""ClipDataset: windows, crops, augmentation, and that a sample follows from seed, epoch and index alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from making import HEIGHT, SCALE, WIDTH, depth_of, rgb_of, save, tartanair
from torch.utils.data import DataLoader

from STDNet import Clip, InputError
from STDNet.datasets import ClipDataset, Video, videos
from STDNet.datasets.crops import another_sensor


@pytest.fixture
def sequences(tmp_path) -> list[Video]:
    root, index = tartanair(tmp_path, frames=7)
    return videos("tartanair", root, index, scale=SCALE)


def truth(t: int) -> np.ndarray:
    return depth_of(t) / np.float32(30)


def test_windows_leave_out_the_first_and_last_frame(sequences):
    clips = ClipDataset(sequences, frames=3, patch=None, augment=False)
    assert len(clips) == 3  # 1-3, 2-4, 3-5
    assert np.allclose(clips[0]["gt"][:, 0], [truth(1), truth(2), truth(3)])
    assert np.allclose(clips[2]["gt"][:, 0], [truth(3), truth(4), truth(5)])
    assert len(ClipDataset(sequences, frames=3, patch=8, skip_ends=False)) == 5
    strided = ClipDataset(sequences, frames=3, patch=None, stride=2, augment=False)
    assert len(strided) == 1
    assert np.allclose(strided[0]["gt"][:, 0], [truth(1), truth(3), truth(5)])
    assert len(ClipDataset(sequences * 2, frames=5, patch=8)) == 2


def test_samples_are_in_network_units(sequences):
    sample = ClipDataset(sequences, frames=3, patch=8)[0]
    assert {name: tuple(value.shape) for name, value in sample.items()} == {
        "lr": (3, 1, 2, 2),
        "rgb": (3, 3, 8, 8),
        "gt": (3, 1, 8, 8),
        "valid": (3, 1, 8, 8),
    }
    assert sample["valid"].dtype == torch.bool
    assert sample["valid"].all()
    assert sample["gt"].min() >= 3 / 30
    assert sample["gt"].max() <= 9 / 30


def place(sample: dict, t: int) -> tuple[int, int]:
    """Where in frame `t` an unflipped sample's first picture comes from."""
    height, width = sample["gt"].shape[-2:]
    for top, left in itertools.product(range(HEIGHT - height + 1), range(WIDTH - width + 1)):
        if np.allclose(sample["gt"][0, 0], truth(t)[top : top + height, left : left + width]):
            return top, left
    raise AssertionError("not a crop")


def test_aligned_crops_lie_on_the_grid_and_reach_every_place(sequences):
    clips = ClipDataset(sequences, frames=1, patch=8, augment=False)
    seen = set()
    whole = sequences[0].read(1, 2)
    for epoch in range(60):
        clips.set_epoch(epoch)
        sample = clips[0]
        top, left = place(sample, 1)
        seen.add((top, left))
        assert torch.equal(sample["lr"], whole.lr[..., top // 4 : top // 4 + 2, left // 4 : left // 4 + 2] / 30)
        assert torch.equal(sample["rgb"], whole.rgb[..., top : top + 8, left : left + 8])
    assert seen == set(itertools.product(range(0, 9, 4), range(0, 17, 4)))


def test_the_official_quirk_crops_anywhere_and_rounds_lr_down(sequences):
    clips = ClipDataset(sequences, frames=1, patch=8, augment=False, aligned=False)
    whole = sequences[0].read(1, 2)
    seen = set()
    for epoch in range(40):
        clips.set_epoch(epoch)
        sample = clips[0]
        top, left = place(sample, 1)
        seen.add((top % 4, left % 4))
        assert torch.equal(sample["lr"], whole.lr[..., top // 4 : top // 4 + 2, left // 4 : left // 4 + 2] / 30)
    assert len(seen) > 8


def test_flips_and_transpose_are_the_same_for_all_and_reach_all_eight_ways(sequences):
    whole = sequences[0].read(1, 3, box=None)
    clips = ClipDataset(sequences, frames=2, patch=16)
    # a patch as high as the frame: the column is the only freedom left
    seen = set()
    for epoch in range(80):
        clips.set_epoch(epoch)
        sample = clips[0]
        for way in itertools.product((False, True), repeat=3):
            horizontal, vertical, transpose = way
            axes = [axis for axis, wanted in ((-1, horizontal), (-2, vertical)) if wanted]
            undone = {name: value.transpose(-1, -2) if transpose else value for name, value in sample.items()}
            undone = {name: value.flip(axes) for name, value in undone.items()}
            for left in (0, 4, 8):
                if torch.equal(undone["rgb"], whole.rgb[..., left : left + 16]):
                    seen.add(way)
                    assert torch.allclose(undone["gt"] * 30, whole.gt[..., left : left + 16])
                    assert torch.allclose(undone["lr"] * 30, whole.lr[..., left // 4 : left // 4 + 4])
    assert len(seen) == 8


def test_rectangles_are_not_transposed_and_whole_frames_work(sequences):
    for patch in (None, (HEIGHT, WIDTH), (8, 20)):
        clips = ClipDataset(sequences, frames=1, patch=patch)
        for epoch in range(8):
            clips.set_epoch(epoch)
            assert clips[0]["gt"].shape[-2:] == (patch or (HEIGHT, WIDTH))


def test_jitter_changes_rgb_alone_and_little(sequences):
    plain, jittered = (ClipDataset(sequences, frames=2, patch=16, jitter=jitter)[0] for jitter in (False, True))
    assert all(torch.equal(plain[name], jittered[name]) for name in ("lr", "gt", "valid"))
    assert not torch.equal(plain["rgb"], jittered["rgb"])
    assert 0 <= jittered["rgb"].min() <= jittered["rgb"].max() <= 1
    assert (plain["rgb"] - jittered["rgb"]).abs().mean() < 0.2


def test_samples_follow_from_seed_epoch_and_index(sequences):
    def sample(index: int = 1, seed: int = 0, epoch: int = 0) -> torch.Tensor:
        clips = ClipDataset(sequences, frames=2, patch=8, seed=seed, jitter=True)
        clips.set_epoch(epoch)
        return clips[index]["rgb"]

    assert torch.equal(sample(), sample())
    for change in ({"index": 2}, {"seed": 1}, {"epoch": 1}):
        assert not torch.equal(sample(), sample(**change))


def test_workers_make_no_difference(sequences):
    clips = ClipDataset(sequences, frames=2, patch=8)
    clips.set_epoch(3)
    loader = DataLoader(clips, batch_size=2, num_workers=2)
    for number, batch in enumerate(loader):
        for name, value in batch.items():
            alone = torch.stack([clips[index][name] for index in (2 * number, 2 * number + 1)])
            assert torch.equal(value, alone)


def test_what_cannot_be_cropped(sequences, tmp_path):
    for change, message in (
        ({"frames": 6}, "7 frames are too few for a clip of 6 frames, stride 1, without the first and last"),
        ({"frames": 3, "stride": 3}, "7 frames are too few for a clip of 3 frames, stride 3"),
        ({"frames": 0}, "at least 1"),
        ({"patch": 6}, "patch 6 x 6: no multiple of the scale 4"),
        ({"patch": 32}, "frames of 16 x 24 are smaller than the patch 32 x 32"),
    ):
        with pytest.raises(InputError, match=message):
            ClipDataset(sequences, **{"frames": 3, "patch": 8, **change})
    with pytest.raises(InputError, match="0 videos"):
        ClipDataset([])
    for t in range(3):
        save(tmp_path / "mine/rgb" / f"{t}.png", rgb_of(t))
        save(tmp_path / "mine/lr" / f"{t}.npy", np.ones((4, 6), np.float32))
    clips = ClipDataset(videos("folder", tmp_path / "mine", scale=SCALE), frames=1, patch=8)
    with pytest.raises(InputError, match="training needs HR depth"):
        clips[0]


def test_other_sensors_change_lr_depth_alone_in_their_share_of_the_clips(sequences):
    def samples(share: float) -> list[dict]:
        clips = ClipDataset(sequences, frames=1, patch=8, other_sensors=share, augment=False)
        found = []
        for epoch in range(20):
            clips.set_epoch(epoch)
            found.append(clips[0])
        return found

    plain, mixed = samples(0.0), samples(0.5)
    assert all(torch.equal(a[name], b[name]) for a, b in zip(plain, mixed, strict=True) for name in ("gt", "rgb"))
    changed = sum(not torch.equal(a["lr"], b["lr"]) for a, b in zip(plain, mixed, strict=True))
    assert 4 <= changed <= 16
    again = samples(0.5)
    assert all(torch.equal(a["lr"], b["lr"]) for a, b in zip(mixed, again, strict=True))


def test_another_sensor_sees_the_same_scene_within_its_range():
    depth = 1 + torch.rand(2, 1, 32, 32)
    clip = Clip(torch.rand(2, 3, 32, 32), torch.zeros(2, 1, 8, 8), depth)
    low, high = (pool(depth[:, 0], 4) for pool in (lambda x, k: -F.max_pool2d(-x, k), F.max_pool2d))
    for seed in range(20):
        lr = another_sensor(clip, np.random.default_rng(seed)).lr[:, 0]
        seen = lr > 0
        # Half a bin of 10 cm at most beside what is in the block.
        assert seen.float().mean() > 0.8
        assert ((lr >= low - 0.06) & (lr <= high + 0.06))[seen].all()
