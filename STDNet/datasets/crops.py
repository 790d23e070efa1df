"""ClipDataset: the training samples, random crops of short clips in network units."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from math import cos, sin

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from STDNet.clip import Clip
from STDNet.datasets.layout import Box
from STDNet.datasets.video import Video
from STDNet.errors import InputError
from STDNet.simulator import SensorEffects, simulate


class ClipDataset(Dataset):
    """Every window of consecutive frames of some videos, cropped and augmented at random.

    A sample is a pure function of (seed, epoch, index): how many workers there are, in which order they work and
    whether a run was interrupted makes no difference.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        frames: int = 7,
        patch: int | tuple[int, int] | None = 256,
        seed: int = 0,
        *,
        augment: bool = True,
        jitter: bool = False,
        stride: int = 1,
        aligned: bool = True,
        skip_ends: bool = True,
        other_sensors: float = 0.0,
    ) -> None:
        """List the windows; nothing is read but the size of the frames.

        Args:
            videos: Where the frames are.
            frames: Frames of a clip.
            patch: HR pixels of a crop: a square, or (height, width); multiples of the scale. None takes whole frames.
            seed: Seed of everything random.
            augment: Flip horizontally, vertically and, for squares, transpose, each with probability 1/2.
            jitter: Change brightness, contrast, saturation and hue of RGB a little, the same for the whole clip.
            stride: Distance of a clip's frames: 2 takes every second frame.
            aligned: Crop on the LR grid. False is a quirk of the official training: the HR crop begins at any pixel
                and the LR crop at that pixel divided by the scale, rounded down.
            skip_ends: Leave out the first and the last frame of every video, as the paper does.
            other_sensors: Share of the clips, 0 to 1, that are seen by another simulated sensor, see `another_sensor`.

        Raises:
            InputError: A video is shorter than the clip or smaller than the patch, or a patch is not on the grid.
        """
        self.videos, self.frames, self.patch, self.seed = list(videos), frames, patch, seed
        if other_sensors and not aligned:
            raise InputError("other sensors need crops on the LR grid")
        self.augment, self.jitter, self.stride, self.aligned = augment, jitter, stride, aligned
        self.other_sensors = other_sensors
        self.epoch = 0
        if not self.videos or frames < 1 or stride < 1:
            raise InputError(
                f"training needs a video, a frame and a stride of at least 1 each; given: "
                f"{len(self.videos)} videos, {frames} frames, stride {stride}"
            )
        span, skipped = (frames - 1) * stride + 1, int(skip_ends)
        self.windows: list[tuple[int, int]] = []
        for number, video in enumerate(self.videos):
            count = len(video) - 2 * skipped - span + 1
            if count < 1:
                ends = ", without the first and last frame" if skipped else ""
                raise InputError(
                    f"{video.name}: {len(video)} frames are too few for a clip of {frames} frames, stride "
                    f"{stride}{ends}; use shorter clips"
                )
            self._patch_of(video)
            self.windows += [(number, skipped + first) for first in range(count)]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose samples come next, in this process: persistent workers have to call it themselves."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of windows, which are the samples of one epoch."""
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One sample.

        Returns:
            "lr" [T, 1, h, w], "gt" [T, 1, H, W] depth divided by the video's `max_depth_m`; "rgb" [T, 3, H, W] in 0..1;
            "valid" [T, 1, H, W] bool.
        """
        random = np.random.default_rng([self.seed, self.epoch, index])
        number, first = self.windows[index]
        video = self.videos[number]
        box, lr_box = self._crop(video, random)
        stop = first + (self.frames - 1) * self.stride + 1
        clip = video.read(first, stop, step=self.stride, box=box, lr_box=lr_box)
        gt = clip.gt
        if gt is None:
            raise InputError(f"{video.name}: training needs HR depth, and there is none")
        if self.other_sensors and random.random() < self.other_sensors:
            clip = another_sensor(clip, random)
        valid = torch.ones_like(gt, dtype=torch.bool) if clip.valid is None else clip.valid
        sample = {"lr": clip.lr / video.max_depth_m, "rgb": clip.rgb, "gt": gt / video.max_depth_m, "valid": valid}
        if self.augment:
            sample = flipped(sample, random)
        if self.jitter:
            sample["rgb"] = _jittered(sample["rgb"], random)
        return sample

    def _patch_of(self, video: Video) -> tuple[int, int]:
        """(height, width) of a crop, checked."""
        patch = self.patch or (video.height, video.width)
        height, width = (patch, patch) if isinstance(patch, int) else patch
        if height % video.scale or width % video.scale or min(height, width) < 1:
            raise InputError(f"patch {height} x {width}: no multiple of the scale {video.scale}")
        if height > video.height or width > video.width:
            raise InputError(
                f"{video.name}: frames of {video.height} x {video.width} are smaller than the patch "
                f"{height} x {width}; use a smaller patch"
            )
        return height, width

    def _crop(self, video: Video, random: np.random.Generator) -> tuple[Box, Box]:
        """The same place in HR and LR pixels, at random."""
        height, width = self._patch_of(video)
        step = video.scale if self.aligned else 1
        top, left = (
            int(random.integers(room // step + 1)) * step for room in (video.height - height, video.width - width)
        )
        box = Box(top, left, height, width)
        return box, Box(*(side // video.scale for side in box))


def another_sensor(clip: Clip, random: np.random.Generator) -> Clip:
    """The clip with the LR depth of another dToF sensor: a mixture that covers phones as well as the paper's.

    Its range is 1.05 to 2 times the largest depth of the clip, its bins are 2 mm to 10 cm wide (log-uniform); one in
    three has shot noise, one in five of those drops up to 3 % of its zones.
    """
    assert clip.gt is not None
    depth = torch.where(clip.gt.isfinite() & (clip.gt > 0), clip.gt, 0.0)[:, 0]
    range_m = max(1.0, float(depth.max())) * random.uniform(1.05, 2)
    bins = int(np.clip(range_m / np.exp(random.uniform(np.log(0.002), np.log(0.1))), 64, 8192))
    effects = None
    if random.random() < 1 / 3:
        dropped = random.uniform(0, 0.03) if random.random() < 0.2 else 0.0
        noise = float(np.exp(random.uniform(np.log(0.01), np.log(0.1))))
        effects = SensorEffects(shot_noise=noise, dropped_zones=dropped, seed=int(random.integers(2**31)))
    lr = simulate(depth, clip.rgb, clip.scale, max_range_m=range_m, bins=bins, effects=effects)
    return dataclasses.replace(clip, lr=lr[:, None])


def flipped(sample: dict[str, Tensor], random: np.random.Generator) -> dict[str, Tensor]:
    """Flips and transpose, the same for everything in the sample."""
    horizontal, vertical, transpose = random.random(3) < 0.5
    height, width = sample["gt"].shape[-2:]
    axes = [axis for axis, wanted in ((-1, horizontal), (-2, vertical)) if wanted]
    for name, value in sample.items():
        value = value.flip(axes)
        sample[name] = (value.transpose(-1, -2) if transpose and height == width else value).contiguous()
    return sample


def _jittered(rgb: Tensor, random: np.random.Generator) -> Tensor:
    """Brightness +-1 %, contrast and saturation +-30 %, hue +-0.5 rad: DVSR's ranges."""
    brightness, contrast, saturation, hue = random.uniform(-1, 1, 4) * (0.01, 0.3, 0.3, 0.5)
    rgb = rgb * (1 + brightness)
    mean = rgb.mean()
    rgb = mean + (rgb - mean) * (1 + contrast)
    # Saturation scales and hue turns the colour plane of YIQ; luma stays.
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    scale = 1 + saturation
    turn = torch.tensor([[1, 0, 0], [0, scale * cos(hue), -scale * sin(hue)], [0, scale * sin(hue), scale * cos(hue)]])
    matrix = torch.linalg.inv(to_yiq) @ turn.float() @ to_yiq
    return torch.einsum("ij,tjhw->tihw", matrix, rgb).clamp(0, 1)
