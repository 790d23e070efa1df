"""Batches that are a pure function of seed and step, for any number of loader processes and for a resumed run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from STDNet import distributed
from STDNet.datasets import ClipDataset, Video, videos
from STDNet.datasets.synthetic import TRAINING_SEED, VALIDATION_SEED, synthetic_videos
from STDNet.errors import InputError
from STDNet.evaluation import DEFAULT_ROOTS
from STDNet.training.config import TrainConfig

SYNTHETIC_SIZE, SYNTHETIC_VALIDATION_CLIPS = 256, 16
LISTS = {"honest": Path("data/TarTanAir_val.txt"), "paper": Path("data/TarTanAir_val_paper.txt")}

log = logging.getLogger(__name__)


def load_videos(config: TrainConfig) -> tuple[list[Video], list[Video]]:
    """The training and validation sequences that a configuration names; the honest choice never shares one."""
    if config.dataset == "synthetic":
        return _synthetic(config)
    root = config.root_dir or DEFAULT_ROOTS[config.dataset]
    train_list = config.train_list
    if train_list is None and config.dataset == "tartanair":
        train_list = Path("data/TarTanAir_train.txt")
    if train_list is None and config.dataset != "folder":
        raise InputError(f"--train_list: name the index file of the {config.dataset} sequences to train on")

    def read(index: Path | None) -> list[Video]:
        return videos(
            config.dataset,
            root,
            index,
            scale=config.scale,
            protocol=config.protocol,
            lr=config.lr_source,
            max_depth_m=config.max_depth,
            cache=config.cache,
        )

    training = read(train_list)
    if config.val_list == "none":
        return training, []
    if config.val_list in LISTS and config.dataset != "tartanair":
        raise InputError(f"--val_list: name an index file of {config.dataset} sequences, or none")
    validation = read(LISTS.get(config.val_list, Path(config.val_list)))
    if config.val_list == "honest":
        held_out = {video.name for video in validation}
        shared = [video.name for video in training if video.name in held_out]
        if shared and distributed.is_main():
            log.info("held out of training for validation: %s", ", ".join(shared))
        training = [video for video in training if video.name not in held_out]
    return training, validation


def _synthetic(config: TrainConfig) -> tuple[list[Video], list[Video]]:
    """Procedural videos of one window each, and held-out seeds unless --val_list is none."""
    frames = (config.frames - 1) * config.stride + 1
    size = max(config.patch_size, SYNTHETIC_SIZE)
    make = partial(synthetic_videos, scale=config.scale, size=size, max_depth_m=config.max_depth)
    # ClipDataset leaves out the first and the last frame.
    training = make(TRAINING_SEED, config.synthetic_clips, frames=frames + 2)
    if config.val_list == "none":
        return training, []
    if config.val_list != "honest":
        raise InputError("--val_list: honest (held-out seeds) or none, for procedural videos")
    return training, make(VALIDATION_SEED, SYNTHETIC_VALIDATION_CLIPS, frames=config.frames)


class Batches:
    """An endless stream of training batches from any step on."""

    def __init__(self, config: TrainConfig, training: list[Video]) -> None:
        self.config = config
        self.clips = ClipDataset(
            training,
            frames=config.frames,
            patch=config.patch_size,
            seed=config.seed,
            augment=config.augment,
            jitter=config.jitter,
            stride=config.stride,
            aligned=not config.paper_exact,
            other_sensors=config.other_sensors,
        )
        self.per_step = config.batchsize * config.accumulate * distributed.world_size()
        self.steps_per_epoch = len(self.clips) // self.per_step
        if self.steps_per_epoch == 0:
            raise InputError(
                f"the training list has {len(self.clips)} clips of {config.frames} frames, one step takes "
                f"{self.per_step}; use a longer list or a smaller --batchsize"
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
    """A ClipDataset that is asked for (epoch, index)."""

    def __init__(self, clips: ClipDataset) -> None:
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
