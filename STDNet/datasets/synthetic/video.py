"""SyntheticVideo: a procedural video behind the same door as one on disk; frames are rendered when they are read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from STDNet.clip import Clip
from STDNet.datasets.layout import Box, DepthRule, Layout, SensorRange
from STDNet.datasets.synthetic.plan import compose
from STDNet.datasets.synthetic.rendering import Renderer
from STDNet.datasets.synthetic.stage import one_thread
from STDNet.datasets.video import Video
from STDNet.errors import InputError

TRAINING_SEED, VALIDATION_SEED, TEST_SEED = 0, 10_000_000, 20_000_000  # disjoint for up to ten million clips each
MAX_DEPTH_M = 30.0


class SyntheticVideo(Video):
    """The first frames of the endless video of a seed; see `render` for what it shows. Attributes as in `Video`."""

    def __init__(
        self,
        seed: int,
        scale: int,
        *,
        frames: int = 16,
        height: int = 256,
        width: int = 256,
        max_depth_m: float | None = None,
        sensor: SensorRange | None = None,
    ) -> None:
        """Nothing is rendered yet.

        Raises:
            InputError: A size that is no multiple of the scale, or no frames.
        """
        if height % scale or width % scale or min(height, width, frames) < 1:
            raise InputError(f"synthetic video of {frames} frames, {height} x {width}: no whole multiple of x{scale}")
        self.seed, self.scale, self.simulated = seed, scale, True
        self.name = f"synthetic/S{seed:08d}"
        self.max_depth_m, self.sensor = max_depth_m or MAX_DEPTH_M, sensor or SensorRange()
        self.layout = Layout(self.name, (), self.max_depth_m, self.sensor, DepthRule())
        self._frames, self._hw = frames, (height, width)

    def __len__(self) -> int:
        return self._frames

    @property
    def _size(self) -> tuple[int, int]:  # type: ignore[override]
        return self._hw

    def read(self, start: int, stop: int, *, step: int = 1, box: Box | None = None, lr_box: Box | None = None) -> Clip:
        """As `Video.read`."""
        self._check_times(start, stop, step)
        boxes = self._boxes(box, lr_box)
        with one_thread():
            renderer = self._renderer()
            return self._cut_out(start, [renderer.frame(t)[:2] for t in range(start, stop, step)], *boxes)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Clip]:
        """As `Video.frames`."""
        stop = len(self) if stop is None else stop
        self._check_times(start, stop, 1)
        boxes = self._boxes(None, None)
        renderer = self._renderer()
        for t in range(start, stop):
            yield self._cut_out(t, [renderer.frame(t)[:2]], *boxes)

    def flow(self, t: int) -> Tensor | None:
        """As `Video.flow`; exact, of moving objects too."""
        self._check_times(t, t + 2, 1)
        return self._renderer().frame(t)[2]

    def read_rgb(self, t: int) -> Tensor:
        """As `Video.read_rgb`."""
        self._check_times(t, t + 1, 1)
        return self._renderer().frame(t)[0]

    def read_depth(self, t: int) -> Tensor:
        """As `Video.read_depth`."""
        self._check_times(t, t + 1, 1)
        return self._renderer().frame(t)[1]

    def lr_path(self, t: int) -> Path:
        """Names predictions; there is no such file."""
        return Path(f"{t:06d}.npy")

    def paths(self) -> Iterator[Path]:
        """There are no files."""
        return iter(())

    def _renderer(self) -> Renderer:
        return _renderer(self.seed, *self._hw)

    def _cut_out(self, start: int, pictures: list[tuple[Tensor, Tensor]], box: Box, lr_box: Box) -> Clip:
        """The clip of whole frames (rgb [3, H, W], depth [H, W])."""
        rgb, depth = (torch.stack(values) for values in zip(*pictures, strict=True))
        source = lr_box.times(self.scale)
        lr = self._simulate(_part(depth, source), _part(rgb, source))
        name = f"{self.name}[{start}:{start + len(pictures)}]"
        return Clip(_part(rgb, box), lr[:, None], _part(depth, box)[:, None], name=name)


def synthetic_videos(
    first_seed: int, count: int, *, scale: int, frames: int, size: int, max_depth_m: float | None = None
) -> list[Video]:
    """`count` square videos of consecutive seeds."""
    options = {"frames": frames, "height": size, "width": size, "max_depth_m": max_depth_m}
    return [SyntheticVideo(seed, scale, **options) for seed in range(first_seed, first_seed + count)]  # type: ignore[arg-type]


@lru_cache(maxsize=2)
def _renderer(seed: int, height: int, width: int) -> Renderer:
    """Frames and flow of a video are asked for in turn: its scene is composed once."""
    return Renderer(compose(seed, None), height, width)


def _part(values: Tensor, box: Box) -> Tensor:
    """The box of [..., H, W]."""
    return values[..., box.top : box.top + box.height, box.left : box.left + box.width].contiguous()
