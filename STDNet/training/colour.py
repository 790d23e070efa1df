"""Training on colour video, D3DNet's and LGTD's own task: which windows, which loss, how it is validated."""

from __future__ import annotations

import operator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from STDNet.colour_video import (
    DEFAULT_ROOT,
    ColourVideo,
    ColourVideoModel,
    WindowDataset,
    colour_videos,
    comparison,
    mean,
    score_videos,
)
from STDNet.errors import InputError
from STDNet.evaluation import autocast
from STDNet.losses import Losses
from STDNet.training.config import TrainConfig


class ColourTask:
    """As `DepthTask`, for colour video; every pixel counts and a picture is 0..1."""

    better = {"psnr": operator.gt}

    def __init__(self, config: TrainConfig, reach: int) -> None:
        self.config = config
        root = config.root_dir or DEFAULT_ROOT
        training = colour_videos(root, config.train_list, scale=config.scale, training=True)
        self.validation: list[ColourVideo] = []
        if config.val_list == "honest":
            raise InputError("--val_list: name a list of the colour videos that choose the best checkpoint, or none")
        if config.val_list != "none":
            self.validation = colour_videos(root, Path(config.val_list), scale=config.scale)
            held_out = {video.name for video in self.validation}
            training = [video for video in training if video.name not in held_out]
        if not training:
            raise InputError("--train_list: no video is left that --val_list does not name; name others to train on")
        self.clips = WindowDataset(training, reach, config.patch_size, config.seed, augment=config.augment)
        self.facts: dict[str, float] = {}

    def validate(self, net: ColourVideoModel, device: torch.device) -> dict[str, float]:
        """PSNR of the brightness in dB, mean over the videos."""
        scores = score_videos(net, self.validation, device=device, stop=self.config.val_frames)
        return {"psnr": mean(scores)["network"]["psnr"]}

    def picture(self, net: ColourVideoModel, device: torch.device) -> Image.Image:
        """Bicubic upsampling, the network's picture and the ground truth of a frame."""
        return comparison(net, self.validation[0], device)


def losses(net: ColourVideoModel, config: TrainConfig, batch: dict[str, Tensor]) -> Losses:
    """What the model's paper minimises; it has no deep supervision."""
    with autocast(batch["lr"].device, config.amp):
        prediction = net(batch["lr"])
    loss = net.loss(prediction.float(), batch["gt"])
    zero = torch.zeros_like(loss)
    return Losses(loss, loss, zero, zero, (), ())
