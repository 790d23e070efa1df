"""Training end to end on a tiny data set: a killed run ends like one that was never killed, two processes like one."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import write_tartanair

from STDNet import InputError, checkpoint
from STDNet.training import TrainConfig, train
from STDNet.training.data import Batches
from STDNet.training.depth import DepthTask
from STDNet.training.loop import Training
from STDNet.training.run import RunFolder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """Eight steps of a tiny network; four steps an epoch."""
    index = write_tartanair(tmp_path / "data", {"P000": 8, "P001": 8})
    (tmp_path / "val.txt").write_text("room, P001, 8\n")
    return TrainConfig(
        root_dir=tmp_path / "data",
        train_list=index,
        val_list=str(tmp_path / "val.txt"),
        val_frames=3,
        val_every=2,
        channels=4,
        frames=3,
        patch_size=16,
        batchsize=2,
        lr=1e-3,
        steps=8,
        save_every=3,
        log_every=1,
        num_workers=0,
        device="cpu",
        result_root=tmp_path / "run",
    )


def _weights(path: Path) -> dict[str, torch.Tensor]:
    return checkpoint.read(path).state


def _same(a: Path, b: Path) -> bool:
    first, second = _weights(a), _weights(b)
    return all(torch.equal(value, second[name]) for name, value in first.items())


def _rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def _command(config: TrainConfig, processes: int = 1, **changes: object) -> list[str]:
    """The command line of a configuration."""
    config = replace(config, **changes)  # type: ignore[arg-type]
    default, flags = TrainConfig(), []
    for name in vars(config):
        value = getattr(config, name)
        if value != getattr(default, name):
            flags += [f"--{name}", str(value)]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    return [sys.executable, *launcher, str(ROOT / "train.py"), *flags]


def _run(command: list[str]) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def test_a_run_writes_what_it_promises(config: TrainConfig) -> None:
    train(config)
    folder = config.folder
    rows = _rows(folder)
    assert [row["step"] for row in rows if "total" in row] == list(range(1, 9))
    assert rows[-1]["validation"]["rmse_cm"] > 0
    assert json.loads((folder / "config.json").read_text())["channels"] == 4
    assert len(list((folder / "samples").glob("*.png"))) == 1
    best = checkpoint.read(folder / "best_rmse.pth")
    assert best.meta["max_depth_m"] == 30 and best.meta["validation"]["rmse_cm"] == rows[-1]["validation"]["rmse_cm"]
    assert not best.training
    assert (config.mae_folder / "best_mae.pth").exists()
    assert checkpoint.load(folder / "final.pth").config.channels == 4
    started = checkpoint.read(folder / "last.pth").training["optimizer"]["param_groups"][0]["lr"]
    assert started == pytest.approx(1e-3)


@pytest.mark.parametrize("options", [{}, {"ema": 0.9, "accumulate": 2, "clip_grad": 0.1, "warmup": 2}])
def test_a_stopped_run_goes_on_bit_for_bit(
    config: TrainConfig, tmp_path: Path, options: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, **options)
    whole = replace(config, result_root=tmp_path / "whole")
    train(whole)

    def stop_in_the_fifth_step(training: Training, batches: Iterator) -> tuple:
        if training.step == 4:
            raise KeyboardInterrupt
        return step(training, batches)

    step = Training._train_step
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Training, "_train_step", stop_in_the_fifth_step)
        train(config)
    assert checkpoint.read(config.folder / "last.pth").training["step"] < 8
    train(config)
    for name in ("last.pth", "final.pth", "best_rmse.pth"):
        assert _same(config.folder / name, whole.folder / name), name
    losses = [[row["total"] for row in _rows(run.folder) if "total" in row] for run in (config, whole)]
    assert losses[0] == losses[1]


def test_a_neighbouring_system_on_two_processes(config: TrainConfig) -> None:
    """At a scale that STDNet does not know, too."""
    config = replace(config, model="dsdmsr", channels=64, scale=2, steps=2, val_list="none")
    done = _run(_command(config, processes=2))
    assert done.returncode == 0, done.stderr
    assert "find_unused_parameters" not in done.stderr
    assert checkpoint.read(config.folder / "final.pth").meta["step"] == 2


def test_killed_at_any_moment(config: TrainConfig, tmp_path: Path) -> None:
    whole = replace(config, result_root=tmp_path / "whole", steps=16, save_every=2, val_list="none")
    assert _run(_command(whole)).returncode == 0
    command = _command(replace(whole, result_root=tmp_path / "killed"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed" / "last.pth").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "final.pth").exists()
    again = _run(command)
    assert again.returncode == 0 and "resumed" in again.stderr, again.stderr
    assert _same(tmp_path / "killed" / "final.pth", whole.folder / "final.pth")


def test_sigterm_saves_and_stops(config: TrainConfig) -> None:
    command = _command(config, steps=100000, val_list="none", save_every=100000)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (config.folder / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    _, text = process.communicate(timeout=120)
    assert process.returncode == 0 and "stopped by SIGTERM" in text
    assert checkpoint.read(config.folder / "last.pth").training["step"] >= 1


def test_two_processes_equal_one_with_twice_the_batch(config: TrainConfig, tmp_path: Path) -> None:
    done = _run(_command(config, processes=2, batchsize=1, result_root=tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    train(replace(config, batchsize=2, result_root=tmp_path / "one"))
    rows = [[row for row in _rows(tmp_path / name)] for name in ("one", "two")]
    for one, two in zip(*rows, strict=True):
        assert one["step"] == two["step"]
        if "total" in one:
            assert two["total"] == pytest.approx(one["total"], rel=2e-3)
        else:
            assert two["validation"] == pytest.approx(one["validation"], rel=5e-3)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(config: TrainConfig) -> None:
    train(config)
    last = config.folder / "last.pth"
    last.write_bytes(last.read_bytes()[:1000])
    train(replace(config, steps=9))
    assert checkpoint.read(last).training["step"] == 9


def test_other_settings_are_refused_and_restart_begins_anew(config: TrainConfig) -> None:
    train(replace(config, steps=1))
    with pytest.raises(InputError, match="lr 0.001 -> 0.002"):
        train(replace(config, lr=2e-3))
    train(replace(config, steps=1, lr=2e-3, restart=True))
    assert checkpoint.read(config.folder / "last.pth").meta["settings"]["lr"] == 2e-3


def test_two_runs_do_not_share_a_folder(config: TrainConfig) -> None:
    first = RunFolder(config)
    first.begin()
    with pytest.raises(InputError, match="another training process"):
        RunFolder(config).begin()
    first.close()
    second = RunFolder(config)
    second.begin()
    second.close()


def test_the_paper_schedule(config: TrainConfig) -> None:
    config = replace(config, decay_iterations=(1, 2), gamma=0.2, lr=1.0, val_list="none")
    training = Training(config, torch.device("cpu"), RunFolder(config))
    per_epoch = training.batches.steps_per_epoch
    rates = []
    for training.step in (0, per_epoch - 1, per_epoch, 2 * per_epoch):
        rates.append(training._learning_rate())
    assert rates == pytest.approx([1.0, 1.0, 0.2, 0.04])


def test_a_cosine_ends_near_zero_and_its_length_belongs_to_the_run(config: TrainConfig) -> None:
    cosine = dataclasses.replace(config, schedule="cosine", steps=4)
    train(cosine)
    rates = [row["learning_rate"] for row in _rows(cosine.folder) if "learning_rate" in row]
    assert rates[-1] < 0.2 * config.lr and rates == sorted(rates, reverse=True)
    assert cosine.identity() != dataclasses.replace(cosine, steps=5).identity()
    assert config.identity() == dataclasses.replace(config, steps=5).identity()


def test_every_clip_comes_once_an_epoch(config: TrainConfig) -> None:
    batches = Batches(config, DepthTask(config).clips)
    from STDNet.training.data import _Order

    order = iter(_Order(batches, 0))
    first = [key for _ in range(batches.steps_per_epoch) for key in next(order)]
    assert len(set(first)) == len(first) == 8 and {epoch for epoch, _ in first} == {0}
    middle = next(iter(_Order(batches, batches.steps_per_epoch + 1)))
    second = [next(order) for _ in range(2)][1]
    assert middle == second and middle[0][0] == 1


def test_initial_weights_come_from_a_file(config: TrainConfig, tmp_path: Path) -> None:
    train(replace(config, steps=1))
    train(replace(config, steps=1, lr=1e-12, init=config.folder / "final.pth", result_root=tmp_path / "next"))
    first, second = _weights(config.folder / "final.pth"), _weights(tmp_path / "next" / "final.pth")
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=1e-8, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batchsize": 50}, "smaller --batchsize"),
        ({"patch_size": 64}, "patch"),
        ({"amp": "fp16"}, "CUDA"),
        ({"device": "toaster"}, "no such kind"),
        ({"root_dir": Path("nowhere")}, "nowhere"),
    ],
)
def test_bad_settings_are_named(config: TrainConfig, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(replace(config, **changes))


def test_exit_code_two_and_one_line(config: TrainConfig, tmp_path: Path) -> None:
    done = _run(_command(config, root_dir=tmp_path / "nowhere"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and len(done.stderr.strip().splitlines()) == 1


def test_losses_that_are_not_finite_stop_the_run(config: TrainConfig) -> None:
    with pytest.raises(InputError, match="not finite"):
        train(replace(config, lr=1e30, steps=6, save_every=1))
    assert all(value.isfinite().all() for value in _weights(config.folder / "last.pth").values())
