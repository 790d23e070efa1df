"""benchmarks/compare.py runs to the end, goes on where it stopped, and refuses results of other settings."""

from __future__ import annotations

import json
from pathlib import Path

import compare
import pytest
import torch
from conftest import write_tartanair

from STDNet import InputError
from STDNet.command_line import parse
from STDNet.training import TrainConfig

FLAGS = [
    "--minutes",
    "0.001",
    "--clips",
    "1",
    "--train_clips",
    "2",
    "--frames",
    "1",
    "--patch",
    "16",
    "--batchsize",
    "1",
]
FLAGS += ["--cost_size", "16", "16", "--cost_frames", "1", "--num_workers", "0", "--device", "cpu"]


@pytest.fixture
def flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A run of seconds: procedural clips of 32 x 32."""
    monkeypatch.setattr(compare, "SIZE", 32)
    monkeypatch.chdir(tmp_path)  # no real clips lie there
    return [*FLAGS, "--out", str(tmp_path / "out")]


def test_to_the_end_and_again(flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    models = ["--models", "dsdmsr"]
    compare.main([*flags, *models, "--seeds", "0", "1"])
    text = capsys.readouterr().out
    assert text.count("±") >= 4 and "| dsdmsr | 515,529 |" in text
    results = sorted((tmp_path / "out" / "x4").glob("*/result.json"))
    assert [path.parent.name for path in results] == ["dsdmsr_seed0", "dsdmsr_seed1"]
    assert json.loads(results[0].read_text())["steps"] >= 2
    times = [path.stat().st_mtime_ns for path in results]
    compare.main([*flags, *models, "--seeds", "0", "1"])
    assert capsys.readouterr().out == text
    assert [path.stat().st_mtime_ns for path in results] == times
    with pytest.raises(InputError, match="has other settings"):
        compare.main([*flags, *models, "--lr", "1e-3"])


@pytest.fixture
def no_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs take a process of their own, and have their own tests."""
    cost = {"parameters": 1, "gflop": 0.0, "ms": 1.0, "peak_mib": 1.0}
    monkeypatch.setattr(compare, "cost_of", lambda *_: cost)


@pytest.mark.usefixtures("no_costs")
def test_a_killed_run_goes_on_with_its_own_plan(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*flags, "--models", "dsdmsr"]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(compare, "score_videos", interrupt)
        compare.main(flags)
    plan = json.loads((tmp_path / "out" / "x4" / "dsdmsr.plan.json").read_text())
    with pytest.raises(InputError, match="plan.json has other settings"):
        compare.main([*flags, "--minutes", "600", "--single_share", "0.1"])
    trained = (tmp_path / "out" / "x4" / "dsdmsr_seed0" / "final.pth").stat().st_mtime_ns
    compare.main(flags)
    result = json.loads((tmp_path / "out" / "x4" / "dsdmsr_seed0" / "result.json").read_text())
    assert result["steps"] == sum(plan["steps"].values()) and result["settings"] == plan["settings"]
    assert (tmp_path / "out" / "x4" / "dsdmsr_seed0" / "final.pth").stat().st_mtime_ns == trained


def interrupt(*_: object, **__: object) -> None:
    """What ctrl-C does."""
    raise KeyboardInterrupt


@pytest.mark.usefixtures("no_costs")
def test_other_clips_are_scored_again(flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = tmp_path / "data"
    write_tartanair(data, {"P000": 3, "P001": 3})
    for name in ("P000", "P001"):
        (tmp_path / f"{name}.txt").write_text(f"room, {name}, 3\n")
    flags = [*flags, "--models", "bilinear", "--tartanair", str(data), "--tartanair_list"]
    texts = []
    for name in ("P000", "P001", "P000"):
        compare.main([*flags, str(tmp_path / f"{name}.txt")])
        texts.append(capsys.readouterr().out.split("### tartanair")[1].split("###")[0])
    assert texts[0] == texts[2] != texts[1]


def test_ablations_take_the_steps_of_the_full_model(flags: list[str], tmp_path: Path) -> None:
    options = parse(compare.Options, [*flags, "--models", "stdnet"], description="")
    path = tmp_path / "out" / "x4" / "stdnet.plan.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"settings": compare.training_settings(options), "steps": {"single": 3, "clips": 5}}))
    for name in ("stdnet", "stdnet, 1 neighbour", "stdnet, official crops"):
        assert compare.planned_steps(options, name, {}) == {"single": 3, "clips": 5}


@pytest.mark.usefixtures("no_costs")
def test_what_a_model_cannot_do_is_left_out(flags: list[str], capsys: pytest.CaptureFixture) -> None:
    compare.main([*flags, "--scale", "8", "--models", "nearest", "d3dnet"])
    text = capsys.readouterr().out
    assert "d3dnet is left out: d3dnet: scale must be 4" in text and "| nearest |" in text
    with pytest.raises(InputError, match="none of them"):
        compare.main([*flags, "--scale", "8", "--models", "d3dnet"])


def test_every_ablation_is_a_configuration() -> None:
    systems = [TrainConfig(**changes) for changes in compare.ABLATIONS.values()]
    assert len({tuple(sorted(config.identity().items(), key=str)) for config in systems}) == len(systems)


def test_operations_are_counted_by_hand() -> None:
    cost = compare.measured_cost({"name": "dsdmsr", "scale": 2, "channels": None}, 2, 8, 8, "cpu")
    multiplications = 4 * 16 * (81 * 64 + 25 * 64 * 32 + 25 * 32) + 64 * (81 * 64 + 25 * 64 * 32 + 25 * 32)
    assert cost["gflop"] == pytest.approx(2 * multiplications / 1e9)
    assert cost["parameters"] == 5 * 57_281 and torch.tensor(cost["ms"]).isfinite()


def test_bad_flags() -> None:
    for wrong, message in (
        (["--models", "edvr"], "no system"),
        *(
            ([f"--{name}", "0"], f"--{name} must be positive")
            for name in ("minutes", "scale", "cost_frames", "max_depth")
        ),
        (["--real_frames", "-1"], "positive"),
        (["--cost_size", "0", "16"], "both positive"),
        (["--single_share", "1"], "0 to below 1"),
        (["--patch", "18"], "mult"),
    ):
        with pytest.raises(InputError, match=message):
            compare.main(wrong)
