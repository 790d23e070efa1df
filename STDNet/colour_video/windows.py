"""WindowDataset: the training samples, random crops of a frame's neighbourhood."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from STDNet.colour_video.videos import ColourVideo
from STDNet.datasets import Box
from STDNet.datasets.crops import flipped
from STDNet.errors import InputError


class WindowDataset(Dataset):
    """Every scored frame of some videos with its neighbours, cropped and augmented; a function of seed, epoch, index.

    Args:
        videos: Where the frames are.
        reach: Frames to either side.
        patch: HR pixels per side of a crop, a multiple of the scale.
        seed: Seed of everything random.
        augment: Flip horizontally, vertically and transpose, each with probability 1/2.

    Raises:
        InputError: A patch off the LR grid, or larger than a video's frames.
    """

    def __init__(
        self, videos: Sequence[ColourVideo], reach: int, patch: int, seed: int = 0, *, augment: bool = True
    ) -> None:
        self.videos, self.reach, self.seed, self.augment = list(videos), reach, seed, augment
        self.epoch = 0
        scale = self.videos[0].scale
        if patch % scale:
            raise InputError(f"patch {patch}: no multiple of the scale {scale}")
        self.side = patch // scale
        for video in self.videos:
            if self.side > min(video.lr_size):
                height, width = (scale * side for side in video.lr_size)
                raise InputError(
                    f"{video.name}: frames of {height} x {width} are smaller than the patch {patch}; use a smaller one"
                )
        self.frames = [(number, t) for number, video in enumerate(self.videos) for t in video.scored]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose samples come next, in this process."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of frames, which are the samples of an epoch."""
        return len(self.frames)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One sample: "lr" [2 * reach + 1, 3, h, w] and "gt" [3, H, W], RGB in 0..1."""
        random = np.random.default_rng([self.seed, self.epoch, index])
        number, t = self.frames[index]
        video = self.videos[number]
        top, left = (int(random.integers(side - self.side + 1)) for side in video.lr_size)
        box = Box(top, left, self.side, self.side)
        sample = {"lr": video.read_window(t, self.reach, box), "gt": video.read_hr(t, box)}
        return flipped(sample, random) if self.augment else sample
