"""The dToF simulator against hand-made numbers, a loop over blocks, and the LR files of the paper's authors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from STDNet import command_line
from STDNet.errors import InputError
from STDNet.files import write_npy
from STDNet.simulator import SensorEffects, sensor, simulate
from STDNet.simulator import __main__ as command

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
CLIP = SHARED / "clips" / "DyDToF"
BIN_M = 100 / 1023


@pytest.fixture(autouse=True)
def one_thread():
    """Threads do not help frames this small, and on a busy machine they wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def by_loop(depth_m, colour, scale, *, max_range_m=100.0, bins=1024, weigh=None):
    """The definition, one block after the other: depth [H, W], colour [H, W, 3] uint8."""
    fraction = np.minimum(depth_m, np.float32(max_range_m)) / np.float32(max_range_m)
    index = np.round(fraction * np.float32(bins - 1)).astype(np.int64)
    weight = colour.mean(-1) / (1e-3 + fraction.astype(np.float64) ** 2)
    weight[depth_m == 0] = 0
    if weigh is not None:
        weight = weigh(weight)
    lr = np.zeros((depth_m.shape[0] // scale, depth_m.shape[1] // scale), np.float32)
    for row, column in np.ndindex(lr.shape):
        block = np.s_[row * scale : (row + 1) * scale, column * scale : (column + 1) * scale]
        lr[row, column] = np.bincount(index[block].ravel(), weight[block].ravel(), bins).argmax()
    return lr / np.float32(bins - 1) * np.float32(max_range_m)


def frame(depth_m, brightness):
    """One block: depth [2, 2] metres and a grey colour for every pixel."""
    depth = torch.tensor(depth_m, dtype=torch.float32)
    return depth, (torch.tensor(brightness, dtype=torch.float32) / 255).expand(3, *depth.shape)


def scene(rng, height, width, step):
    """Slanted surfaces with jumps, some pixels without return and some black ones; colour 8-bit [H, W, 3]."""
    ramp = np.linspace(1, 1 + step * height, height)[:, None] + np.linspace(0, step * width, width)
    depth = (ramp + 20 * (rng.random((height, width)) < 0.03)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.05] = 0
    colour = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    colour[rng.random(depth.shape) < 0.05] = 0
    colour[: height // 4, : width // 4] = 0
    return depth, colour


def to_rgb(colour):
    """8-bit [..., H, W, 3] to [..., 3, H, W] in 0..1."""
    return np.moveaxis(colour, -1, -3).astype(np.float32) / 255


def test_one_near_pixel_outweighs_three_far_ones_unless_it_is_dark():
    # White at 10 m weighs 255 / 0.011 = 23182, three at 40 m 3 * 255 / 0.161 = 4752; grey 30 at 10 m only 2727.
    depth = [[10, 40], [40, 40]]
    assert simulate(*frame(depth, [[255, 255], [255, 255]]), 2).item() == pytest.approx(102 * BIN_M)
    assert simulate(*frame(depth, [[30, 255], [255, 255]]), 2).item() == pytest.approx(409 * BIN_M)


def test_pixels_of_one_bin_add_up():
    # Two at 10.00 m share bin 102; each alone loses to the brighter one at 5 m: 255 / 0.0035 = 72857 > 255 / 0.011.
    depth = [[5, 10], [10, 30]]
    assert simulate(*frame(depth, [[60, 200], [200, 0]]), 2).item() == pytest.approx(102 * BIN_M)
    assert simulate(*frame(depth, [[60, 100], [60, 0]]), 2).item() == pytest.approx(51 * BIN_M)


def test_depth_zero_is_no_return():
    assert simulate(*frame([[0, 0], [0, 7]], [[255, 255], [255, 1]]), 2).item() == pytest.approx(72 * BIN_M)
    assert simulate(*frame([[0, 0], [0, 0]], [[255, 255], [255, 255]]), 2).item() == 0


def test_black_returns_nothing():
    assert simulate(*frame([[9, 9], [9, 9]], [[0, 0], [0, 0]]), 2).item() == 0
    assert simulate(*frame([[9, 9], [9, 9]], [[0, 0], [0, 1]]), 2).item() == pytest.approx(92 * BIN_M)
    assert simulate(*frame([[9, 20], [30, 9]], [[0, 0], [1, 0]]), 2).item() == pytest.approx(307 * BIN_M)


def test_depth_beyond_the_range_is_the_last_bin():
    assert simulate(*frame([[500, 7000], [101, 100]], [[9, 9], [9, 9]]), 2).item() == 100
    near_and_far = frame([[500, 9], [500, 500]], [[255, 1], [255, 255]])
    assert simulate(*near_and_far, 2, max_range_m=10.0, bins=11).item() == 10


def test_a_tie_goes_to_the_lowest_bin(monkeypatch):
    monkeypatch.setattr(sensor, "_weight", lambda fraction, albedo: torch.ones_like(fraction))
    assert simulate(*frame([[30, 20], [20, 30]], [[9, 9], [9, 9]]), 2).item() == pytest.approx(205 * BIN_M)
    assert simulate(*frame([[30.05, 30], [30, 30.05]], [[9, 9], [9, 9]]), 2).item() == pytest.approx(307 * BIN_M)
    rng = np.random.default_rng(3)
    depth = rng.integers(1, 6, (24, 24)).astype(np.float32)
    colour = np.full((24, 24, 3), 255, np.uint8)
    expected = by_loop(depth, colour, 4, weigh=np.ones_like)
    np.testing.assert_array_equal(simulate(depth, to_rgb(colour), 4), expected)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("step", [0.001, 0.03, 0.5])
def test_equals_a_loop_over_blocks(scale, step):
    depth, colour = scene(np.random.default_rng(scale), 48, 72, step)
    np.testing.assert_array_equal(simulate(depth, to_rgb(colour), scale), by_loop(depth, colour, scale))
    coarse = {"max_range_m": 30.0, "bins": 64}
    np.testing.assert_array_equal(
        simulate(depth, to_rgb(colour), scale, **coarse), by_loop(depth, colour, scale, **coarse)
    )


def test_memory_limits_do_not_change_the_result(monkeypatch):
    depth, colour = scene(np.random.default_rng(0), 32, 32, 0.5)
    monkeypatch.setattr(sensor, "_PIXELS", 50)
    np.testing.assert_array_equal(simulate(depth, to_rgb(colour), 4), by_loop(depth, colour, 4))


def test_frames_at_once_are_frames_alone_and_numpy_is_torch():
    rng = np.random.default_rng(1)
    depth, colour = (np.stack(parts) for parts in zip(*(scene(rng, 16, 24, 0.1) for _ in range(3)), strict=True))
    rgb = to_rgb(colour)
    lr = simulate(depth, rgb, 4)
    assert isinstance(lr, np.ndarray) and lr.dtype == np.float32 and lr.shape == (3, 4, 6)
    as_tensor = simulate(torch.from_numpy(depth).double(), torch.from_numpy(rgb), 4)
    assert as_tensor.dtype == torch.float32
    np.testing.assert_array_equal(as_tensor.numpy(), lr)
    for t in range(3):
        np.testing.assert_array_equal(simulate(depth[t], rgb[t], 4), lr[t])
    # Other strides, as of a picture read as [H, W, 3], and memory that may not be written.
    depth.setflags(write=False)
    np.testing.assert_array_equal(simulate(depth, np.moveaxis(np.float32(colour) / np.float32(255), -1, 1), 4), lr)


@pytest.mark.parametrize(
    ("depth", "rgb", "message"),
    [
        (torch.ones(6, 8), torch.zeros(3, 6, 8), "6 x 8 pixels are no whole number of 4 x 4 blocks"),
        (torch.ones(8, 8), torch.zeros(8, 8, 3), "do not fit"),
        (torch.ones(1, 8, 8), torch.zeros(2, 3, 8, 8), "do not fit"),
        (torch.ones(8, 8), torch.full((3, 8, 8), 255.0), "divide 8-bit colours by 255"),
        (torch.ones(8, 8), torch.full((3, 8, 8), torch.nan), "not in 0..1"),
        (torch.full((8, 8), -1.0), torch.zeros(3, 8, 8), "frame 0: depth -1 to -1 m"),
    ],
)
def test_bad_input_is_refused(depth, rgb, message):
    with pytest.raises(InputError, match=message):
        simulate(depth, rgb, 4)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -0.5])
def test_one_bad_depth_is_found(value):
    depth = torch.ones(2, 8, 8)
    depth[1, 5, 6] = value
    with pytest.raises(InputError, match="frame 1: depth"):
        simulate(depth, torch.ones(2, 3, 8, 8), 4)


@pytest.mark.parametrize("wrong", [{"bins": 1}, {"bins": 70000}, {"max_range_m": 0.0}, {"max_range_m": float("nan")}])
def test_bad_parameters_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        simulate(torch.ones(8, 8), torch.ones(3, 8, 8), 4, **wrong)


def flat_frames(frames=3, depth_m=10.0):
    return torch.full((frames, 64, 64), depth_m), torch.ones(frames, 3, 64, 64)


def test_dropped_zones_and_range_limit():
    depth, rgb = flat_frames()
    kept = simulate(depth, rgb, 2, effects=SensorEffects(dropped_zones=0.25)) > 0
    assert 0.7 < kept.float().mean() < 0.8
    assert not simulate(depth, rgb, 2, effects=SensorEffects(dropped_zones=1.0)).any()
    assert not simulate(depth, rgb, 2, effects=SensorEffects(range_limit_m=9.9)).any()
    assert simulate(depth, rgb, 2, effects=SensorEffects(range_limit_m=10.1)).all()


def test_shot_noise_counts_photons():
    # A white zone at 10 m expects 4 photons and gets none with probability exp(-4) = 1.8 %; at 30 m it expects
    # 4 * 0.011 / 0.091 = 0.48 and gets none with probability 62 %.
    for depth_m, nothing in ((10.0, 0.018), (30.0, 0.617)):
        lr = simulate(*flat_frames(4, depth_m), 2, effects=SensorEffects(shot_noise=0.5))
        assert (lr == 0).float().mean().item() == pytest.approx(nothing, abs=0.03)
    depth, colour = scene(np.random.default_rng(2), 64, 64, 0.1)
    ideal = simulate(depth, to_rgb(colour), 8)
    shares = [
        (simulate(depth, to_rgb(colour), 8, effects=SensorEffects(shot_noise=noise)) == ideal).mean()
        for noise in (1e-6, 1.0)
    ]
    assert shares[0] == 1 and shares[1] < 0.9


def test_effects_depend_on_seed_and_frame_alone():
    depth, rgb = flat_frames(4, 30.0)
    effects = SensorEffects(shot_noise=0.5, dropped_zones=0.1, seed=5)
    together = simulate(depth, rgb, 4, effects=effects)
    for t in range(4):
        assert torch.equal(simulate(depth[t], rgb[t], 4, effects=effects, first_frame=t), together[t])
    assert not torch.equal(together[0], together[1])
    for seed in (3, 6, 7):
        assert not torch.equal(simulate(depth, rgb, 4, effects=SensorEffects(0.5, 0.1, seed=seed)), together)


@pytest.mark.parametrize("wrong", [{"shot_noise": -1}, {"dropped_zones": 1.5}, {"range_limit_m": 0}, {"seed": -1}])
def test_impossible_effects_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        SensorEffects(**wrong)


@pytest.mark.skipif(not CLIP.is_dir(), reason="the clip of the paper's authors is not here")
def test_reproduces_every_pixel_of_the_released_lr_files():
    high = CLIP / "DyDToF_HR_RGB" / "school" / "school_shot8"
    files = 0
    for path in sorted((high / "depth").glob("*.npy")):
        depth, colour = np.load(path), np.asarray(Image.open(high / "color" / f"{path.stem}.jpeg"))
        rgb = np.ascontiguousarray(to_rgb(colour))
        for scale in (4, 8, 16):
            released = np.load(CLIP / "DyDToF_LR" / f"X{scale}" / "school" / "school_shot8" / "depth" / path.name)
            np.testing.assert_allclose(simulate(depth, rgb, scale), released, rtol=0, atol=1e-6)
            files += 1
    assert files == 90


@pytest.fixture
def tree(tmp_path):
    """A TarTanAir sequence of 32 x 48 pixels, and the flags that make the LR files of its first 3 frames."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data" / "HR_RGB" / "house" / "P000"
    for t in range(10):
        depth, colour = scene(rng, 32, 48, 0.1)
        write_npy(folder / "depth_left" / f"{t:06d}_left_depth.npy", depth)
        (folder / "image_left").mkdir(exist_ok=True)
        Image.fromarray(colour).save(folder / "image_left" / f"{t:06d}_left.png")
    (tmp_path / "list.txt").write_text("house, P000, 3\n")
    return folder, ["--root", str(tmp_path / "data"), "--list", str(tmp_path / "list.txt"), "--workers", "1"]


def lr_file(folder, scale, t):
    root = folder.parents[2]
    return root / "LR" / f"X{scale}" / "house" / "P000" / "depth_left" / f"{t:06d}_left_depth.npy"


def test_command_makes_the_tree_and_resumes(tree, monkeypatch):
    folder, flags = tree
    command.main(flags)
    for t in range(3):
        depth = np.load(folder / "depth_left" / f"{t:06d}_left_depth.npy")
        rgb = to_rgb(np.asarray(Image.open(folder / "image_left" / f"{t:06d}_left.png")))
        for scale in (4, 8, 16):
            np.testing.assert_array_equal(np.load(lr_file(folder, scale, t)), simulate(depth, rgb, scale))
    whole = lr_file(folder, 4, 1).read_bytes()
    lr_file(folder, 4, 0).unlink()
    lr_file(folder, 4, 1).write_bytes(whole[:-8])
    made = []
    monkeypatch.setattr(command, "write_npy", lambda path, lr: (made.append(path), write_npy(path, lr)))
    command.main(flags)
    assert made == [lr_file(folder, 4, 0), lr_file(folder, 4, 1)] and lr_file(folder, 4, 1).read_bytes() == whole
    command.main([*flags, "--overwrite", "--scale", "8"])
    assert made[2:] == [lr_file(folder, 8, t) for t in range(3)]


def test_command_goes_on_after_an_interruption(tree, monkeypatch):
    folder, flags = tree

    def interrupted(path, lr):
        if path == lr_file(folder, 8, 1):
            raise KeyboardInterrupt
        write_npy(path, lr)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(command, "write_npy", interrupted)
        command.main(flags)
    assert lr_file(folder, 4, 1).is_file() and not lr_file(folder, 8, 1).exists()
    command.main(flags)
    assert all(lr_file(folder, scale, t).is_file() for scale in (4, 8, 16) for t in range(3))


def test_command_refuses_other_settings_and_foreign_files(tree):
    folder, flags = tree
    command.main(flags)
    with pytest.raises(InputError, match="--overwrite"):
        command.main([*flags, "--max_range", "50"])
    command.main([*flags, "--max_range", "50", "--overwrite"])
    assert np.load(lr_file(folder, 4, 0)).max() <= 50
    for scale in (4, 8, 16):
        (lr_file(folder, scale, 0).parent / command.RECORD).unlink()
    command.main(flags)
    with pytest.raises(InputError, match="did not make"):
        command.main([*flags, "--overwrite"])
    lr_file(folder, 8, 2).unlink()
    with pytest.raises(InputError, match="did not make"):
        command.main(flags)


def test_command_gives_every_sequence_its_own_noise(tree):
    folder, flags = tree
    (folder.parent / "P001").symlink_to(folder)
    Path(flags[3]).write_text("house, P000, 3\nhouse, P001, 3\n")
    command.main([*flags, "--dropped_zones", "0.5", "--scale", "4"])
    one, other = lr_file(folder, 4, 0), Path(str(lr_file(folder, 4, 0)).replace("P000", "P001"))
    assert not np.array_equal(np.load(one), np.load(other))


def test_command_in_several_processes(tree):
    folder, flags = tree
    Path(flags[3]).write_text("house, P000, 10\n")
    assert command.FRAMES_A_TASK < 10
    start = [sys.executable, "-m", "STDNet.simulator", *flags[:-1], "2", "--scale", "8"]
    several = subprocess.run(start, capture_output=True, text=True, check=False, cwd=ROOT)
    assert several.returncode == 0, several.stderr
    assert all(lr_file(folder, 8, t).is_file() for t in range(10)) and not lr_file(folder, 4, 0).exists()


def test_command_names_a_bad_root(tree, capsys):
    _, flags = tree
    with pytest.raises(SystemExit) as end:
        command_line.run(lambda: command.main([*flags, "--root", "nowhere"]))
    assert end.value.code == 2 and "nowhere" in capsys.readouterr().err
