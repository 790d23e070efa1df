"""Every data set's layout and units, in both protocols."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from making import HEIGHT, SCALE, WIDTH, depth_of, dydtof, rgb_of, save, tartanair, write_index
from test_reading import write_video

from STDNet import InputError
from STDNet.datasets import SensorRange, read_index, videos
from STDNet.simulator import simulate


def simulated(t: int, depth: np.ndarray, **sensor) -> np.ndarray:
    """LR depth of a frame of `making`."""
    return simulate(depth, np.moveaxis(rgb_of(t), -1, 0) / np.float32(255), SCALE, **sensor)


@pytest.mark.parametrize("folder", ["HR_RGB/hall/P000", "hall/Hard/P000"])
def test_tartanair_in_the_papers_and_the_released_layout(tmp_path, folder):
    root, index = tartanair(tmp_path, folder=folder)
    (video,) = videos("tartanair", root, index, scale=SCALE)
    assert (video.name, len(video), video.height, video.width) == ("hall/P000", 4, HEIGHT, WIDTH)
    assert (video.max_depth_m, video.sensor, video.simulated) == (30.0, SensorRange(100.0, 1024), True)
    assert video.lr_path(2) == root / "LR/X4/hall/P000/depth_left/000002_left_depth.npy"
    clip = video.read(1, 3)
    assert np.array_equal(clip.gt[:, 0], [depth_of(1), depth_of(2)])
    assert np.array_equal((clip.rgb[1] * 255).round().byte(), np.moveaxis(rgb_of(2), -1, 0))
    assert np.array_equal(clip.lr[0, 0], simulated(1, depth_of(1)))
    assert clip.valid is None


def test_easy_trajectories_by_name(tmp_path):
    root, _ = tartanair(tmp_path, folder="hall/Easy/P003")
    (video,) = videos("tartanair", root, write_index(tmp_path / "easy.txt", "hall, Easy/P003, 4"), scale=SCALE)
    assert video.name == "hall/Easy/P003"
    assert video.lr_path(0) == root / "LR/X4/hall/Easy/P003/depth_left/000000_left_depth.npy"


@pytest.mark.parametrize("shape", [(4, 6), (1, 4, 6), (1, 1, 4, 6)])
def test_lr_files_are_used_where_present(tmp_path, shape):
    root, index = tartanair(tmp_path)
    (video,) = videos("tartanair", root, index, scale=SCALE)
    for t in range(4):
        save(video.lr_path(t), np.full(shape, t + 0.5, np.float32))
    (video,) = videos("tartanair", root, index, scale=SCALE)
    assert not video.simulated
    assert video.read(0, 4).lr[:, 0, 0, 0].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert videos("tartanair", root, index, scale=SCALE, lr="simulate")[0].simulated
    video.lr_path(2).unlink()
    for lr in ("auto", "files"):
        with pytest.raises(InputError, match="1 of 4 LR files are missing.*000002_left_depth.npy"):
            videos("tartanair", root, index, scale=SCALE, lr=lr)


def test_tartanair_metric_masks_what_is_beyond_the_sensor(tmp_path):
    root, index = tartanair(tmp_path)
    depth = depth_of(0)
    depth[0, :5] = [np.nan, np.inf, -1, 0, 100]
    save(root / "HR_RGB/hall/P000/depth_left/000000_left_depth.npy", depth)
    (video,) = videos("tartanair", root, index, scale=SCALE, protocol="metric")
    clip = video.read(0, 1)
    assert clip.valid[0, 0, 0].tolist() == [False] * 5 + [True] * (WIDTH - 5)
    assert clip.gt[0, 0, 0, :5].tolist() == [0] * 5
    assert clip.lr.isfinite().all()
    (video,) = videos("tartanair", root, index, scale=SCALE)
    with pytest.raises(InputError, match="000000_left_depth.npy: depth nan m in 3 pixel"):
        video.read(0, 1)


def test_dydtof_clips_to_40_metres_in_the_paper_protocol(tmp_path):
    root, index = dydtof(tmp_path)
    (video,) = videos("dydtof", root, index, scale=SCALE)
    assert (video.name, video.max_depth_m) == ("school/shot", 40.0)
    assert video.lr_path(1) == root / "DyDToF_LR/X4/school/shot/depth/a.0001.npy"
    clip = video.read(0, 2)
    stored = np.stack([depth_of(t) * 6 for t in range(2)])
    assert np.array_equal(clip.gt[:, 0], stored.clip(0, 40))
    assert np.array_equal(video.read_depth(1), stored[1])
    rgb = torch.stack([video.read_rgb(t) for t in range(2)])
    assert torch.equal(clip.lr[:, 0], simulate(torch.from_numpy(stored), rgb, SCALE).clamp(0, 40))
    (video,) = videos("dydtof", root, index, scale=SCALE, protocol="metric")
    clip = video.read(0, 2)
    assert np.array_equal(clip.valid[:, 0], stored < 50)
    assert np.array_equal(clip.gt[:, 0], np.where(stored < 50, stored, 0))
    assert clip.lr.max() > 40


def replica(tmp_path: Path, folder: str, depth: list[np.ndarray], *, npy: bool = False) -> Path:
    """A DynamicReplica sequence of 1280 x 720 frames; `depth` [480, 640] metres is put at the centre of 9 m."""
    root = tmp_path / "DynamicReplica"
    for t, centre in enumerate(depth):
        whole = np.full((720, 1280), 9, np.float16)
        whole[120:600, 320:960] = centre
        picture = np.zeros((720, 1280, 3), np.uint8)
        picture[120:600, 320:960] = 200
        save(root / folder / "seq" / "images" / f"seq-{t:04d}.png", picture)
        codes, name = whole.view(np.uint16), f"seq_{t:04d}.geometric"
        if npy:
            save(root / folder / "seq" / "depths" / f"processed_{name}.npy", codes.astype(np.float32))
        else:
            save(root / folder / "seq" / "depths" / f"{name}.png", codes)
    return root


@pytest.mark.parametrize(("folder", "npy"), [("", False), ("test", False), ("test", True)])
def test_dynamic_replica_reads_codes_or_metres(tmp_path, folder, npy):
    index = write_index(tmp_path / "list.txt", "test, seq, 2")
    depth = np.full((480, 640), 2.0, np.float16)
    depth[0, :3] = [np.inf, 0, 5e-6]
    root = replica(tmp_path, folder, [depth, np.full((480, 640), 4, np.float16)], npy=npy)
    (paper,) = videos("dynamic_replica", root, index, scale=16)
    assert (paper.height, paper.width, paper.sensor.max_range_m, paper.max_depth_m) == (480, 640, 1.77, 1.77)
    clip = paper.read(0, 2)
    assert clip.rgb.min() > 0.7
    assert clip.gt[:, 0, 100, 100].tolist() == pytest.approx([1.6384, 1.7408])  # codes 16384 and 17408
    assert clip.lr[:, 0, 5, 5].tolist() == pytest.approx([1.6384, 1.7408], abs=1.77 / 1023)
    (metric,) = videos("dynamic_replica", root, index, scale=16, protocol="metric")
    clip = metric.read(0, 2)
    assert (metric.sensor.max_range_m, metric.max_depth_m) == (10.0, 30.0)
    assert clip.gt[:, 0, 100, 100].tolist() == [2, 4]
    assert clip.valid[0, 0, 0, :4].tolist() == [False, False, False, True]
    assert clip.lr[:, 0, 5, 5].tolist() == pytest.approx([2, 4], abs=0.01)
    assert paper.lr_path(0) != metric.lr_path(0)


def test_dynamic_replica_lr_files_hold_codes_or_pseudo_metres(tmp_path):
    index = write_index(tmp_path / "list.txt", "test, seq, 1")
    root = replica(tmp_path, "", [np.full((480, 640), 2, np.float16)])
    for stored in (16384.0, 1.6384):
        save(root / "LR/X16/seq/any_name.npy", np.full((1, 30, 40), stored, np.float32))
        (video,) = videos("dynamic_replica", root, index, scale=16, lr="files")
        assert video.read(0, 1).lr.unique().tolist() == pytest.approx([1.6384])
    save(root / "LR_metric/X16/seq/any_name.npy", np.full((1, 30, 40), 16384, np.float32))
    (video,) = videos("dynamic_replica", root, index, scale=16, lr="files", protocol="metric")
    with pytest.raises(InputError, match="are codes; the metric protocol needs metres"):
        video.read(0, 1)


def test_dynamic_replica_flow_and_scale_adjustment(tmp_path):
    index = write_index(tmp_path / "list.txt", "test, seq, 2")
    root = replica(tmp_path, "test", [np.full((480, 640), 2, np.float16)] * 2)
    halves = np.concatenate([np.full((720, 1280), 1.5), np.full((720, 1280), -3)], axis=1).astype(np.float16)
    save(root / "test/seq/flow_forward/seq_0000.png", halves.view(np.uint16))
    names = [f"test/seq/depths/seq_{t:04d}.geometric.png" for t in range(2)]
    notes = [{"depth": {"path": name, "scale_adjustment": 0.5}} for name in names]
    with gzip.open(root / "test/frame_annotations_test.jgz", "wt") as file:
        json.dump(
            [*notes, {"depth": {"path": "test/other/depths/seq_0000.geometric.png", "scale_adjustment": 7}}], file
        )
    (video,) = videos("dynamic_replica", root, index, scale=16, protocol="metric")
    assert video.read_depth(0).unique().tolist() == [1]
    flow = video.flow(0)
    assert flow.shape == (480, 640, 2)
    assert flow[7, 9].tolist() == [1.5, -3]
    (video,) = videos("dynamic_replica", root, index, scale=16)
    assert video.read_depth(0).unique().tolist() == pytest.approx([1.6384])


def test_dynamic_replica_metres_in_the_place_of_codes(tmp_path):
    index = write_index(tmp_path / "list.txt", "test, seq, 1")
    root = replica(tmp_path, "", [np.full((480, 640), 2, np.float16)], npy=True)
    save(root / "seq/depths/processed_seq_0000.geometric.npy", np.full((480, 640), 2.5, np.float32))
    for protocol in ("paper", "metric"):
        (video,) = videos("dynamic_replica", root, index, scale=16, protocol=protocol)
        with pytest.raises(InputError, match="depth up to 2.5; expected the 16-bit codes"):
            video.read(0, 1)


def test_folder_with_pictures_and_all_units(tmp_path):
    millimetres = (np.arange(24).reshape(4, 6) * 100).astype(np.uint16)
    for t in range(3):
        # natural order: rgb_9, rgb_10, rgb_11
        save(tmp_path / "mine/rgb" / f"rgb_{t + 9}.jpg", rgb_of(t))
        save(tmp_path / "mine/lr" / f"lr_{t + 9}.png", millimetres + t)
        truth = depth_of(t)
        truth[0, 0] = np.nan
        save(tmp_path / "mine/depth" / f"gt_{t + 9}.npy", truth)
    (video,) = videos("folder", tmp_path, scale=SCALE)
    assert (video.name, len(video), video.max_depth_m, video.simulated) == ("mine", 3, 30.0, False)
    clip = video.read(0, 3)
    assert np.allclose(clip.lr[2, 0], (millimetres + 2) / 1000)
    assert np.array_equal(clip.gt[1, 0, 1:], depth_of(1)[1:])
    assert (clip.gt[0, 0, 0, 0], clip.valid[0, 0, 0, 0], clip.valid[0, 0, 0, 1]) == (0, False, True)
    assert videos("folder", tmp_path / "mine", scale=SCALE, max_depth_m=5)[0].max_depth_m == 5
    index = write_index(tmp_path / "list.txt", "., mine, 2")
    assert len(videos("folder", tmp_path, index, scale=SCALE)[0]) == 2


def test_folder_without_ground_truth_and_folder_to_simulate(tmp_path):
    for t in range(2):
        save(tmp_path / "a/rgb" / f"{t}.png", rgb_of(t))
        save(tmp_path / "a/lr" / f"{t}.npy", np.ones((4, 6), np.float32))
        save(tmp_path / "b/rgb" / f"{t}.png", rgb_of(t))
        save(tmp_path / "b/depth" / f"{t}.npy", depth_of(t))
    first, second = videos("folder", tmp_path, scale=SCALE)
    assert first.read(0, 2).gt is None
    assert first.read(0, 2).valid is None
    assert second.lr_path(1) == tmp_path / "b/lr_x4/1.npy"
    assert np.array_equal(second.read(1, 2).lr[0, 0], simulated(1, depth_of(1)))
    with pytest.raises(InputError, match="there is no HR depth to simulate"):
        videos("folder", tmp_path, scale=SCALE, lr="simulate")
    save(second.lr_path(0), np.ones((4, 6), np.float32))
    with pytest.raises(InputError, match="1 of 2 LR files are missing"):
        videos("folder", tmp_path, scale=SCALE)
    assert videos("folder", tmp_path / "b", scale=SCALE, lr="simulate")[0].simulated


def test_folder_with_a_video_file(tmp_path):
    write_video_folder(tmp_path / "take", 12)
    (video,) = videos("folder", tmp_path, scale=SCALE)
    assert len(video) == 12
    whole = [round(float(clip.rgb.mean()) * 255 / 8) for clip in video.frames()]
    assert whole == list(range(12))
    assert [clip.lr.mean().item() for clip in video.frames(5, 7)] == [5, 6]
    assert round(float(video.read(7, 8).rgb.mean()) * 255 / 8) == 7


def write_video_folder(folder: Path, frames: int) -> None:
    """rgb.mp4 and lr/."""
    folder.mkdir()
    write_video(folder / "rgb.mp4", frames)
    for t in range(frames):
        save(folder / "lr" / f"{t:03d}.npy", np.full((4, 8), t, np.float32))


def test_folder_errors(tmp_path):
    with pytest.raises(InputError, match="not found; looked for"):
        videos("folder", tmp_path / "absent", scale=SCALE)
    with pytest.raises(InputError, match="no sequence in it; looked for rgb/ and rgb.mp4"):
        videos("folder", tmp_path, scale=SCALE)
    save(tmp_path / "a/rgb/0.png", rgb_of(0))
    with pytest.raises(InputError, match="neither LR depth"):
        videos("folder", tmp_path, scale=SCALE)
    for t in range(2):
        save(tmp_path / "a/lr" / f"{t}.npy", np.ones((4, 6), np.float32))
    with pytest.raises(InputError, match="1 RGB frames but 2 files in lr/"):
        videos("folder", tmp_path, scale=SCALE)
    save(tmp_path / "a/rgb/1.png", rgb_of(1))
    with pytest.raises(InputError, match="2 RGB frames, but the index counts 3"):
        videos("folder", tmp_path, write_index(tmp_path / "list.txt", "., a, 3"), scale=SCALE)
    save(tmp_path / "a/lr/1.npy", np.ones((4, 6), np.uint16))
    with pytest.raises(InputError, match="1.npy: depth of type uint16; expected metres"):
        videos("folder", tmp_path, scale=SCALE)[0].read(0, 2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tartanair", ["HR_RGB/hall/P000", "hall/Hard/P000", "theairlab.org"]),
        ("dydtof", ["DyDToF_HR_RGB/hall/P000", "DVSR"]),
        ("dynamic_replica", ["hall/P000", "test/P000", "dynamic_stereo"]),
    ],
)
def test_a_wrong_root_says_what_was_looked_for_and_what_to_download(tmp_path, name, words):
    index = write_index(tmp_path / "list.txt", "hall, P000, 4")
    with pytest.raises(InputError, match="not found; looked for") as error:
        videos(name, tmp_path, index, scale=SCALE)
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


def test_wrong_arguments(tmp_path):
    root, index = tartanair(tmp_path)
    for change, message in (
        ({"protocol": "metres"}, "protocol 'metres' is unknown"),
        ({"lr": "file"}, "lr 'file' is unknown"),
        ({"scale": 0}, "scale 0"),
    ):
        with pytest.raises(InputError, match=message):
            videos("tartanair", root, index, **{"scale": SCALE, **change})
    with pytest.raises(InputError, match="data set 'kitti' is unknown; known: tartanair, "):
        videos("kitti", root, index, scale=SCALE)
    with pytest.raises(InputError, match="needs an index file"):
        videos("tartanair", root, scale=SCALE)
    assert len(videos("tartanair", root, read_index(index), scale=SCALE)) == 1


def test_a_missing_frame_is_found_at_once(tmp_path):
    root, index = tartanair(tmp_path)
    (root / "HR_RGB/hall/P000/image_left/000002_left.png").unlink()
    with pytest.raises(InputError, match="000002_left.png: no such file; hall/P000 lacks 1 file"):
        videos("tartanair", root, index, scale=SCALE)
    index = write_index(tmp_path / "list.txt", "test, seq, 3")
    root = replica(tmp_path, "", [np.full((480, 640), 2, np.float16)])
    with pytest.raises(InputError, match="1 pictures found, 3 expected"):
        videos("dynamic_replica", root, index, scale=SCALE)
