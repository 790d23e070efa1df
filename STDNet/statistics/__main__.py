"""The paper's long-tail histograms of any data set, before and after a network: python -m STDNet.statistics --help."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from STDNet import checkpoint, distributed
from STDNet.clip import Clip
from STDNet.command_line import option, parse, progress, run
from STDNet.datasets import Video
from STDNet.datasets.source import Source
from STDNet.errors import InputError
from STDNet.evaluation import for_inference, predict, upsample_bilinear
from STDNet.files import write_json
from STDNet.models import DepthVideoModel
from STDNet.statistics import Bins, Estimates, LongTail, figure, from_json, long_tail, table, to_json
from STDNet.visualize import check_picture_path, write_picture

DESCRIPTION = """The paper's long-tail histograms: where the error of upsampled depth lies in space (smooth, non-smooth)
and in time (still, changing pixels), and, with --weights, what a network leaves of it. Writes the figure and, beside
it, all numbers as JSON; prints a table."""


@dataclass(frozen=True)
class Options(Source):
    """The flags of the command line."""

    weights: str | None = option(
        None, "a checkpoint, or weights that ship, such as stdnet-s-x4: also after the network"
    )
    title: str | None = option(None, "what the figure calls the data (None: the data set's name)")
    bin_cm: float = option(5.0, "width of a histogram bin in cm")
    bins: int = option(60, "number of bins; one more counts what is beyond")
    redraw: Path | None = option(None, "count nothing: draw the numbers that an earlier run wrote to this .json")
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps")
    out: Path = option(Path("experiment/long_tail.png"), "the figure (.png); the numbers go beside it (.json)")


def main(argv: list[str] | None = None) -> None:
    """Count, print, draw."""
    config = parse(Options, argv, description=DESCRIPTION)
    check_picture_path(config.out)
    facts, found = _count(config) if config.redraw is None else _read(config.redraw)
    what = f"{config.title or facts['title']}: {facts['frames']} frames, x{facts['scale']}"
    print(f"{what}, protocol {facts['protocol']}; mean absolute errors in cm\n\n{table(found)}\n")
    if config.redraw is None:
        write_json(config.out.with_suffix(".json"), {**facts, **to_json(found)})
        print(f"numbers  {config.out.with_suffix('.json')}")
    write_picture(config.out, figure(found, what))
    print(f"figure   {config.out}")


def _count(config: Options) -> tuple[dict[str, Any], LongTail]:
    """The facts and the statistics of all videos."""
    bins, device = Bins(config.bin_cm / 100, config.bins), distributed.choose_device(config.device)
    net, max_depth_m = None, None
    if config.weights is not None:
        weights = checkpoint.read(config.weights, scale=config.scale)
        net, max_depth_m = for_inference(checkpoint.build(weights, source=config.weights), device), weights.max_depth_m
    names: list[str] = []
    found, frames = LongTail(bins), 0
    for video in config.open(max_depth_m):
        stop = min(config.frames or len(video), len(video))
        seen: Iterable[tuple[Clip, Tensor | None]] = _frames(video, stop, net, device)
        if net is not None:
            seen = progress(seen, total=stop, desc=video.name, unit="frames")
        found += long_tail((_estimates(video, clip, depth, config.weights) for clip, depth in seen), bins)
        frames, names = frames + stop, [*names, video.name]
    facts = {"title": config.title or config.dataset, "dataset": config.dataset, "sequences": names, "frames": frames}
    return {**facts, "scale": config.scale, "protocol": config.protocol, "weights": config.weights}, found


def _read(path: Path) -> tuple[dict[str, Any], LongTail]:
    """The facts and the statistics that an earlier run wrote."""
    try:
        numbers = json.loads(path.read_text())
        facts = {key: numbers[key] for key in ("dataset", "frames", "scale", "protocol")}
        return {**facts, "title": numbers.get("title", facts["dataset"])}, from_json(numbers)
    except (OSError, KeyError, TypeError, ValueError) as error:
        reason = error if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"--redraw {path}: {reason}") from None


def _frames(
    video: Video, stop: int, net: DepthVideoModel | None, device: torch.device
) -> Iterator[tuple[Clip, Tensor | None]]:
    """The frames, each with the network's depth [H, W] in metres where there is a network."""
    if net is None:
        yield from ((clip, None) for clip in video.frames(0, stop))
        return
    for clip, depth, _ in predict(net, video, 0, stop, device=device):
        yield clip, depth[0, 0].float().cpu()


def _estimates(video: Video, clip: Clip, depth: Tensor | None, weights: str | None) -> Estimates:
    """One frame: truth, bilinear upsampling and, where there is one, the network's depth."""
    if clip.gt is None:
        raise InputError(f"{video.name} has no ground truth: there is nothing to compare depth with")
    truth = clip.gt[0, 0]
    valid = torch.ones_like(truth, dtype=torch.bool) if clip.valid is None else clip.valid[0, 0]
    depths = {"bilinear": upsample_bilinear(clip.lr, clip.scale)[0, 0]}
    if depth is not None:
        depths[Path(str(weights)).stem] = depth
    return Estimates(truth, valid, depths)


if __name__ == "__main__":
    run(main)
