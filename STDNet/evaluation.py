"""Predict, score, tabulate: what the three test scripts and the validation during training run.

Sequences are streamed: one frame at a time is read, and no more than some twenty are in memory at once.
"""

from __future__ import annotations

import logging
import platform
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from STDNet import checkpoint, distributed
from STDNet.clip import Clip
from STDNet.command_line import option, parse, progress, run
from STDNet.datasets import Video, videos
from STDNet.errors import InputError
from STDNet.files import atomic_write, write_json, write_npy
from STDNet.metrics import ErrorSums
from STDNet.models import STDNet
from STDNet.streaming import DELAY, stream
from STDNet.visualize import comparison

AMP_TYPES = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CHUNK = 4  # frames that run as one batch
DEFAULT_ROOTS = {
    "tartanair": Path("dataset/TarTanAir"),
    "dydtof": Path("dataset/DyDToF"),
    "dynamic_replica": Path("dataset/DynamicReplica"),
    "folder": Path("dataset/folder"),
}
Item = TypeVar("Item")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationConfig:
    """Flags of the test scripts."""

    scale: int = option(4, "RGB pixels per depth pixel: 4, 8, 16")
    root_dir: Path | None = option(None, "where the data set lies (None: dataset/<its name>)")
    list: Path | None = option(None, "index file of the sequences (None: the paper's test list)")
    model_dir: Path | None = option(None, "checkpoint, ours or official (None: the best of experiment/STDNet_<scale>)")
    results_dir: Path | None = option(None, "folder of the results (None: experiment/<data set>_x<scale>)")
    save: tuple[str, ...] = option((), "also write the predictions: npy (metres), png (16-bit, mm)")
    protocol: str = option("paper", "units, clipping and masks: the paper's or metric", choices=("paper", "metric"))
    lr_source: str = option(
        "auto", "LR depth: files, simulated, or files where there are", choices=("auto", "files", "simulate")
    )
    max_depth: float | None = option(None, "metres that the network sees as 1 (None: the data set's in the paper)")
    frames: int | None = option(None, "score only so many frames of each sequence (None: all)")
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps")
    amp: str = option("none", "autocast type", choices=tuple(AMP_TYPES))

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.save if kind not in ("npy", "png")]
        if unknown:
            raise InputError(f"--save {unknown[0]}: choose npy, png or both")
        if self.frames is not None and self.frames < 1:
            raise InputError(f"--frames must be at least 1, got {self.frames}")


@dataclass(frozen=True)
class VideoScore:
    """One sequence: the metrics of the network and of bilinear upsampling, and the network's time."""

    name: str
    frames: int
    network: dict[str, float | None]
    bilinear: dict[str, float | None]
    seconds: float


def evaluate(config: EvaluationConfig, dataset: str, index: Path | None) -> list[VideoScore]:
    """Score a checkpoint on a data set; print the table and write results.json (and predictions, on request).

    Args:
        config: The flags of a test script.
        dataset: "tartanair", "dydtof", "dynamic_replica" or "folder".
        index: The index file that is used where `config.list` is None; None for "folder": all sequences in it.

    Returns:
        One row a sequence, the same in every process when run under torchrun.

    Raises:
        InputError: Missing or damaged data or checkpoint.
    """
    device = distributed.choose_device(config.device)
    with distributed.process_group(device):
        path = config.model_dir or _best_of(Path("experiment") / f"STDNet_{config.scale}")
        folder = config.results_dir or Path("experiment") / f"{dataset}_x{config.scale}"
        sequences = videos(
            dataset,
            config.root_dir or DEFAULT_ROOTS[dataset],
            config.list or index,
            scale=config.scale,
            protocol=config.protocol,
            lr=config.lr_source,
            max_depth_m=config.max_depth,
        )
        model = checkpoint.load(path, scale=config.scale, device=device)
        write = _writer(folder, config.save) if config.save else None
        scores = score_videos(
            model,
            sequences,
            device=device,
            amp=config.amp,
            protocol=config.protocol,
            stop=config.frames,
            write=write,
            show_progress=True,
        )
        if distributed.is_main():
            print(table(scores, dataset, config.scale, config.protocol))
            header = {"dataset": dataset, "scale": config.scale, "protocol": config.protocol, "model": str(path)}
            machine = {"machine": platform.processor() or platform.machine(), "device": str(device), "amp": config.amp}
            rows = [{**vars(score)} for score in scores]
            result = {**header, **machine, "torch": str(torch.__version__), "sequences": rows, "mean": mean(scores)}
            write_json(folder / "results.json", result)
            log.info("wrote %s", folder / "results.json")
    return scores


def score_videos(
    model: STDNet,
    sequences: Sequence[Video],
    *,
    device: torch.device,
    amp: str = "none",
    protocol: str = "paper",
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
        stop: Score only so many frames of each sequence.
        write: Called with sequence, frame and prediction [H, W] in metres.
        show_progress: A bar or plain lines on the main process.

    Returns:
        One score a sequence: the same numbers, to rounding, for any number of processes.
    """
    lengths = [len(video) if stop is None else min(stop, len(video)) for video in sequences]
    mine = list(_share(lengths, distributed.rank(), distributed.world_size()))
    sums = {(i, kind): ErrorSums() for i in range(len(sequences)) for kind in ("network", "bilinear")}
    seconds = torch.zeros(len(sequences), dtype=torch.float64)
    scored: Iterable[tuple[int, dict[str, ErrorSums], float]] = (
        (i, errors, elapsed)
        for i, start, end in mine
        for errors, elapsed in _score_span(model, sequences[i], start, end, device, amp, protocol, write)
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
        VideoScore(video.name, lengths[i], together[i, "network"], together[i, "bilinear"], float(seconds[i]))
        for i, video in enumerate(sequences)
    ]


def predict(
    model: STDNet, video: Video, start: int = 0, stop: int | None = None, *, device: torch.device, amp: str = "none"
) -> Iterator[tuple[Clip, Tensor, float]]:
    """Super-resolve frames start..stop-1 of a sequence, each as in the whole sequence.

    Args:
        model: In evaluation mode, on `device`.
        video: The sequence.
        start: First frame wanted.
        stop: The frame after the last one wanted; None for the end.
        device: Where to compute.
        amp: Autocast type.

    Yields:
        The frame as a `Clip` of one frame (on the CPU), its depth [1, 1, H, W] in metres (on `device`), and the
        seconds that the network took since the frame before.
    """
    stop = len(video) if stop is None else min(stop, len(video))
    first, end = max(0, start - DELAY), min(len(video), stop + DELAY)
    waiting: deque[Clip] = deque()

    def inputs() -> Iterator[tuple[Tensor, Tensor]]:
        for clip in _ahead(video.frames(first, end)):
            waiting.append(clip)
            lr = clip.lr[0].to(device) / video.max_depth_m
            yield lr, clip.rgb[0].to(device)

    depths = _timed(stream(model, inputs(), chunk=CHUNK), device, amp)
    for depth, seconds in islice(depths, stop - first):
        clip = waiting.popleft()
        if first >= start:
            yield clip, depth[None] * video.max_depth_m, seconds
        first += 1


def autocast(device: torch.device, amp: str) -> AbstractContextManager:
    """Autocast to the type named `amp`, a key of AMP_TYPES; nothing for "none"."""
    return nullcontext() if amp == "none" else torch.autocast(device.type, AMP_TYPES[amp])


def upsample_bilinear(lr: Tensor, scale: int) -> Tensor:
    """[T, 1, h, w] -> [T, 1, H, W], bilinear (align_corners False): the baseline of every table."""
    return F.interpolate(lr, scale_factor=float(scale), mode="bilinear", align_corners=False)


def mean(scores: Sequence[VideoScore]) -> dict[str, dict[str, float | None]]:
    """Plain means over the sequences; None where a sequence has no value."""

    def over(kind: str, name: str) -> float | None:
        values = [getattr(score, kind)[name] for score in scores]
        return None if any(value is None for value in values) else sum(values) / len(values)

    return {kind: {name: over(kind, name) for name in getattr(scores[0], kind)} for kind in ("network", "bilinear")}


def table(scores: Sequence[VideoScore], dataset: str, scale: int, protocol: str) -> str:
    """A markdown table: two rows a sequence and two of means, in cm."""
    lines = [
        f"{dataset} x{scale}, protocol {protocol}: depth errors in cm, lower is better",
        "",
        "| sequence | frames | method | RMSE | MAE | TEPE | edge RMSE | flat RMSE | s | frames/s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]

    def row(name: str, frames: int, method: str, values: dict[str, float | None], seconds: float | None) -> str:
        cells = [_number(values[key]) for key in ("rmse_cm", "mae_cm", "tepe_cm", "edge_rmse_cm", "flat_rmse_cm")]
        speed = ["-", "-"] if seconds is None else [f"{seconds:.1f}", f"{frames / max(seconds, 1e-9):.2f}"]
        return "| " + " | ".join([name, str(frames), method, *cells, *speed]) + " |"

    for score in scores:
        lines.append(row(score.name, score.frames, "bilinear", score.bilinear, None))
        lines.append(row(score.name, score.frames, "STDNet", score.network, score.seconds))
    if len(scores) > 1:
        means, frames = mean(scores), sum(score.frames for score in scores)
        lines.append(row("mean", frames, "bilinear", means["bilinear"], None))
        lines.append(row("mean", frames, "STDNet", means["network"], sum(score.seconds for score in scores)))
    return "\n".join(lines)


def _score_span(
    model: STDNet,
    video: Video,
    start: int,
    end: int,
    device: torch.device,
    amp: str,
    protocol: str,
    write: Callable[[Video, int, Tensor], None] | None,
) -> Iterator[tuple[dict[str, ErrorSums], float]]:
    """Frames start..end-1; the pair (t - 1, t) belongs to the span of t, so the frame before the span is made too."""
    before: dict[str, tuple[Tensor, Tensor, Tensor | None]] = {}
    first = max(0, start - 1)
    for t, (clip, depth, seconds) in enumerate(predict(model, video, first, end, device=device, amp=amp), start=first):
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
            "bilinear": (gt, upsample_bilinear(clip.lr, video.scale)[0, 0], valid),
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


def _ahead(items: Iterable[Item]) -> Iterator[Item]:
    """`items`, with the next one being read while the caller works on this one."""
    iterator = iter(items)
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, iterator, None)
        while (item := coming.result()) is not None:
            coming = reader.submit(next, iterator, None)
            yield item


def _timed(depths: Iterator[Tensor], device: torch.device, amp: str) -> Iterator[tuple[Tensor, float]]:
    """Each depth with the seconds it took, under autocast where asked for."""
    while True:
        started = time.perf_counter()
        with autocast(device, amp):
            depth = next(depths, None)
        if depth is None:
            return
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        yield depth, time.perf_counter() - started


@dataclass(frozen=True)
class _AnyDataset(EvaluationConfig):
    """The flags of `python -m STDNet.evaluation`."""

    dataset: str = option("folder", "which data set", choices=tuple(DEFAULT_ROOTS))


def main(argv: list[str] | None = None) -> None:
    """Predict and score on any data set; sequences without ground truth are predicted alone (with --save)."""
    description = "Predict and score on any data set; without ground truth give --save, then depth is written alone."
    config = parse(_AnyDataset, argv, description=description)
    if config.list is None and config.dataset != "folder":
        raise InputError(f"--list: name the index file of the {config.dataset} sequences")
    evaluate(config, config.dataset, None)


def _best_of(folder: Path) -> Path:
    """The checkpoint of a training run that is meant for use."""
    for name in ("best_rmse.pth", "final.pth"):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder} holds no best_rmse.pth or final.pth; run train.py first, or give --model_dir")


def _writer(folder: Path, kinds: tuple[str, ...]) -> Callable[[Video, int, Tensor], None]:
    """A function that writes one prediction under <folder>/<sequence>/, named like the data set's own depth frames."""

    def write(video: Video, t: int, depth_m: Tensor) -> None:
        path = folder / video.name / video.lr_path(t).stem
        if "npy" in kinds:
            write_npy(path.with_name(path.name + ".npy"), depth_m.numpy())
        if "png" in kinds:
            millimetres = (depth_m * 1000).round()
            if millimetres.max() > 65535 or millimetres.min() < 0:
                raise InputError(
                    f"{path}: depth {depth_m.min():.2f} to {depth_m.max():.2f} m does not fit a 16-bit PNG in mm; "
                    "use --save npy"
                )
            with atomic_write(path.with_name(path.name + ".png")) as file:
                Image.fromarray(millimetres.numpy().astype(np.uint16)).save(file, format="PNG")

    return write


def sample_picture(model: STDNet, video: Video, *, device: torch.device, amp: str = "none") -> Image.Image:
    """RGB, LR depth, ground truth, predictions and errors of the middle frame of a sequence."""
    t = len(video) // 2
    clip, depth, _ = next(predict(model, video, t, t + 1, device=device, amp=amp))
    return comparison(clip, {"STDNet": depth.cpu(), "bilinear": upsample_bilinear(clip.lr, clip.scale)})


def _number(value: Any) -> str:
    """A cell of the table."""
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    run(main)
