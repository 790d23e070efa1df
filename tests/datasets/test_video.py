"""Video: boxes, frames, flow, and what is wrong with a file when it is read."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from making import HEIGHT, SCALE, WIDTH, depth_of, rgb_of, save, tartanair
from scipy.spatial.transform import Rotation

from STDNet import InputError
from STDNet.datasets import Box, SensorRange, Video, videos
from STDNet.datasets.poses import NOWHERE, flow_from_poses


@pytest.fixture
def video(tmp_path) -> Video:
    root, index = tartanair(tmp_path)
    return videos("tartanair", root, index, scale=SCALE)[0]


@pytest.mark.parametrize("lr", ["files", "simulate"])
def test_a_box_is_a_crop_of_the_whole(video, tmp_path, lr):
    for t in range(4):
        save(video.lr_path(t), video.read_lr(t).numpy()[None])
    (video,) = videos("tartanair", tmp_path / "TarTanAir", tmp_path / "list.txt", scale=SCALE, lr=lr)
    whole, part = video.read(0, 4, step=2), video.read(0, 4, step=2, box=Box(4, 8, 8, 12))
    assert len(whole) == len(part) == 2
    assert torch.equal(part.rgb, whole.rgb[..., 4:12, 8:20])
    assert torch.equal(part.gt, whole.gt[..., 4:12, 8:20])
    assert torch.equal(part.lr, whole.lr[..., 1:3, 2:5])
    off = video.read(0, 4, step=2, box=Box(6, 11, 8, 12), lr_box=Box(1, 2, 2, 3))
    assert torch.equal(off.gt, whole.gt[..., 6:14, 11:23])
    assert torch.equal(off.rgb, whole.rgb[..., 6:14, 11:23])
    assert torch.equal(off.lr, part.lr)


def test_decoded_pictures_are_the_same(video, tmp_path):
    cache = tmp_path / "cache"
    (cached,) = videos("tartanair", tmp_path / "TarTanAir", tmp_path / "list.txt", scale=SCALE, cache=cache)
    for box in (None, Box(4, 8, 8, 12), Box(4, 8, 8, 12)):
        ours, theirs = cached.read(0, 4, box=box), video.read(0, 4, box=box)
        for name in ("rgb", "lr", "gt"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name))
    kept = list(cache.rglob("*.npy"))
    assert len(kept) == 4
    for path in kept:  # what is read is what is kept there
        np.save(path, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert not cached.read_rgb(1).any()
    save(video.layout.frames[1].rgb, rgb_of(7))  # a picture that changes is decoded anew
    assert torch.equal(cached.read_rgb(1), video.read_rgb(1)) and cached.read_rgb(1).any()
    video.layout.frames[2].rgb.unlink()
    with pytest.raises(InputError, match="no such file"):
        cached.read_rgb(2)


def test_frames_are_read_one_at_a_time(video):
    clips = list(video.frames(1, 4))
    assert [clip.name for clip in clips] == ["hall/P000[1:2]", "hall/P000[2:3]", "hall/P000[3:4]"]
    whole = video.read(1, 4)
    for field in ("rgb", "lr", "gt"):
        assert torch.equal(torch.cat([getattr(clip, field) for clip in clips]), getattr(whole, field))
    assert len(list(video.frames())) == 4
    # lazily: a broken last frame does not hinder the first
    video.layout.frames[3].depth.unlink()
    assert len(next(video.frames())) == 1


def test_single_frames(video):
    assert np.array_equal(video.read_depth(2), depth_of(2))
    assert np.array_equal((video.read_rgb(2) * 255).round().byte().permute(1, 2, 0), rgb_of(2))
    assert torch.equal(video.read_lr(2), video.read(2, 3).lr[0, 0])
    assert video.flow(0) is None


def test_videos_travel_to_workers(video):
    assert torch.equal(pickle.loads(pickle.dumps(video)).read(0, 1).lr, video.read(0, 1).lr)


def test_another_sensor(tmp_path):
    root, index = tartanair(tmp_path)
    (video,) = videos("tartanair", root, index, scale=SCALE, sensor=SensorRange(20.0, 11))
    assert video.sensor == SensorRange(20.0, 11)
    assert set(video.read(0, 4).lr.unique().tolist()) <= {2.0, 4.0, 6.0, 8.0, 10.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": 2, "stop": 2}, "frames 2:2:1 asked for, the video has 4 frames"),
        ({"start": 0, "stop": 5}, "frames 0:5:1 asked for, the video has 4 frames"),
        ({"start": -1, "stop": 2}, "the video has 4 frames"),
        ({"start": 0, "stop": 2, "step": 0}, "the video has 4 frames"),
        ({"start": 0, "stop": 1, "box": Box(2, 0, 8, 8)}, "not on the grid of scale 4"),
        ({"start": 0, "stop": 1, "box": Box(0, 0, 8, 6)}, "not on the grid of scale 4"),
        ({"start": 0, "stop": 1, "box": Box(12, 0, 8, 8)}, "not within 16 x 24 pixels"),
        ({"start": 0, "stop": 1, "box": Box(0, 0, 0, 8)}, "not within 16 x 24 pixels"),
        ({"start": 0, "stop": 1, "box": Box(0, 0, 8, 8), "lr_box": Box(3, 0, 2, 2)}, "not within 16 x 24 pixels"),
    ],
)
def test_what_is_outside_is_refused(video, arguments, message):
    with pytest.raises(InputError, match=message):
        video.read(arguments.pop("start"), arguments.pop("stop"), **arguments)


def test_shapes_that_do_not_fit(video):
    frame = video.layout.frames[1]
    save(frame.depth, depth_of(1, HEIGHT, WIDTH - 4))
    with pytest.raises(InputError, match="000001_left_depth.npy: 16 x 20 pixels, but the first RGB picture.* 16 x 24"):
        video.read(0, 2)
    save(frame.depth, depth_of(1))
    save(frame.rgb, rgb_of(1, HEIGHT - 4, WIDTH))
    with pytest.raises(InputError, match="000001_left.png: 12 x 24 pixels"):
        video.read(0, 2)
    save(frame.rgb, rgb_of(1))
    assert len(video.read(0, 2)) == 2


def test_lr_depth_of_the_wrong_size_says_what_fits(video, tmp_path):
    for t in range(4):
        save(video.lr_path(t), np.ones((8, 12), np.float32))
    (video,) = videos("tartanair", tmp_path / "TarTanAir", tmp_path / "list.txt", scale=SCALE)
    with pytest.raises(InputError, match="LR depth 8 x 12, expected 4 x 6 .* resize RGB to 32 x 48"):
        video.read(0, 1)


def test_frames_that_are_no_multiple_of_the_scale(tmp_path):
    root, index = tartanair(tmp_path)
    (video,) = videos("tartanair", root, index, scale=16)
    with pytest.raises(InputError, match="16 x 24 pixels are no multiple of the scale 16; crop the frames to 16 x 16"):
        video.read(0, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.5])
def test_depth_that_is_none(video, tmp_path, value):
    depth = depth_of(1)
    depth[3, 5] = value
    save(video.layout.frames[1].depth, depth)
    with pytest.raises(InputError, match=r"000001_left_depth.npy: depth \S+ m in 1 pixel"):
        video.read(0, 2)
    assert video.read(0, 2, box=Box(8, 8, 8, 8)).gt.isfinite().all()
    lr = video.read_lr(0).numpy()
    for t in range(4):
        save(video.lr_path(t), lr)
    lr[0, 0] = value
    save(video.lr_path(0), lr)
    (video,) = videos("tartanair", tmp_path / "TarTanAir", tmp_path / "list.txt", scale=SCALE, protocol="metric")
    with pytest.raises(InputError, match="000000_left_depth.npy: depth .* write 0 where the sensor has no value"):
        video.read(0, 1)


@pytest.mark.parametrize("kind", ["rgb", "depth"])
def test_truncated_and_missing_files_are_named(video, kind):
    path = getattr(video.layout.frames[2], kind)
    path.write_bytes(path.read_bytes()[:-150])
    with pytest.raises(InputError, match=f"{path.name}: not a whole"):
        video.read(0, 4)
    path.unlink()
    with pytest.raises(InputError, match=f"{path.name}: no such file"):
        video.read(0, 4)


IDENTITY = np.array([0, 0, 0, 0, 0, 0, 1.0])


def test_flow_of_a_camera_that_moves_right():
    """1 m to the right at 10 m depth: everything moves 320 / 10 pixels to the left."""
    flow = flow_from_poses(np.full((4, 6), 10.0), IDENTITY, IDENTITY + [0, 1, 0, 0, 0, 0, 0])
    assert np.allclose(flow, [-32, 0], atol=1e-4)


def test_flow_of_a_camera_that_moves_down_and_forward():
    flow = flow_from_poses(np.full((480, 640), 4.0), IDENTITY, IDENTITY + [2, 0, 0.5, 0, 0, 0, 0])
    # at half the depth the picture is twice as large around its centre (320, 240), and shifts up by 0.5 / 2 * 320
    assert np.allclose(flow[240, 320], [0.5, 0.5 - 80], atol=1e-4)
    assert np.allclose(flow[100, 20], [20.5 - 320, 100.5 - 240 - 80], atol=1e-4)


def test_flow_of_a_camera_that_turns_right_does_not_depend_on_depth():
    turn = Rotation.from_euler("z", 10, degrees=True)
    pose = np.concatenate([np.zeros(3), turn.as_quat()])
    near, far = (flow_from_poses(np.full((480, 640), depth), IDENTITY, pose) for depth in (1.0, 50.0))
    assert np.allclose(near, far, atol=1e-3)
    # the ray straight ahead is now 10 degrees to the left
    ahead = (near[239:241, 319:321] + [[[-0.5, -0.5], [0.5, -0.5]], [[-0.5, 0.5], [0.5, 0.5]]]).mean((0, 1))
    assert ahead == pytest.approx([-320 * np.tan(np.radians(10)), 0], abs=1e-2)


def test_unknown_depth_and_points_behind_the_camera_go_nowhere():
    depth = np.array([[0.0, np.nan, np.inf, 1.0, 3.0]])
    flow = flow_from_poses(depth, IDENTITY, IDENTITY + [2, 0, 0, 0, 0, 0, 0])
    assert (np.abs(flow[0, :4]) == NOWHERE).all()
    assert np.abs(flow[0, 4]).max() < 1000


def test_flow_from_files_goes_before_poses(tmp_path):
    root, index = tartanair(tmp_path)
    folder = root / "HR_RGB/hall/P000"
    poses = np.tile(IDENTITY, (4, 1))
    poses[:, 1] = np.arange(4)
    np.savetxt(folder / "pose_left.txt", poses)
    (video,) = videos("tartanair", root, index, scale=SCALE)
    assert np.allclose(video.flow(2)[..., 0], -320 / depth_of(2), rtol=1e-4)
    for t in range(3):
        flow = np.full((HEIGHT, WIDTH, 2), t, np.float32)
        flow[0, 0] = np.nan
        save(folder / "flow" / f"{t:06d}_{t + 1:06d}_flow.npy", flow)
    (video,) = videos("tartanair", root, index, scale=SCALE)
    assert video.flow(2)[1, 1].tolist() == [2, 2]
    assert video.flow(2)[0, 0].tolist() == [NOWHERE, NOWHERE]
    for t in (-1, 3):
        with pytest.raises(InputError, match="no flow from frame"):
            video.flow(t)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0 0 0 0 0 1\n", "1 lines of 7 numbers; expected 4 of 7"),
        ("0 0 0\n" * 4, "4 lines of 3 numbers"),
        ("0 0 0 0 0 0 1\n" * 3 + "0 0 0 0 0 0 0\n", "line 4: not a pose"),
        ("0 0 0 0 0 0 nan\n" * 4, "line 1: not a pose"),
        ("a b c\n", "not a readable pose file"),
    ],
)
def test_pose_files_that_are_wrong(tmp_path, text, message):
    root, index = tartanair(tmp_path)
    (root / "HR_RGB/hall/P000/pose_left.txt").write_text(text)
    (video,) = videos("tartanair", root, index, scale=SCALE)
    with pytest.raises(InputError, match=message):
        video.flow(0)
