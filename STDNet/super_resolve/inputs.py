"""The frames of a capture as the network takes them: RGB on the output's grid, LR depth without holes, and its mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from STDNet.clip import Clip
from STDNet.datasets import reading
from STDNet.datasets.layout import as_metres
from STDNet.errors import InputError
from STDNet.super_resolve.capture import METRE, Capture
from STDNet.super_resolve.grid import Grid, size


class CaptureFrames:
    """A capture, read lazily, with the part of `datasets.Video` that `evaluation.predict` uses.

    Attributes:
        capture: Where the files are.
        grid: The sizes.
        max_depth_m: The depth that the network sees as 1.
        min_confidence: LR pixels of lower confidence are holes.
        watch: Called for every frame that `frames` reads.
    """

    def __init__(
        self,
        capture: Capture,
        grid: Grid,
        *,
        max_depth_m: float,
        min_confidence: int = 1,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self.capture, self.grid = capture, grid
        self.max_depth_m, self.min_confidence, self.watch = max_depth_m, min_confidence, watch

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.capture.frames)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Clip]:
        """Frames start..stop-1 one at a time, as clips of one frame, read when asked for.

        `Clip.lr` has its holes filled. `Clip.valid` is the validity map: the LR mask, each pixel a block of the output.
        """
        stop = len(self) if stop is None else stop
        depths = self._filled(start, stop)
        for t, picture, (lr_m, known) in zip(
            range(start, stop), self.capture.pictures(start, stop), depths, strict=True
        ):
            valid = known.repeat(self.grid.scale, 0).repeat(self.grid.scale, 1)
            rgb = self._resized(picture, t)[None]
            lr = torch.from_numpy(lr_m)[None, None]
            self.watch()
            yield Clip(rgb, lr, None, torch.from_numpy(valid)[None, None], self.capture.frames[t].name)

    def lr_depth(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """([h, w] float32 metres as measured, [h, w] bool) of frame t; False where there is a hole."""
        frame = self.capture.frames[t]
        stored = reading.read_depth(frame.depth)
        if stored.shape != self.grid.depth:
            raise InputError(
                f"{frame.depth}: {size(stored.shape)} pixels, but the first depth map has {size(self.grid.depth)}; "
                "all frames have one size"
            )
        unit = self.capture.metres_per_unit
        depth_m = as_metres(stored, frame.depth) if unit == METRE else stored.astype(np.float32) * np.float32(unit)
        known = np.isfinite(depth_m) & (depth_m > 0)
        if frame.confidence is not None:
            confidence = reading.read_image(frame.confidence)[..., 0]
            if confidence.shape != stored.shape:
                raise InputError(
                    f"{frame.confidence}: {size(confidence.shape)} pixels, expected those of its depth, "
                    f"{size(self.grid.depth)}; copy it again"
                )
            known &= confidence >= self.min_confidence
        return downsampled(depth_m, known, self.grid.downsample)

    def _filled(self, start: int, stop: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """LR depth without holes, and where it was measured; a frame that is one hole takes its predecessor's depth."""
        filled = None
        for t in range(start, stop):
            depth_m, known = self.lr_depth(t)
            if known.any():
                filled = fill_holes(depth_m, known)
            elif filled is None:
                filled = self._nearest_filled(t)
            yield filled, known

    def _nearest_filled(self, t: int) -> np.ndarray:
        """The depth of the last frame before t that has any, else of the first one after it."""
        for other in (*range(t - 1, -1, -1), *range(t + 1, len(self))):
            depth_m, known = self.lr_depth(other)
            if known.any():
                return fill_holes(depth_m, known)
        raise InputError(
            f"{self.capture.folder}: no frame has a depth above 0 with confidence of at least {self.min_confidence}; "
            "check the depth files, or lower --min_confidence"
        )

    def _resized(self, picture: np.ndarray, t: int) -> Tensor:
        """[3, H, W] in 0..1 on the output's grid."""
        if picture.shape[:2] != self.grid.rgb:
            raise InputError(
                f"{self.capture.frames[t].rgb}: {size(picture.shape[:2])} pixels in frame {t}, but the first picture "
                f"has {size(self.grid.rgb)}; all frames have one size"
            )
        if self.grid.rgb != self.grid.output:
            height, width = self.grid.output
            picture = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
        return reading.unit(picture)


def fill_holes(depth_m: np.ndarray, known: np.ndarray) -> np.ndarray:
    """[h, w] with every hole filled by the known pixel nearest to it; at least one is known."""
    if known.all():
        return depth_m
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return depth_m[tuple(nearest)]


def downsampled(depth_m: np.ndarray, known: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """One pixel for a block of factor x factor: the lower median of its known ones, known where half of them are.

    A median is a depth that was measured; a mean over an edge is a depth where nothing is.
    """
    if factor == 1:
        return np.where(known, depth_m, np.float32(0)), known
    height, width = (side // factor for side in depth_m.shape)
    blocks = np.where(known, depth_m, np.inf).reshape(height, factor, width, factor)
    blocks = np.sort(blocks.swapaxes(1, 2).reshape(height, width, -1), axis=-1)
    count = np.isfinite(blocks).sum(-1)
    middle = np.take_along_axis(blocks, np.maximum(count - 1, 0)[..., None] // 2, -1)[..., 0]
    enough = 2 * count >= factor * factor
    return np.where(enough, middle, 0).astype(np.float32), enough
