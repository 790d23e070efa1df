"""Long-tail statistics: histograms, regions and sums by hand; the command on a tiny data set."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_tartanair
from PIL import Image
from torch import Tensor

from STDNet import InputError, STDNet, STDNetConfig
from STDNet.checkpoint import Checkpoint, save
from STDNet.command_line import run
from STDNet.datasets import videos
from STDNet.evaluation import upsample_bilinear
from STDNet.metrics import mae
from STDNet.statistics import Bins, Distribution, Estimates, LongTail, figure, from_json, long_tail, table, to_json
from STDNet.statistics.__main__ import main

BINS = Bins(0.25, 4)


def _frames(truths: list[Tensor], errors: list[float]) -> Iterator[Estimates]:
    """Frames whose one method is off by a constant."""
    for truth, error in zip(truths, errors, strict=True):
        yield Estimates(truth, torch.ones_like(truth, dtype=torch.bool), {"a": truth + error})


def _counts(part: Distribution) -> list[int]:
    return part.counts.tolist()


def test_values_on_a_border_belong_to_the_bin_above_and_the_last_bin_is_open() -> None:
    found = Distribution.of(torch.tensor([0.0, 0.25, 0.375, 0.75, 1.0, 7.0]), BINS)
    assert _counts(found) == [1, 2, 0, 1, 2]
    assert found.pixels == 6 and found.total_m == 9.375 and found.mean_m == 1.5625
    nothing = Distribution.of(torch.empty(0), BINS)
    assert _counts(nothing) == [0] * 5 and math.isnan(nothing.mean_m)
    assert _counts(found + found) == [2, 4, 0, 2, 4] and (found + nothing).total_m == 9.375


def test_errors_of_depth_by_region() -> None:
    # A step of 1 m between columns 5 and 6: columns 3 to 8 are within two pixels of it.
    truth = torch.tensor([[1.0] * 6 + [2.0] * 6])
    rough = torch.zeros(1, 12, dtype=torch.bool)
    rough[0, 3:9] = True
    estimate = truth + torch.where(rough, 0.5, 0.125)
    found = long_tail([Estimates(truth, torch.ones_like(rough), {"a": estimate})], BINS)
    assert _counts(found.errors["a", "depth", "smooth"]) == [6, 0, 0, 0, 0]
    assert _counts(found.errors["a", "depth", "non-smooth"]) == [0, 0, 6, 0, 0]
    assert found.share("a", "depth", "non-smooth") == (0.5, 0.8)
    assert found.truth == {}  # a single frame


def test_differences_in_time() -> None:
    one = torch.ones(1, 4)
    moved = torch.tensor([[1.0, 1.0, 1.0, 1.75]])  # one of four pixels changes by 0.75 m from frame 1 to 2
    found = long_tail(_frames([one, one, moved], [0.0, 0.25, 0.5]), BINS)
    assert _counts(found.truth[1]) == [7, 0, 0, 1, 0] and _counts(found.truth[2]) == [3, 0, 0, 1, 0]
    # The signed difference P_t - P_t+1 is off by 0.25 m everywhere, P_t - P_t+2 by 0.5 m.
    assert _counts(found.errors["a", "difference 1", "still"]) == [0, 7, 0, 0, 0]
    assert _counts(found.errors["a", "difference 1", "changing"]) == [0, 1, 0, 0, 0]
    assert _counts(found.errors["a", "difference 2", "still"]) == [0, 0, 3, 0, 0]
    assert _counts(found.errors["a", "difference 2", "changing"]) == [0, 0, 1, 0, 0]


def test_a_constant_error_does_not_flicker() -> None:
    found = long_tail(_frames([torch.ones(2, 2), torch.ones(2, 2)], [0.5, 0.5]), BINS)
    assert found.errors["a", "difference 1", "still"].total_m == 0


def test_invalid_pixels_do_not_count() -> None:
    truth, valid = torch.ones(1, 4), torch.tensor([[True, True, True, False]])
    wrong = torch.tensor([[1.0, 1.0, 1.0, 99.0]])
    frames = [Estimates(truth, valid, {"a": truth}), Estimates(wrong, valid.flip(1), {"a": truth})]
    found = long_tail(frames, BINS)
    assert found.errors["a", "depth", "smooth"].pixels + found.errors["a", "depth", "non-smooth"].pixels == 6
    assert found.truth[1].pixels == 2 and found.truth[1].total_m == 0


def test_two_videos_add_up_and_do_not_touch() -> None:
    first = long_tail(_frames([torch.ones(1, 2)] * 2, [0.0, 0.0]), BINS)
    second = long_tail(_frames([torch.full((1, 2), 3.0)] * 2, [0.25, 0.25]), BINS)
    both = first + second
    assert _counts(both.errors["a", "depth", "smooth"]) == [4, 4, 0, 0, 0]
    assert _counts(both.truth[1]) == [4, 0, 0, 0, 0]  # no difference from the one video to the other
    assert (LongTail(BINS) + both).errors.keys() == both.errors.keys()


def test_shapes_that_do_not_fit() -> None:
    frame = Estimates(torch.ones(2, 2), torch.ones(2, 2, dtype=torch.bool), {"a": torch.ones(2, 3)})
    with pytest.raises(InputError, match="a is"):
        long_tail([frame], BINS)


def test_table_json_and_figure() -> None:
    truth = torch.tensor([[1.0] * 6 + [2.0] * 6])
    frames = [Estimates(truth, truth > 0, {"before": truth + 0.5, "after": truth + 0.25})] * 3
    found = long_tail(frames, BINS)
    rows = table(found).splitlines()
    assert rows[2] == "| depth | smooth | 50.0 % | 50.0 % | 50.00 | 25.00 | 0.50 |"
    assert len(rows) == 2 + 6
    numbers = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert numbers["absolute_error"]["after"]["depth"]["smooth"] == {
        "pixels": 18,
        "mean_cm": 25.0,
        "counts": [0, 18, 0, 0, 0],
    }
    again = from_json(json.loads(json.dumps(to_json(found))))
    assert to_json(again) == to_json(found) and table(again) == table(found)
    pytest.importorskip("matplotlib")
    assert figure(found, "three frames").width == 1200
    alone = long_tail([Estimates(truth, truth > 0, {"before": truth})], BINS)  # one frame, one method, no error
    assert figure(alone, "one frame").width == 1200


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match="STDNet\\[figures\\]"):
        figure(long_tail(_frames([torch.ones(2, 2)], [0.5]), BINS), "")


def test_the_command_before_and_after(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    root, config = tmp_path / "data", STDNetConfig(scale=4, channels=2)
    root.mkdir()
    index, weights, out = write_tartanair(root, {"P000": 4, "P001": 3}), tmp_path / "tiny.pth", tmp_path / "tail.png"
    save(weights, Checkpoint(config, STDNet(config).state_dict(), {"settings": {"max_depth": 10.0}}))
    flags = ["--dataset", "tartanair", "--root", str(root), "--list", str(index), "--device", "cpu"]
    main([*flags, "--weights", str(weights), "--out", str(out)])
    printed = capsys.readouterr().out
    assert "tartanair: 7 frames, x4" in printed and "| tiny / bilinear |" in printed
    numbers = json.loads(out.with_suffix(".json").read_text())
    errors = numbers["absolute_error"]
    parts = errors["bilinear"]["depth"].values()
    found = sum(part["mean_cm"] * part["pixels"] for part in parts) / sum(part["pixels"] for part in parts)
    expected = [mae(*_truth_and_bilinear(root, index, i)) for i in range(2)]
    assert found == pytest.approx(100 * (4 * float(expected[0]) + 3 * float(expected[1])) / 7, rel=1e-4)
    # An untrained network is bilinear upsampling.
    for region, part in errors["tiny"]["depth"].items():
        assert part["mean_cm"] == pytest.approx(errors["bilinear"]["depth"][region]["mean_cm"], rel=1e-3)
    assert numbers["truth_difference"]["2"]["pixels"] == 3 * 32 * 32
    main(["--redraw", str(out.with_suffix(".json")), "--out", str(tmp_path / "again.png")])
    with Image.open(out) as image, Image.open(tmp_path / "again.png") as again:
        assert image.mode == "P" and image.width == 1200
        # The means in the file are rounded: bars may differ by a part of a pixel.
        difference = np.asarray(image.convert("RGB")).astype(int) - np.asarray(again.convert("RGB"))
        assert np.abs(difference).mean() < 0.1


def _truth_and_bilinear(root: Path, index: Path, number: int) -> tuple[Tensor, Tensor]:
    clip = videos("tartanair", root, index, scale=4, protocol="metric")[number]
    whole = clip.read(0, len(clip))
    assert whole.gt is not None
    return whole.gt, upsample_bilinear(whole.lr, 4)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--dataset", "nowhere"], "--dataset nowhere is unknown"),
        (["--dataset", "tartanair"], "--list"),
        (["--frames", "0"], "--frames"),
        (["--out", "a.gif"], "--out a.gif"),
        (["--bins", "0"], "bins"),
        (["--redraw", "nowhere.json"], "--redraw nowhere.json"),
        (["--weights", "nothing.pth"], "nothing.pth"),
    ],
)
def test_wrong_flags_are_one_line(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run(partial(main, flags))
    lines = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and len(lines) == 1 and message in lines[0]
