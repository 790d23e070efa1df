"""The folder of a run: checkpoints to resume from, the best ones, metrics.jsonl; all of it survives a kill."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import json
import logging
import shutil
import subprocess
import time
from pathlib import Path
from typing import IO, Any

import torch

from STDNet import checkpoint, distributed
from STDNet.checkpoint import Checkpoint
from STDNet.errors import InputError
from STDNet.files import atomic_write, write_json
from STDNet.training.config import TrainConfig

log = logging.getLogger(__name__)


class RunFolder:
    """Reads and writes one run's files. Only the main process writes; all of them may read."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.folder = config.folder
        self.last = self.folder / "last.pth"
        self.previous = self.folder / "last_previous.pth"
        self.final = self.folder / "final.pth"
        self.metrics = self.folder / "metrics.jsonl"
        self._lock: IO[str] | None = None
        self.best = {
            "rmse_cm": self.folder / "best_rmse.pth",
            "mae_cm": config.mae_folder / "best_mae.pth",
            "psnr": self.folder / "best_psnr.pth",
        }

    def begin(self) -> Checkpoint | None:
        """Make or find the folder; the newest good checkpoint of an earlier start, or None."""
        if distributed.is_main():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._claim()
            if self.config.restart:
                self._discard()
        distributed.barrier()
        found = self._newest()
        if found is not None:
            self._check_same_run(found)
        if distributed.is_main():
            self._forget_after(found.training["step"] if found else 0)
            values = {name: _plain(value) for name, value in dataclasses.asdict(self.config).items()}
            write_json(self.folder / "config.json", values)
        distributed.barrier()
        return found

    def identity(self) -> dict[str, Any]:
        """Everything that decides which weights result; a run is only resumed with the same."""
        return {**self.config.identity(), "processes": distributed.world_size()}

    def close(self) -> None:
        """Let others write here again."""
        if self._lock is not None:
            self._lock.close()

    def save(self, state: Checkpoint) -> None:
        """Write the checkpoint to resume from; the one before it is kept until the next."""
        if self.last.exists():
            self.last.replace(self.previous)
        checkpoint.save(self.last, state)

    def save_best(self, name: str, state: Checkpoint) -> None:
        """Write the best checkpoint by a key of `best`."""
        checkpoint.save(self.best[name], state)

    def save_final(self, state: Checkpoint) -> None:
        """Write the weights of the last step, for use."""
        checkpoint.save(self.final, state)

    def record(self, row: dict[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        with self.metrics.open("a") as file:
            file.write(json.dumps({**row, "time": round(time.time(), 1)}) + "\n")

    def _claim(self) -> None:
        """Refuse a folder that another run is writing to, such as workers that outlived their killed launcher.

        The lock goes with this process, however it ends.
        """
        self._lock = (self.folder / "lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"{self.folder}: another training process is writing here; stop it first (pgrep -af train.py), or "
                "choose another --result_root"
            ) from None

    def _discard(self) -> None:
        """Remove the files of an earlier run, and no others."""
        for path in (self.last, self.previous, self.final, self.metrics, *self.best.values()):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "samples", ignore_errors=True)
        shutil.rmtree(self.folder / "tensorboard", ignore_errors=True)

    def _newest(self) -> Checkpoint | None:
        """last.pth, or the one before it where last.pth is damaged."""
        if not self.last.exists() and not self.previous.exists():
            return None
        try:
            return checkpoint.read(self.last)
        except InputError as error:
            if not self.previous.exists():
                raise
            if distributed.is_main():
                log.warning("%s; going on from %s", error, self.previous.name)
            return checkpoint.read(self.previous)

    def _check_same_run(self, found: Checkpoint) -> None:
        """Refuse to go on with other settings than before."""
        # A run from before a flag existed ran with its default.
        before = {**TrainConfig().identity(), **found.training.get("identity", {})}
        now = self.identity()
        # Tuples come back as lists or tuples depending on the pickle; compare them as lists.
        different = [name for name in now if _as_list(before.get(name)) != _as_list(now[name])]
        if different:
            changes = ", ".join(f"{name} {before.get(name)} -> {now[name]}" for name in different)
            raise InputError(
                f"{self.folder} holds a run with other settings ({changes}); resume it with the same flags, "
                "choose another --result_root, or discard it with --restart"
            )

    def _forget_after(self, step: int) -> None:
        """Drop the metrics of steps that will be run again; a line that a kill cut short goes too."""
        if not self.metrics.exists():
            return
        kept = []
        for line in self.metrics.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
        with atomic_write(self.metrics) as file:
            file.write("".join(kept).encode())


@functools.cache
def provenance() -> dict[str, Any]:
    """Versions and commit that a checkpoint was made with."""
    from STDNet import __version__

    commit = ""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        commit = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    return {"STDNet": __version__, "torch": str(torch.__version__), "commit": commit}


def _plain(value: Any) -> Any:
    """A value that JSON knows."""
    return str(value) if isinstance(value, Path) else value


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
