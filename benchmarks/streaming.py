"""What does streaming cost? python benchmarks/streaming.py prints markdown tables; --help lists the flags.

Throughput and peak memory beside the whole clip at once, cost a frame against the length, and what each lookahead costs
in accuracy. Every memory figure comes from a process of its own.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from timing import median_seconds, peak_resident_mib, processor
from torch import Tensor

from STDNet import build, checkpoint, stream
from STDNet.command_line import option, parse
from STDNet.datasets.synthetic import TEST_SEED, synthetic_videos
from STDNet.evaluation import mean, score_videos
from STDNet.models import DepthVideoModel
from STDNet.systems import SYSTEMS, WIDTHS


@dataclass(frozen=True)
class Options:
    """The flags."""

    height: int = option(192, "of the frames")
    width: int = option(256, "of the frames")
    model: str = option("stdnet", "which system", choices=tuple(SYSTEMS))
    channels: int = option(16, "width of the network, where it has one to choose")
    chunk: int = option(8, "frames that run as one batch")
    lengths: tuple[int, ...] = option((4, 16, 48), "lengths of the cost table")
    memory_lengths: tuple[int, ...] = option((60, 300), "lengths of the memory table")
    weights: str | None = option(None, "of the lookahead table (None: stdnet-s-x4, and no table for other systems)")
    clips: int = option(4, "procedural clips of the lookahead table")
    repeats: int = option(3, "timed runs; the median counts")


def main() -> None:
    options = parse(Options, description=__doc__ or "")
    print(
        f"{processor()}, torch {torch.__version__}, {options.model}, {options.channels} channels, "
        f"{options.height} x {options.width}\n"
    )
    costs(options)
    memories(options)
    if options.weights or options.model == "stdnet":
        lookaheads(options)


def costs(options: Options) -> None:
    """Milliseconds a frame against the length."""
    net = network(options)
    window = 2 * net.reach + 1
    print(f"| frames | whole clip, ms a frame | streamed | of its speed | sliding window of {window} |")
    print("|---|---|---|---|---|")
    for frames in options.lengths:
        lr, rgb = zip(*video(options, frames), strict=True)
        whole = median_ms(lambda lr=lr, rgb=rgb: net(torch.stack(lr)[None], torch.stack(rgb)[None]), options, frames)
        pairs = list(zip(lr, rgb, strict=True))
        streamed = median_ms(lambda pairs=pairs: list(stream(net, pairs, chunk=options.chunk)), options, frames)
        sliding = float("nan")
        if frames >= window:
            sliding = median_ms(lambda pairs=pairs: slide(net, pairs[:window]), options, 1)
        print(f"| {frames} | {whole:.0f} | {streamed:.0f} | {whole / streamed:.2f} | {sliding:.0f} |", flush=True)


def slide(net: DepthVideoModel, window: list[tuple[Tensor, Tensor]]) -> Tensor:
    """One frame of the naive way: a whole window for every frame."""
    lr, rgb = zip(*window, strict=True)
    return net(torch.stack(lr)[None], torch.stack(rgb)[None]).depth[0, net.reach]


def memories(options: Options) -> None:
    """Peak resident memory."""
    print("\n| frames | streamed, peak MiB | whole clip, peak MiB |\n|---|---|---|")
    context = multiprocessing.get_context("spawn")
    for frames in options.memory_lengths:
        cells = []
        for streamed in (True, False):
            with context.Pool(1) as pool:
                cells.append(f"{pool.apply(peak, (options, frames, streamed)):.0f}")
        print(f"| {frames} | {cells[0]} | {cells[1]} |", flush=True)


def peak(options: Options, frames: int, streamed: bool) -> float:
    """MiB at most resident, made in a fresh process."""
    net = network(options)
    if streamed:
        for _ in stream(net, video(options, frames), chunk=options.chunk):
            pass
    else:
        lr, rgb = zip(*video(options, frames), strict=True)
        with torch.inference_mode():
            net(torch.stack(lr)[None], torch.stack(rgb)[None])
    return peak_resident_mib()


def lookaheads(options: Options) -> None:
    """Accuracy against latency."""
    name = options.weights or "stdnet-s-x4"
    weights = checkpoint.read(name)
    net = checkpoint.build(weights)
    clips = synthetic_videos(
        TEST_SEED, options.clips, scale=net.config.scale, frames=12, size=256, max_depth_m=weights.max_depth_m
    )
    print(f"\n{name}, {options.clips} procedural clips of 12 frames, cm\n")
    print("| lookahead | RMSE | MAE | TEPE | s a frame |\n|---|---|---|---|---|")
    for lookahead in range(net.reach + 1):
        scores = score_videos(net, clips, device=torch.device("cpu"), lookahead=lookahead)
        row = mean(scores)["network"]
        seconds = sum(score.seconds for score in scores) / (12 * options.clips)
        cells = [f"{row[key]:.2f}" for key in ("rmse_cm", "mae_cm", "tepe_cm")]
        print(f"| {lookahead} | {' | '.join(cells)} | {seconds:.2f} |", flush=True)


def network(options: Options) -> DepthVideoModel:
    torch.manual_seed(0)
    return build(options.model, 4, options.channels if options.model in WIDTHS else None).eval()


def video(options: Options, frames: int) -> Iterable[tuple[Tensor, Tensor]]:
    """Frames made one at a time."""
    for t in range(frames):
        random = torch.Generator().manual_seed(t)
        lr = torch.rand(1, options.height // 4, options.width // 4, generator=random)
        yield lr, torch.rand(3, options.height, options.width, generator=random)


def median_ms(run: Callable[[], object], options: Options, frames: int) -> float:
    """Milliseconds a frame, after one run to warm up."""
    with torch.inference_mode():
        return 1e3 * median_seconds(run, torch.device("cpu"), options.repeats) / frames


if __name__ == "__main__":
    main()
