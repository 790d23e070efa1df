"""Colour video: layouts, LR pictures, windows, PSNR and SSIM, models, training and scoring by the common commands."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from STDNet import InputError, checkpoint
from STDNet.checkpoint import Checkpoint
from STDNet.colour_video import (
    ColourVideo,
    ColourVideoModel,
    WindowDataset,
    colour_videos,
    luma,
    mean,
    psnr,
    resize,
    score_videos,
    ssim,
)
from STDNet.colour_video.metrics import eight_bit
from STDNet.datasets import Box
from STDNet.evaluation.__main__ import main as evaluation
from STDNet.systems import COLOUR_SYSTEMS, WIDTHS, build, configuration, create
from STDNet.training import TrainConfig, train

CPU = torch.device("cpu")


def picture(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """[H, W, 3] uint8 with stripes finer than an LR pixel."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    phases = random.uniform(0, 6, 3)
    waves = [np.sin(x * (0.9 + 0.2 * c) + y * 0.5 + phases[c]) for c in range(3)]
    return np.uint8(127 + 80 * np.stack(waves, -1) + random.integers(0, 40, (height, width, 3)))


def write(folder: Path, frames: int = 3, *, name: str = "{:03d}.png", height: int = 48, width: int = 64) -> None:
    """Pictures of one video."""
    folder.mkdir(parents=True)
    for t in range(frames):
        Image.fromarray(picture(t, height, width)).save(folder / name.format(t))


def one(tmp_path: Path, frames: int = 3, **size: int) -> ColourVideo:
    """A video whose LR pictures are made."""
    write(tmp_path / "data" / "scene" / "hr", frames, **size)
    return colour_videos(tmp_path / "data", scale=4)[0]


def small(name: str) -> ColourVideoModel:
    """Narrow, with weights large enough that every part matters."""
    model = create(configuration(name, 4, 8 if name in WIDTHS else None, task="colour")).eval()
    assert isinstance(model, ColourVideoModel)
    for value in model.parameters():
        value.data.add_(0.03 * torch.randn_like(value))
    return model


def test_layouts(tmp_path: Path) -> None:
    write(tmp_path / "vimeo" / "sequences" / "00001" / "0266", 7, name="im{}.png")
    write(tmp_path / "vimeo" / "sequences" / "00002" / "0001", 7, name="im{}.png")
    (tmp_path / "vimeo" / "sep_trainlist.txt").write_text("00001/0266\n")
    (tmp_path / "vimeo" / "sep_testlist.txt").write_text("00002/0001\n\n")
    train_set, test_set = (colour_videos(tmp_path / "vimeo", scale=4, training=training) for training in (True, False))
    assert [video.name for video in (*train_set, *test_set)] == ["00001/0266", "00002/0001"]
    assert train_set[0].scored == (3,) and len(train_set[0]) == 7

    write(tmp_path / "d3d" / "calendar" / "hr", 12)
    write(tmp_path / "d3d" / "calendar" / "lr_x4", 12, height=12, width=16)
    write(tmp_path / "d3d" / "more" / "city" / "hr", 2)
    calendar, city = colour_videos(tmp_path / "d3d", scale=4)
    assert (calendar.name, city.name) == ("calendar", "more/city")
    assert calendar.scored == tuple(range(12)) and len(calendar.lr) == 12 and not city.lr
    assert torch.equal(calendar.read_lr(10), _unit(picture(10, 12, 16)))  # by number, not by letter
    assert not colour_videos(tmp_path / "d3d", scale=3)[0].lr  # those of another scale are not taken

    write(tmp_path / "lgtd" / "GT" / "000", 2)
    write(tmp_path / "lgtd" / "LR4x" / "000", 2, height=12, width=16)
    (satellite,) = colour_videos(tmp_path / "lgtd", scale=4)
    assert satellite.name == "000" and torch.equal(satellite.read_lr(1), _unit(picture(1, 12, 16)))


def test_lr_is_antialiased_bicubic_as_pil_makes_it(tmp_path: Path) -> None:
    video = one(tmp_path)
    expected = Image.fromarray(picture(1)).resize((16, 12), Image.Resampling.BICUBIC)
    assert (video.read_lr(1) - _unit(np.asarray(expected))).abs().max() < 1.5 / 255  # PIL rounds between the axes
    assert torch.equal(video.read_lr(1), eight_bit(video.read_lr(1)))


def test_part_of_lr_is_that_part_of_the_whole(tmp_path: Path) -> None:
    video = one(tmp_path)
    whole = video.read_lr(2)
    for box in (Box(0, 0, 12, 16), Box(0, 0, 5, 4), Box(4, 5, 3, 6), Box(9, 13, 3, 3)):
        part = whole[:, box.top : box.top + box.height, box.left : box.left + box.width]
        assert (video.read_lr(2, box) - part).abs().max() < 1e-6


def test_sizes_that_the_scale_does_not_divide_are_cut(tmp_path: Path) -> None:
    video = one(tmp_path, height=50, width=67)
    assert video.lr_size == (12, 16) and video.read_hr(0).shape == (3, 48, 64)
    assert torch.equal(video.read_hr(0), _unit(picture(0, 50, 67)[:48, :64]))


def test_window_repeats_the_ends(tmp_path: Path) -> None:
    video = one(tmp_path)
    window = video.read_window(0, 3)
    assert [next(i for i in range(3) if torch.equal(frame, video.read_lr(i))) for frame in window] == [
        *(0, 0, 0, 0),
        *(1, 2, 2),
    ]


def test_samples_depend_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    video = one(tmp_path, 4)
    clips, again = (WindowDataset([video], 2, 32, seed=5) for _ in range(2))
    first = clips[1]
    again[3], again[0]  # noqa: B018
    assert all(torch.equal(first[name], again[1][name]) for name in first)
    assert first["lr"].shape == (5, 3, 8, 8) and first["gt"].shape == (3, 32, 32) and len(clips) == 4
    again.set_epoch(1)
    assert not torch.equal(first["gt"], again[1]["gt"])
    # Flips and crops are the same for both: what bicubic makes of the crop is its LR, but for the crop's borders.
    for index in range(4):
        sample = clips[index]
        made = resize(sample["gt"][None], 8, 8)[0]
        assert (made - sample["lr"][2])[:, 2:-2, 2:-2].abs().max() < 0.6 / 255


def test_psnr_and_ssim_by_hand() -> None:
    black, grey = torch.zeros(3, 16, 16), torch.full((3, 16, 16), 0.1)
    assert psnr(black, grey) == pytest.approx(20)
    assert psnr(grey, grey) == psnr(grey, grey + 1e-6) == 100 and ssim(grey, grey) == pytest.approx(1)
    # Constant pictures: only the means count, (2 * 0 * 0.1 + c1) / (0 + 0.01 + c1) with c1 = 0.01^2.
    assert ssim(black, grey) == pytest.approx(1e-4 / (0.01 + 1e-4))
    assert luma(torch.ones(3, 1, 1)).item() == pytest.approx(235 / 255)
    assert luma(torch.tensor([1.0, 0, 0])[:, None, None]).item() == pytest.approx((65.481 + 16) / 255)


@pytest.mark.parametrize("name", COLOUR_SYSTEMS)
def test_models(name: str, tmp_path: Path) -> None:
    model = small(name)
    window = torch.rand(2, 2 * model.reach + 1, 3, 7, 10, requires_grad=True)
    out = model(window)
    assert out.shape == (2, 3, 28, 40)
    out.square().sum().backward()
    assert window.grad is not None and all(frame.any() for frame in window.grad.transpose(0, 1))
    with pytest.raises(InputError, match=f"{name} takes"):
        model(torch.rand(1, 2, 3, 8, 8))
    checkpoint.save(tmp_path / "net.pth", Checkpoint(model.config, model.state_dict()))  # type: ignore[arg-type]
    loaded = checkpoint.build_colour(checkpoint.read(tmp_path / "net.pth"))
    assert torch.equal(loaded(window), out)
    with pytest.raises(InputError, match="for colour video, not for depth"):
        checkpoint.load(tmp_path / "net.pth")


def test_d3dnet_changes_the_brightness_alone() -> None:
    model, window = small("d3dnet"), torch.rand(1, 7, 3, 8, 8)
    out, base = model(window)[0], resize(window[:, 3], 32, 32)[0]
    change = out - base
    assert change.abs().max() > 1e-3
    assert (change - change[:1]).abs().max() < 1e-5  # so the differences of R, G and B are bicubic's
    assert torch.allclose(luma(out), model.net(luma(window)[:, :, 0])[0], atol=1e-5)  # type: ignore[operator]


def test_scores(tmp_path: Path) -> None:
    video = one(tmp_path)
    written: list[tuple[int, Tensor]] = []
    bicubic = create(configuration("bicubic", 4, task="colour"))
    assert isinstance(bicubic, ColourVideoModel)
    (score,) = score_videos(bicubic, [video], device=CPU, write=lambda _, t, rgb: written.append((t, rgb)))
    assert score.network == score.bicubic and score.frames == 3 and [t for t, _ in written] == [0, 1, 2]
    expected = [psnr(luma(rgb), luma(video.read_hr(t))) for t, rgb in written]
    assert score.network["psnr"] == pytest.approx(sum(expected) / 3)
    (inner,) = score_videos(bicubic, [video], device=CPU, brightness=False, border=8, stop=1)
    inside = (slice(None), slice(8, -8), slice(8, -8))
    assert inner.network["psnr"] == pytest.approx(psnr(written[0][1][inside], video.read_hr(0)[inside]))
    assert inner.network["ssim"] == pytest.approx(ssim(written[0][1][inside], video.read_hr(0)[inside]))
    with pytest.raises(InputError, match="SSIM needs"):
        score_videos(bicubic, [video], device=CPU, border=20)
    assert mean([score, inner])["network"]["psnr"] == pytest.approx((score.network["psnr"] + inner.network["psnr"]) / 2)


def settings(root: Path, **changes: object) -> TrainConfig:
    """A small run on three videos, the last of which validates."""
    values = {
        **{"dataset": "colour", "model": "d3dnet", "channels": 8, "root_dir": root, "val_list": str(root / "val.txt")},
        **{"patch_size": 32, "batchsize": 4, "num_workers": 0, "log_every": 1, "lr": 1e-3},
    }
    return TrainConfig(**values | changes)  # type: ignore[arg-type]


def three_videos(tmp_path: Path) -> Path:
    """Sharp stripes that move by one pixel a frame: bicubic blurs them."""
    root = tmp_path / "data"
    for name, slope in (("a", 0.3), ("b", -0.2), ("c", 0.1)):
        (root / name / "hr").mkdir(parents=True)
        y, x = np.mgrid[:48, :72]
        wide = np.uint8(40 + 180 * ((x + slope * y) % 16 < 8))[..., None].repeat(3, -1)
        for t in range(5):
            Image.fromarray(wide[:, t : t + 64]).save(root / name / "hr" / f"{t}.png")
    (root / "val.txt").write_text("c\n")
    return root


def test_training_resumes_and_the_commands_score_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = three_videos(tmp_path)
    monkeypatch.chdir(tmp_path)
    train(settings(root, steps=4, result_root=tmp_path / "whole"))
    train(settings(root, steps=2, result_root=tmp_path / "parts"))
    train(settings(root, steps=4, result_root=tmp_path / "parts"))
    whole, parts = (checkpoint.read(tmp_path / name / "final.pth") for name in ("whole", "parts"))
    assert all(torch.equal(whole.state[name], parts.state[name]) for name in whole.state)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["total"] for row in rows if "total" in row]
    assert len(losses) == 4 and all(math.isfinite(loss) for loss in losses)
    best = max(row["validation"]["psnr"] for row in rows if "validation" in row)
    kept = checkpoint.read(tmp_path / "whole" / "best_psnr.pth")
    assert kept.meta["validation"]["psnr"] == best
    assert any((tmp_path / "whole" / "samples").iterdir())

    arguments = ["--dataset", "colour", "--root_dir", str(root), "--list", str(root / "val.txt"), "--save", "png"]
    evaluation([*arguments, "--model_dir", str(tmp_path / "whole" / "best_psnr.pth"), "--results_dir", "out"])
    assert f"| c | 5 | d3dnet | {best:.2f}" in capsys.readouterr().out
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    assert result["mean"]["network"]["psnr"] == pytest.approx(best)
    assert len(list((tmp_path / "out" / "c").glob("*.png"))) == 5
    evaluation([*arguments, "--model", "bicubic", "--results_dir", "plain"])
    plain = json.loads((tmp_path / "plain" / "results.json").read_text())
    assert plain["mean"]["network"] == plain["mean"]["bicubic"] == result["mean"]["bicubic"]


@pytest.mark.parametrize("name", ["d3dnet", "lgtd"])
def test_models_learn_more_than_bicubic_from_a_window(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    video = colour_videos(three_videos(tmp_path), scale=4)[0]
    model = create(configuration(name, 4, 16, task="colour"), deform_backend="gather")
    assert isinstance(model, ColourVideoModel)
    window, truth = video.read_window(2, model.reach, Box(2, 2, 8, 8))[None], video.read_hr(2, Box(2, 2, 8, 8))[None]
    plain = float(model.loss(resize(window[:, model.reach], 32, 32), truth))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(40):
        loss = model.loss(model(window), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * plain


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder of colour videos"):
        colour_videos(tmp_path / "nowhere", scale=4)
    with pytest.raises(InputError, match="no video in it"):
        colour_videos(tmp_path, scale=4)
    root = three_videos(tmp_path)
    (root / "wrong.txt").write_text("d\n")
    with pytest.raises(InputError, match="d/hr: no pictures there"):
        colour_videos(root, root / "wrong.txt", scale=4)
    write(root / "a" / "lr_x4", 2, height=12, width=16)
    with pytest.raises(InputError, match="2 pictures, but 5"):
        colour_videos(root, scale=4)
    for t in (2, 3, 4):
        Image.fromarray(picture(t, 11, 16)).save(root / "a" / "lr_x4" / f"{t}.png")
    Image.fromarray(picture(0, 11, 16)).save(root / "a" / "lr_x4" / "000.png")
    with pytest.raises(InputError, match="11 x 16 pixels, expected 12 x 16"):
        colour_videos(root, scale=4)[0].read_lr(0)
    with pytest.raises(InputError, match="smaller than the patch"):
        WindowDataset(colour_videos(root, scale=4)[1:], 2, 64)
    with pytest.raises(InputError, match="no multiple of the scale"):
        WindowDataset(colour_videos(root, scale=4)[1:], 2, 30)
    with pytest.raises(InputError, match="stdnet is no model of colour video"):
        settings(root, model="stdnet")
    with pytest.raises(InputError, match="unknown task"):
        configuration("d3dnet", task="sound")
    with pytest.raises(InputError, match="makes models of depth video"):
        build("d3dnet", task="colour")
    with pytest.raises(InputError, match="--jitter is for depth video"):
        settings(root, jitter=True)
    with pytest.raises(InputError, match="--val_list: name a list"):
        train(settings(root, val_list="honest", result_root=tmp_path / "run"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "colour", "--root_dir", ".", "--model_dir", "stdnet-s-x4"], "for depth video, not for colour"),
        (["--dataset", "colour", "--max_depth", "5"], "--max_depth is for depth video"),
        (["--dataset", "colour"], "--model or --model_dir"),
        (["--dataset", "synthetic", "--border", "2"], "--border is for --dataset colour"),
    ],
)
def test_the_command_refuses(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluation(arguments)


def _unit(values: np.ndarray) -> Tensor:
    """[h, w, 3] uint8 -> [3, h, w] in 0..1."""
    return torch.from_numpy(np.array(values)).permute(2, 0, 1).float() / 255
