"""benchmarks/compare.py runs to the end, goes on where it stopped, and refuses results of other settings."""

from __future__ import annotations

import json
from pathlib import Path

import compare
import pytest
import torch

from STDNet import InputError
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


def test_what_a_model_cannot_do_is_left_out(flags: list[str], capsys: pytest.CaptureFixture) -> None:
    compare.main([*flags, "--scale", "8", "--models", "nearest", "d3dnet"])
    text = capsys.readouterr().out
    assert "left out: d3dnet: scale must be 4" in text and "| nearest |" in text


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
        (["--minutes", "0"], "positive"),
        (["--patch", "18"], "mult"),
    ):
        with pytest.raises(InputError, match=message):
            compare.main(wrong)
