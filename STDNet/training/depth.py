"""Training on depth video with RGB: which clips, which losses, how it is validated."""

from __future__ import annotations

import logging
import operator
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from STDNet import distributed
from STDNet.datasets import ClipDataset, Video, videos
from STDNet.datasets.synthetic import TRAINING_SEED, VALIDATION_SEED, synthetic_videos
from STDNet.errors import InputError
from STDNet.evaluation import DEFAULT_ROOTS, autocast, mean, sample_picture, score_videos
from STDNet.losses import Losses, supervised_loss, training_loss
from STDNet.models import DepthVideoModel, STDNet
from STDNet.training.config import TrainConfig

SYNTHETIC_SIZE, SYNTHETIC_VALIDATION_CLIPS = 256, 16
LISTS = {"honest": Path("data/TarTanAir_val.txt"), "paper": Path("data/TarTanAir_val_paper.txt")}

log = logging.getLogger(__name__)


class DepthTask:
    """What the loop asks of a task.

    Attributes:
        clips: The samples of an epoch.
        validation: Sequences that choose the best checkpoint; maybe none.
        better: The measures of `validate`, and which of two values is the better one.
        facts: What a checkpoint says of its data.
    """

    better = {"rmse_cm": operator.lt, "mae_cm": operator.lt}

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        training, self.validation = load_videos(config)
        self.clips = ClipDataset(
            training,
            frames=config.frames,
            patch=config.patch_size,
            seed=config.seed,
            augment=config.augment,
            jitter=config.jitter,
            stride=config.stride,
            aligned=config.aligned_crops and not config.paper_exact,
            other_sensors=config.other_sensors,
        )
        self.facts = {"max_depth_m": training[0].max_depth_m}

    def validate(self, net: DepthVideoModel, device: torch.device) -> dict[str, float]:
        """The measures, means over the sequences, which all processes share; `net` in evaluation mode."""
        scores = score_videos(net, self.validation, device=device, amp=self.config.amp, stop=self.config.val_frames)
        means = mean(scores)["network"]
        return {name: means[name] for name in self.better}  # type: ignore[misc]

    def picture(self, net: DepthVideoModel, device: torch.device) -> Image.Image:
        """What the network makes of the first sequence of the validation."""
        return sample_picture(net, self.validation[0], device=device, amp=self.config.amp, label=self.config.label)


def losses(net: DepthVideoModel, config: TrainConfig, batch: dict[str, Tensor], deep: bool) -> Losses:
    """Of one batch in network units: lr, rgb, gt and the mask valid; `deep` supervision where known."""
    with autocast(batch["lr"].device, config.amp):
        out = net(batch["lr"], batch["rgb"])
    if not isinstance(net, STDNet):
        weight = net.deep_weight if deep else 0.0
        return supervised_loss(out.depth, out.intermediate, batch["gt"], valid=batch["valid"], weight=weight)
    return training_loss(
        out,
        batch["gt"],
        net.heads,
        # Without a mask under the protocol, every pixel is valid.
        valid=None if config.paper_exact else batch["valid"],
        alpha_spatial=config.alpha_spatial,
        alpha_temporal=config.alpha_temporal,
        beta=config.beta,
        paper_exact=config.paper_exact,
    )


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
