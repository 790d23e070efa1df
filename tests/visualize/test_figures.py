"""Figures: what is inside the network, curves from a log, boxes, the commands; wrong input is one line."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import fill_by_name, moving_disc, write_tartanair
from PIL import Image
from torch import Tensor

from STDNet import Clip, InputError, STDNet, STDNetConfig
from STDNet.checkpoint import Checkpoint, save
from STDNet.command_line import run
from STDNet.visualize import VIRIDIS, View, worst_views, write_picture, zoomed
from STDNet.visualize.__main__ import main
from STDNet.visualize.curves import read_run
from STDNet.visualize.inside import GRID, Alignment, against_flow, recorded_alignments, stage_views


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    """A data set of one sequence of five frames, tiny weights, and the flags that name both."""
    root, config = tmp_path / "data", STDNetConfig(scale=4, channels=2)
    root.mkdir()
    index, weights = write_tartanair(root, {"P000": 5}), tmp_path / "tiny.pth"
    save(weights, Checkpoint(config, STDNet(config).state_dict(), {"settings": {"max_depth": 10.0}}))
    flags = ["--dataset", "tartanair", "--root", str(root), "--list", str(index), "--weights", str(weights)]
    return [*flags, "--device", "cpu"]


def _log(path: Path, lines: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_recorded_offsets_are_those_of_the_network() -> None:
    net = fill_by_name(STDNet(STDNetConfig(scale=4, channels=4))).eval()
    lr, rgb, _ = moving_disc(0, 1, 4, 16, 16, 4)
    seen: list[Tensor] = []
    modules = [stage.passes["forward_1"].offset_mask_conv for stage in net.stages]  # type: ignore[union-attr,index]
    hooks = [module.register_forward_hook(lambda *call: seen.append(call[2])) for module in modules]  # type: ignore[union-attr]
    with torch.inference_mode():
        with recorded_alignments(net, "forward_1") as found:
            out = net(lr, rgb)
        # Each stage asked twice, once for the record.
        assert len(found) == 2 and len(seen) == 4
        for alignment, own in zip(found, seen[1::2], strict=True):
            assert alignment.pairs == [(1, 0), (2, 1), (3, 2), (2, 0), (3, 1)]
            assert torch.equal(alignment.offset, own[:, :18]) and torch.equal(alignment.mask, own[:, 18:].sigmoid())
            assert alignment.offset.std() > 0
        for hook in hooks:
            hook.remove()
        assert torch.equal(net(lr, rgb).depth, out.depth)
    assert len(found) == 2 and not any(module._forward_pre_hooks for module in net.modules())
    for view, stage, alignment in zip(stage_views(out.stages, found, 1), out.stages, found, strict=True):
        assert torch.equal(view.sigma, stage.spatial_difference[0, 1].mean(0))
        assert torch.equal(view.phi, stage.temporal_difference[0, 1].mean(0))
        assert torch.equal(view.phi_hat, stage.cross_difference[0, 1].mean(0))
        assert torch.equal(view.shift, alignment.shift(1, 0))
    with pytest.raises(InputError, match="frame 0 has no neighbour"):
        stage_views(out.stages, found, 0)


def test_the_shift_is_the_mean_of_the_taps_weighted_by_their_masks() -> None:
    offset, mask = torch.zeros(2, 18, 1, 1), torch.zeros(2, 9, 1, 1)
    offset[1, 0::2], offset[1, 1::2] = 1.0, 2.0  # every tap one cell down and two to the right
    offset[1, :2], mask[1] = 100.0, 0.5
    mask[1, 0] = 0.0  # but the first, which does not count
    shift = Alignment([(0, 1), (0, 2)], offset, mask).shift(0, 2)
    assert shift.flatten().tolist() == pytest.approx([2 * GRID, 1 * GRID])


def test_offsets_against_the_flow_where_it_is_known() -> None:
    shift = torch.tensor([3.0, 0.0])[:, None, None].expand(2, 2, 2)
    flow = torch.tensor([3.0, 4.0]).expand(8, 8, 2).clone()
    assert against_flow(shift, flow) == pytest.approx((3.0, 5.0, 4.0))
    flow[:4] = 1e6  # unknown
    assert against_flow(shift, flow) == pytest.approx((3.0, 5.0, 4.0))


def test_the_worst_views_hold_the_error_and_do_not_overlap() -> None:
    error = torch.zeros(20, 30)
    error[4:8, 6:12] = 1.0  # fills a view of 20 % exactly
    error[10, 20], error[0, 0] = 0.5, float("nan")
    first, second = worst_views(error, 2, share=0.2)
    assert first == View(6, 4, 6, 4) and first.of(error).sum() == 24
    assert second.of(error).sum() == 0.5
    assert second.left >= 12 or second.top >= 8


def test_boxes_and_errors_at_one_scale() -> None:
    gt = torch.full((1, 1, 40, 60), 2.0)
    clip = Clip(torch.zeros(1, 3, 40, 60), gt[..., ::4, ::4].contiguous(), gt, name="room")
    sheet = zoomed(clip, {"right": gt, "wrong": gt + 1.0}, [View(8, 8, 12, 8)])
    colours = {colour for _, colour in sheet.getcolors(10**6)}
    darkest, brightest = (tuple(int(step[i : i + 2], 16) for i in (0, 2, 4)) for step in (VIRIDIS[0], VIRIDIS[-1]))
    assert {darkest, brightest, (255, 255, 255), (0, 0, 0)} <= colours
    assert 1100 < sheet.width < 1300


def test_pictures_keep_their_rare_colours(tmp_path: Path) -> None:
    values = np.zeros((200, 300, 3), np.uint8)
    values[:, :200] = np.random.RandomState(0).randint(0, 40, (200, 200, 3))  # a large area of many colours
    values[:8, 200:216] = [255, 0, 0]
    write_picture(tmp_path / "a.png", Image.fromarray(values))
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        assert np.abs(np.asarray(image.convert("RGB"))[4, 208].astype(int) - [255, 0, 0]).max() <= 4


def test_a_step_that_was_logged_twice_counts_once(tmp_path: Path) -> None:
    first = {"step": 10, "reconstruction": 1.0}
    check = {"step": 20, "epoch": 1, "validation": {"rmse_cm": 5.0, "mae_cm": 1.0}}
    again = [{"step": 20, "reconstruction": 0.5}, {"step": 10, "reconstruction": 0.75}]
    _log(tmp_path / "run" / "metrics.jsonl", [first, check, *again])
    found = read_run(tmp_path / "run")
    assert found.name == "run" and found.last_step == 20
    assert [(line["step"], line["reconstruction"]) for line in found.training] == [(10, 0.75), (20, 0.5)]
    assert found.validation == [{"step": 20, "rmse_cm": 5.0, "mae_cm": 1.0}]
    assert read_run(tmp_path / "run" / "metrics.jsonl").name == "metrics"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "nothing is logged"),
        ('{"step": 1}\nnonsense\n', "line 2"),
        ('{"total": 1}\n', "line 1"),
        ("[]\n", "line 1"),
    ],
)
def test_logs_that_are_none(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(content)
    with pytest.raises(InputError, match=message):
        read_run(tmp_path)


@pytest.mark.parametrize("figure", ["comparison", "slices", "network"])
def test_figures_of_a_network(figure: str, data: list[str], tmp_path: Path) -> None:
    if figure == "network":
        pytest.importorskip("matplotlib")
    main([figure, *data, "--out", str(tmp_path / "a.png")])
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 1100 and len(image.getcolors()) > 30


def test_figures_without_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    one = _log(tmp_path / "a.jsonl", [{"step": step, "reconstruction": 1.0 / step, "temporal": 0.0} for step in (1, 2)])
    two = _log(tmp_path / "b" / "metrics.jsonl", [{"step": 3, "validation": {"rmse_cm": 5.0, "mae_cm": 1.0}}])
    main(["curves", "--runs", str(one), str(two.parent), "--out", str(tmp_path / "curves.png")])
    main(["pipeline", "--out", str(tmp_path / "pipeline.png")])
    for name, size in (("curves", (1200, 400)), ("pipeline", (1200, 820))):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.size == size
    assert f"pipeline: {tmp_path / 'pipeline.png'}" in capsys.readouterr().out


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match="STDNet\\[figures\\]"):
        main(["pipeline", "--out", str(tmp_path / "a.png")])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["poster"], "figure 'poster' is unknown"),
        (["curves"], "--runs"),
        (["curves", "--runs", "nowhere"], "nowhere/metrics.jsonl: no such file"),
        (["comparison", "--dataset", "nowhere"], "--dataset nowhere is unknown"),
        (["pipeline", "--out", "a.gif"], "--out a.gif"),
        (["comparison", "DATA", "--frame", "5"], "--frame 5: room/P000 has frames 0 to 4"),
        (["comparison", "DATA", "--sequence", "1"], "--sequence 1"),
        (["comparison", "DATA", "--box", "0", "0", "8"], "--box takes"),
        (["comparison", "DATA", "--box", "30", "0", "8", "8"], "--box 30 0 8 8: not within 32 x 32 pixels"),
        (["slices", "DATA", "--row", "32"], "--row 32"),
        (["network", "DATA", "--frame", "3"], "--frame 3: phi-hat needs two more frames"),
    ],
)
def test_wrong_flags_are_one_line(
    flags: list[str], message: str, data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [word for flag in flags for word in (data if flag == "DATA" else [flag])]
    with pytest.raises(SystemExit) as end:
        run(partial(main, flags))
    lines = [line for line in capsys.readouterr().err.splitlines() if "frames" not in line or "error" in line]
    assert end.value.code == 2 and len(lines) == 1 and message in lines[0]
