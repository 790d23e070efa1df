"""Batches that are a pure function of seed and step, for any number of loader processes and for a resumed run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from STDNet import distributed
from STDNet.errors import InputError
from STDNet.training.config import TrainConfig


class Clips(Protocol):
    """The samples of an epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose samples come next, in this process."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Tensor]: ...


class Batches:
    """An endless stream of training batches from any step on."""

    def __init__(self, config: TrainConfig, clips: Clips) -> None:
        self.config, self.clips = config, clips
        self.per_step = config.batchsize * config.accumulate * distributed.world_size()
        self.steps_per_epoch = len(self.clips) // self.per_step
        if self.steps_per_epoch == 0:
            raise InputError(
                f"there are {len(self.clips)} clips to train on, one step takes {self.per_step}; use a longer "
                "--train_list or a smaller --batchsize"
            )

    def from_step(self, step: int) -> Iterator[dict[str, Tensor]]:
        """Batches of this process for optimiser step `step`, step + 1, ...: `accumulate` of them a step."""
        loader = DataLoader(
            _Epochs(self.clips),
            batch_sampler=_Order(self, step),
            num_workers=self.config.num_workers,
            pin_memory=torch.cuda.is_available(),
            prefetch_factor=2 if self.config.num_workers else None,
        )
        return iter(loader)


class _Epochs(Dataset):
    """Clips that are asked for by (epoch, index)."""

    def __init__(self, clips: Clips) -> None:
        self.clips = clips

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = key
        self.clips.set_epoch(epoch)
        return self.clips[index]


class _Order(Sampler):
    """Which clips this process takes, batch after batch, without end."""

    def __init__(self, batches: Batches, step: int) -> None:
        self.batches, self.step = batches, step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        config, steps_per_epoch = self.batches.config, self.batches.steps_per_epoch
        ranks = distributed.world_size()
        epoch, skip = divmod(self.step, steps_per_epoch)
        while True:
            generator = torch.Generator().manual_seed(config.seed + epoch)
            order = torch.randperm(len(self.batches.clips), generator=generator).tolist()
            for batch in range(skip * config.accumulate, steps_per_epoch * config.accumulate):
                start = (batch * ranks + distributed.rank()) * config.batchsize
                yield [(epoch, index) for index in order[start : start + config.batchsize]]
            epoch, skip = epoch + 1, 0
