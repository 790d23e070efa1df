"""Videos of any length in constant memory, equal to the whole-clip result.

Any model runs piece by piece, every piece with the frames to either side that it looks at. STDNet does it better: a
pass of its temporal branch reads the pass before it at most two frames away (one or three in the paper's ablations),
and only backward passes look ahead: two frames each, two passes a stage, two stages. So the depth of frame t is final
once frame t + 8 is known. Every pass keeps the few frames that it still needs; no frame is computed twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from STDNet.errors import InputError
from STDNet.models.reconstruction import blend
from STDNet.models.stdnet import Stage, STDNet
from STDNet.models.temporal_difference import Pairs
from STDNet.models.video_model import DepthVideoModel

DELAY = STDNet.reach  # frames that must follow a frame before the depth of the paper's network is final: 8


@dataclass(frozen=True)
class Frames:
    """Consecutive frames of something: frame `start` and the ones after it, [1, n, ...]; None before the first."""

    start: int = 0
    values: Tensor | None = None

    @property
    def stop(self) -> int:
        """The frame after the last one."""
        return self.start + (0 if self.values is None else self.values.shape[1])

    def extended(self, more: Tensor) -> Frames:
        """With frames [1, n, ...] appended."""
        return Frames(self.start, more if self.values is None else torch.cat((self.values, more), 1))

    def window(self, start: int, stop: int) -> Tensor:
        """Frames start..stop-1 as [1, n, ...]."""
        assert self.values is not None and self.start <= start <= stop <= self.stop
        return self.values[:, start - self.start : stop - self.start]

    def without(self, before: int) -> Frames:
        """Only frames from `before` on, in memory of their own."""
        drop = min(before, self.stop) - self.start
        if self.values is None or drop <= 0:
            return self
        return Frames(self.start + drop, self.values[:, drop:].clone())


@dataclass(frozen=True)
class StageState:
    """What one stage remembers: per-frame features, the grid, and levels[k], the frames that pass k has made."""

    rgb: Frames = Frames()
    weight: Frames = Frames()
    grid: Frames = Frames()
    levels: tuple[Frames, ...] = (Frames(),) * 5  # S, backward 1, forward 1, backward 2, forward 2

    def without(self, before: int) -> StageState:
        """Forget what no later frame needs."""
        levels = tuple(level.without(before) for level in self.levels)
        return StageState(self.rgb.without(before), self.weight.without(before), self.grid.without(before), levels)


@dataclass(frozen=True)
class StreamState:
    """All that a stream remembers between two calls of `push`: a value, to be kept, copied, or gone on from twice."""

    stages: tuple[StageState, StageState] = (StageState(), StageState())
    first: Frames = Frames()  # stage 1's depth and confidence, waiting for stage 2's
    size: tuple[int, int] | None = None  # H, W of the video
    ended: bool = False


@torch.inference_mode()
def push(
    model: STDNet, state: StreamState, lr: Tensor | None, rgb: Tensor | None, *, last: bool = False
) -> tuple[Tensor | None, StreamState]:
    """Give the next frames of a video, get the depth frames that are final now.

    Args:
        model: The network.
        state: `StreamState()` before the first frames, then what the call before returned.
        lr: [n, 1, H/s, W/s], depth of the next n frames in network units; None for no frames (to end a video).
        rgb: [n, 3, H, W], their colour in 0..1; None for no frames.
        last: No frame will follow: also give the frames that still waited for one.

    Returns:
        Depth [m, 1, H, W] of the next m final frames (None for m = 0), and the state to go on with.

    Raises:
        InputError: Frames of another size than before, or frames after the last.
    """
    if state.ended:
        raise InputError("this stream has ended; start a new one with StreamState()")
    guide = grid = previous = None
    size = state.size
    if lr is not None and rgb is not None and len(lr):
        lr, guide, shape = model.aligned(lr[None], rgb[None])
        if size not in (None, shape):
            raise InputError(f"frame size changed from {size} to {shape} within one video")
        grid, size = model.to_grid(lr), shape
    first_stage, second_stage = model.stages
    made, state_1 = _advance(first_stage, state.stages[0], guide, grid, previous, last)  # type: ignore[arg-type]
    guide = grid = None
    first = state.first
    if made is not None:
        guide = torch.cat((made.depth, made.confidence), 2)
        first, grid, previous = first.extended(guide), made.grid, made.fused
    made, state_2 = _advance(second_stage, state.stages[1], guide, grid, previous, last)  # type: ignore[arg-type]
    depth = None
    if made is not None:
        depth_1, confidence_1 = first.window(first.start, first.start + made.depth.shape[1]).split(1, 2)
        depth = blend([depth_1, made.depth], [confidence_1, made.confidence])[0][0]
        first = first.without(first.start + made.depth.shape[1])
        assert size is not None
        depth = depth[..., : size[0], : size[1]]
    return depth, StreamState((state_1, state_2), first, size, last)


def stream(
    model: DepthVideoModel,
    frames: Iterable[tuple[Tensor, Tensor]],
    *,
    chunk: int | None = None,
    lookahead: int | None = None,
) -> Iterator[Tensor]:
    """Super-resolve a video of any length, finite or endless, frame by frame.

    Args:
        model: STDNet or another model of `STDNet.systems`.
        frames: (lr [1, H/s, W/s], rgb [3, H, W]) of one frame after the other, in network units and 0..1.
        chunk: Frames that run as one batch; larger is faster up to a point and takes more memory. None is the model's
            own: 4, and 16 for dvsr.
        lookahead: 0 to the model's reach, frames that are awaited before a frame is given. None is the reach (STDNet 8,
            d3dnet 3, lgtd 2, single-frame models 0) and exact; dvsr, which is recurrent, then sees 8 frames before and
            after each chunk. With fewer, a frame is what it would be if the video ended `lookahead` frames later:
            sooner, less accurate, and slower, because the frames at that end are made anew with every frame (and
            `chunk` is 1).

    Yields:
        Depth [1, H, W] in network units, one for every frame, in order, `lookahead` frames and the chunk behind.

    Raises:
        InputError: `chunk` or `lookahead` out of range; what `push` refuses.
    """
    chunk = model.chunk if chunk is None else chunk
    lookahead = model.reach if lookahead is None else lookahead
    if chunk < 1:
        raise InputError(f"chunk must be at least 1, got {chunk}")
    if not 0 <= lookahead <= model.reach:
        raise InputError(f"lookahead must be 0 to {model.reach}, got {lookahead}")
    early = lookahead < model.reach
    if not isinstance(model, STDNet):
        yield from _pieces(model, frames, 1 if early else chunk, lookahead)
    elif early:
        yield from _early(model, frames, lookahead)
    else:
        yield from _exact(model, frames, chunk)


def _exact(model: STDNet, frames: Iterable[tuple[Tensor, Tensor]], chunk: int) -> Iterator[Tensor]:
    """STDNet without a frame computed twice."""
    state = StreamState()
    waiting: list[tuple[Tensor, Tensor]] = []
    for frame in frames:
        waiting.append(frame)
        if len(waiting) == chunk:
            depth, state = push(model, state, *_stacked(waiting))
            waiting = []
            if depth is not None:
                yield from depth
    depth, _ = push(model, state, *(_stacked(waiting) if waiting else (None, None)), last=True)
    if depth is not None:
        yield from depth


def _early(model: STDNet, frames: Iterable[tuple[Tensor, Tensor]], lookahead: int) -> Iterator[Tensor]:
    """After every frame, end a copy of the stream there, and give the one frame that is due."""
    state, end = StreamState(), None
    for lr, rgb in frames:
        _, state = push(model, state, lr[None], rgb[None])
        # From the first frame that is not final to the newest one.
        end, _ = push(model, state, None, None, last=True)
        assert end is not None
        known = state.stages[0].grid.stop
        if known > lookahead:
            yield end[len(end) - 1 - lookahead]
    if end is not None:
        yield from end[max(0, len(end) - lookahead) :]


def _pieces(
    model: DepthVideoModel, frames: Iterable[tuple[Tensor, Tensor]], chunk: int, after: int
) -> Iterator[Tensor]:
    """`chunk` frames at a time, from clips with `model.reach` more frames before and `after` more frames after."""
    held: list[tuple[Tensor, Tensor]] = []
    start = done = 0  # of the frames held, and the first that is not given yet
    for frame in frames:
        held.append(frame)
        if start + len(held) == done + chunk + after:
            yield from _whole(model, held)[done - start : done - start + chunk]
            done += chunk
            forget = max(0, done - model.reach - start)
            held, start = held[forget:], start + forget
    stop = start + len(held)
    while done < stop:
        first = max(start, done - model.reach)
        depth = _whole(model, held[first - start : done + chunk + after - start])
        yield from depth[done - first : done - first + chunk]
        done += chunk


@torch.inference_mode()
def _whole(model: DepthVideoModel, frames: list[tuple[Tensor, Tensor]]) -> Tensor:
    """[n, 1, H, W] of one short clip."""
    lr, rgb = _stacked(frames)
    return model(lr[None], rgb[None]).depth[0]


@dataclass(frozen=True)
class _Made:
    """Frames that a stage has finished, each [1, n, ...]."""

    depth: Tensor
    confidence: Tensor  # before the softmax
    fused: Tensor
    grid: Tensor


def _stacked(frames: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """A list of frames as one batch."""
    first_lr, first_rgb = frames[0]
    for lr, rgb in frames:
        if lr.shape != first_lr.shape or rgb.shape != first_rgb.shape:
            before, now = ((tuple(a.shape), tuple(b.shape)) for a, b in ((first_lr, first_rgb), (lr, rgb)))
            raise InputError(f"frame size changed within one video: depth and colour {before}, then {now}")
    return torch.stack([lr for lr, _ in frames]), torch.stack([rgb for _, rgb in frames])


def _advance(
    stage: Stage, state: StageState, guide: Tensor | None, grid: Tensor | None, previous: Tensor | None, last: bool
) -> tuple[_Made | None, StageState]:
    """Take new frames [1, n, ...] into a stage and finish as many frames as they allow."""
    rgb, weight, grids, spatial = state.rgb, state.weight, state.grid, state.levels[0]
    if guide is not None and grid is not None:
        encoded = stage.encode(guide[0], grid[0], None if previous is None else previous[0])
        spatial = spatial.extended(encoded.feature[None])
        rgb, weight = rgb.extended(encoded.rgb[None]), weight.extended(encoded.weight[None])
        grids = grids.extended(grid)
    levels, reach = [spatial], stage.neighbours
    for level, (name, fusion) in zip(state.levels[1:], stage.passes.items(), strict=True):
        source = levels[-1]
        stop = source.stop if last or not name.startswith("backward") else source.stop - reach
        if stop > level.stop:
            start, end = max(0, level.stop - reach), min(source.stop, stop + reach)
            pairs = Pairs.of(end - start, reach)
            differences = stage.differences(spatial.window(start, end), pairs)
            windows = [x.window(start, end) for x in (source, rgb, weight)]
            level = level.extended(fusion(name, *windows, differences, pairs, range(level.stop - start, stop - start)))
        levels.append(level)
    done, ready = state.levels[-1].stop, levels[-1].stop
    made = None
    if ready > done:
        features = [level.window(done, ready)[0] for level in levels]
        window = grids.window(done, ready)
        fused, depth, confidence = stage.reconstruction(features, window[0])
        made = _Made(depth[None], confidence[None], fused[None], window)
    return made, StageState(rgb, weight, grids, tuple(levels)).without(ready - reach)
