"""Score a network on sequences beside plain upsampling; the frames are shared out among all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from STDNet import distributed
from STDNet.clip import Clip
from STDNet.command_line import progress
from STDNet.datasets import Video
from STDNet.errors import InputError
from STDNet.evaluation.prediction import predict, upsample_bilinear, upsample_nearest
from STDNet.metrics import ErrorSums
from STDNet.models import DepthVideoModel

BASELINES = {"nearest": upsample_nearest, "bilinear": upsample_bilinear}


@dataclass(frozen=True)
class VideoScore:
    """One sequence: the metrics of the network and of each of BASELINES, and the network's time."""

    name: str
    frames: int
    network: dict[str, float | None]
    baselines: dict[str, dict[str, float | None]]
    seconds: float


def score_videos(
    model: DepthVideoModel,
    sequences: Sequence[Video],
    *,
    device: torch.device,
    amp: str = "none",
    protocol: str = "paper",
    lookahead: int | None = None,
    stop: int | None = None,
    write: Callable[[Video, int, Tensor], None] | None = None,
    show_progress: bool = False,
) -> list[VideoScore]:
    """Score a network on sequences, their frames shared out evenly among all processes.

    Args:
        model: In evaluation mode, on `device`.
        sequences: What to score on.
        device: Where to compute.
        amp: Autocast type, a key of AMP_TYPES.
        protocol: "paper" or "metric"; how TEPE is averaged (clipping and masks are in the sequences already).
        lookahead: Frames awaited before a frame is given, see `STDNet.streaming.stream`.
        stop: Score only so many frames of each sequence.
        write: Called with sequence, frame and prediction [H, W] in metres.
        show_progress: A bar or plain lines on the main process.

    Returns:
        One score a sequence: the same numbers, to rounding, for any number of processes.
    """
    lengths = [len(video) if stop is None else min(stop, len(video)) for video in sequences]
    mine = list(_share(lengths, distributed.rank(), distributed.world_size()))
    kinds = ("network", *BASELINES)
    predicted = partial(predict, model, device=device, amp=amp, lookahead=lookahead)
    sums = {(i, kind): ErrorSums() for i in range(len(sequences)) for kind in kinds}
    seconds = torch.zeros(len(sequences), dtype=torch.float64)
    scored: Iterable[tuple[int, dict[str, ErrorSums], float]] = (
        (i, errors, elapsed)
        for i, start, end in mine
        for errors, elapsed in _score_span(predicted, sequences[i], start, end, protocol, write)
    )
    if show_progress and distributed.is_main():
        scored = progress(scored, total=sum(end - start for _, start, end in mine), desc="scoring", unit="frames")
    for i, errors, elapsed in scored:
        for kind, error in errors.items():
            sums[i, kind] = sums[i, kind] + error
        seconds[i] += elapsed
    seconds = distributed.sum_over_ranks(seconds)
    together = {
        key: ErrorSums.from_tensor(distributed.sum_over_ranks(value.to_tensor())).metrics()
        for key, value in sums.items()
    }
    return [
        VideoScore(
            video.name,
            lengths[i],
            together[i, "network"],
            {kind: together[i, kind] for kind in BASELINES},
            float(seconds[i]),
        )
        for i, video in enumerate(sequences)
    ]


def _score_span(
    predicted: Callable[..., Iterator[tuple[Clip, Tensor, float]]],
    video: Video,
    start: int,
    end: int,
    protocol: str,
    write: Callable[[Video, int, Tensor], None] | None,
) -> Iterator[tuple[dict[str, ErrorSums], float]]:
    """Frames start..end-1; the pair (t - 1, t) belongs to the span of t, so the frame before the span is made too."""
    before: dict[str, tuple[Tensor, Tensor, Tensor | None]] = {}
    first = max(0, start - 1)
    for t, (clip, depth, seconds) in enumerate(predicted(video, first, end), start=first):
        if write is not None and t >= start:
            write(video, t, depth[0, 0].float().cpu())
        if clip.gt is None:
            if write is None:
                raise InputError(f"{video.name} has no ground truth to score against; give --save to write predictions")
            yield {}, seconds
            continue
        gt, valid = clip.gt[0, 0], None if clip.valid is None else clip.valid[0, 0]
        now = {
            "network": (gt, depth[0, 0].float().cpu(), valid),
            **{kind: (gt, upsample(clip.lr, video.scale)[0, 0], valid) for kind, upsample in BASELINES.items()},
        }
        if t >= start:
            flow = video.flow(t - 1) if before else None
            errors = {kind: ErrorSums.of_frames(*frame) for kind, frame in now.items()}
            if flow is not None:
                pairs = {kind: _pair_sums(before[kind], now[kind], flow, protocol) for kind in now}
                errors = {kind: errors[kind] + pairs[kind] for kind in now}
            yield errors, seconds
        before = now


def _pair_sums(
    earlier: tuple[Tensor, Tensor, Tensor | None],
    later: tuple[Tensor, Tensor, Tensor | None],
    flow: Tensor,
    protocol: str,
) -> ErrorSums:
    """The TEPE sums of two consecutive frames."""
    gt, prediction = torch.stack((earlier[0], later[0])), torch.stack((earlier[1], later[1]))
    valid = None if earlier[2] is None or later[2] is None else torch.stack((earlier[2], later[2]))
    return ErrorSums.of_pairs(gt, prediction, flow[None], valid, protocol=protocol)


def _share(lengths: Sequence[int], rank: int, ranks: int) -> Iterator[tuple[int, int, int]]:
    """This process's part of all frames: (sequence, start, stop), contiguous, as even as whole frames allow."""
    total = sum(lengths)
    low, high = total * rank // ranks, total * (rank + 1) // ranks
    offset = 0
    for i, length in enumerate(lengths):
        start, stop = max(low - offset, 0), min(high - offset, length)
        if start < stop:
            yield i, start, stop
        offset += length
