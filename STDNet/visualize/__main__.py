"""The project's figures, one command each: python -m STDNet.visualize comparison|slices|network|curves|pipeline."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
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
from STDNet.models import DepthVideoModel, STDNet, STDNetConfig
from STDNet.models.temporal_difference import PASSES
from STDNet.visualize import View, busiest_row, check_picture_path, over_time, worst_views, write_picture, zoomed
from STDNet.visualize.curves import curves, read_run
from STDNet.visualize.diagram import pipeline
from STDNet.visualize.inside import FrameView, against_flow, inside, recorded_alignments, stage_views

DESCRIPTION = """usage: python -m STDNet.visualize FIGURE [flags]; FIGURE is one of
comparison  one frame: error maps at one scale, boxes enlarged for every method
slices      one picture row over time (x to the right, t down)
network     what the network sees: sigma, phi, phi-hat, offsets, confidences
curves      training curves from metrics.jsonl
pipeline    the diagram of the network
Each writes one PNG; python -m STDNet.visualize FIGURE --help lists its flags."""


@dataclass(frozen=True)
class Weighted(Source):
    """Flags of the figures that show a network at work."""

    weights: str | None = option(None, "a checkpoint, or weights that ship (None: stdnet-s-x<scale>)")
    sequence: int = option(0, "which sequence of the data set, counted from 0")
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps")

    def open_one(self) -> tuple[str, DepthVideoModel, Video]:
        """The name of the weights, the network and the sequence."""
        name = self.weights or f"stdnet-s-x{self.scale}"
        found = checkpoint.read(name, scale=self.scale)
        videos = self.open(found.max_depth_m)
        if not 0 <= self.sequence < len(videos):
            raise InputError(f"--sequence {self.sequence}: {self.dataset} has sequences 0 to {len(videos) - 1}")
        video = videos[self.sequence]
        net = for_inference(checkpoint.build(found, source=name), distributed.choose_device(self.device))
        return Path(name).stem, net, video


@dataclass(frozen=True)
class Comparison(Weighted):
    """Flags of `comparison`."""

    frame: int | None = option(None, "which frame (None: the middle one)")
    box: tuple[int, ...] = option((), "boxes: left top width height in HR pixels, four numbers each (none: the worst)")
    boxes: int = option(2, "without --box: how many boxes, where bilinear upsampling errs most")
    out: Path = option(Path("experiment/comparison.png"), "the figure (.png)")


@dataclass(frozen=True)
class Slices(Weighted):
    """Flags of `slices`."""

    row: int | None = option(None, "which picture row (None: the one that crosses the most depth edges)")
    out: Path = option(Path("experiment/slices.png"), "the figure (.png)")


@dataclass(frozen=True)
class Network(Weighted):
    """Flags of `network`."""

    frame: int | None = option(None, "which frame; two more must follow it (None: the middle one)")
    propagation: str = option("backward_1", "whose offsets: of which of the four passes", choices=PASSES)
    out: Path = option(Path("experiment/network.png"), "the figure (.png)")


@dataclass(frozen=True)
class Curves:
    """Flags of `curves`."""

    runs: tuple[Path, ...] = option((), "folders of train.py, or metrics files; each goes on where the last one ended")
    title: str = option("", "the first line")
    out: Path = option(Path("experiment/curves.png"), "the figure (.png)")


@dataclass(frozen=True)
class Pipeline:
    """Flags of `pipeline`."""

    out: Path = option(Path("experiment/pipeline.png"), "the figure (.png)")


def draw_comparison(config: Comparison) -> None:
    """One frame, bilinear upsampling and a network."""
    check_picture_path(config.out)
    name, net, video = config.open_one()
    t = _frame(video, config.frame, config.frames)
    clip, depth, _ = next(predict(net, video, t, t + 1, device=_device(net)))
    truth, made = _truth(video, clip), {"bilinear": upsample_bilinear(clip.lr, clip.scale), name: depth.float().cpu()}
    if config.box:
        views = _boxes(config.box, video)
    else:
        known = torch.where(truth > 0, truth, float("nan"))[0, 0]
        views = worst_views((made["bilinear"][0, 0] - known).abs(), config.boxes)
    write_picture(config.out, zoomed(clip, made, views, f"{_label(config, video)}, frame {t}"))


def draw_slices(config: Slices) -> None:
    """One row over time."""
    check_picture_path(config.out)
    name, net, video = config.open_one()
    stop = min(config.frames or len(video), len(video))
    found = progress(predict(net, video, 0, stop, device=_device(net)), total=stop, desc=video.name, unit="frames")
    clips, depths = zip(*((clip, depth[0, 0].float().cpu()) for clip, depth, _ in found), strict=True)
    truth = torch.cat([_truth(video, clip) for clip in clips])
    row = busiest_row(truth[:, 0]) if config.row is None else config.row
    if not 0 <= row < video.height:
        raise InputError(f"--row {row}: {video.name} has rows 0 to {video.height - 1}")
    rgb, lr = torch.cat([clip.rgb for clip in clips]), torch.cat([clip.lr for clip in clips])
    made = {"bilinear": upsample_bilinear(lr, video.scale)[:, 0], name: torch.stack(depths)}
    write_picture(config.out, over_time(Clip(rgb, lr, truth), made, row, _label(config, video)))


def draw_network(config: Network) -> None:
    """What the network sees of one frame."""
    check_picture_path(config.out)
    name, net, video = config.open_one()
    if not isinstance(net, STDNet) or net.config != STDNetConfig(net.config.scale, net.config.channels):
        raise InputError(f"--weights {name}: not of the full STDNet, whose differences are shown here")
    last = len(video) - 3
    t = min(_frame(video, config.frame, config.frames), last if config.frame is None else len(video))
    if not 0 <= t <= last:
        raise InputError(f"--frame {t}: phi-hat needs two more frames; {video.name} has frames 0 to {len(video) - 1}")
    start = max(0, t - net.reach)  # what the frame depends on
    clip = video.read(start, min(len(video), t + net.reach + 1))
    truth, here, device = _truth(video, clip), t - start, _device(net)
    lr, rgb = clip.lr[None].to(device) / video.max_depth_m, clip.rgb[None].to(device)
    with torch.inference_mode(), recorded_alignments(net, config.propagation) as alignments:
        out = net(lr, rgb)
        stages = [
            type(view)(*(values.float().cpu() for values in view)) for view in stage_views(out.stages, alignments, here)
        ]
    depth = out.depth[0, here, 0].float().cpu() * video.max_depth_m
    change = (truth[here, 0] - truth[here + 1, 0]).abs()
    view = FrameView(clip.rgb[here], clip.lr[here, 0], truth[here, 0], depth, change, stages)
    neighbour = "t + 1" if config.propagation.startswith("backward") else "t - 1"
    if neighbour == "t + 1" and (flow := video.flow(t)) is not None:
        for number, stage in enumerate(stages, start=1):
            shift, motion, left = against_flow(stage.shift, flow)
            print(f"stage {number}, mean in HR pixels: offsets {shift:.2f}, flow {motion:.2f}, not followed {left:.2f}")
    title = f"{name} at work: {_label(config, video)}, frame t = {t}; offsets of {config.propagation}"
    write_picture(config.out, inside(view, title, neighbour))


def draw_curves(config: Curves) -> None:
    """Training curves."""
    check_picture_path(config.out)
    if not config.runs:
        raise InputError("--runs: name at least one folder of train.py, such as experiment/STDNet_4")
    write_picture(config.out, curves([read_run(path) for path in config.runs], config.title))


def draw_pipeline(config: Pipeline) -> None:
    """The diagram."""
    check_picture_path(config.out)
    write_picture(config.out, pipeline())


FIGURES: dict[str, tuple[type, Callable]] = {
    "comparison": (Comparison, draw_comparison),
    "slices": (Slices, draw_slices),
    "network": (Network, draw_network),
    "curves": (Curves, draw_curves),
    "pipeline": (Pipeline, draw_pipeline),
}


def main(argv: list[str] | None = None) -> None:
    """Draw the figure that the first argument names."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help"):
        print(DESCRIPTION)
        return
    name, *flags = arguments
    if name not in FIGURES:
        raise InputError(f"figure {name!r} is unknown; the first argument is one of {', '.join(FIGURES)}")
    options, drawn = FIGURES[name]
    config: Any = parse(options, flags, description=DESCRIPTION)
    drawn(config)
    print(f"{name}: {config.out}")


def _frame(video: Video, frame: int | None, frames: int | None) -> int:
    """The frame asked for, or the middle one of those used."""
    if frame is None:
        return min(frames or len(video), len(video)) // 2
    if not 0 <= frame < len(video):
        raise InputError(f"--frame {frame}: {video.name} has frames 0 to {len(video) - 1}")
    return frame


def _boxes(numbers: Sequence[int], video: Video) -> list[View]:
    """--box as views, each within the frame."""
    if len(numbers) % 4:
        raise InputError(f"--box takes left top width height for each box, got {len(numbers)} numbers")
    iterator = iter(numbers)
    views = [View(*four) for four in iter(lambda: tuple(islice(iterator, 4)), ())]
    for view in views:
        inside_frame = view.left + view.width <= video.width and view.top + view.height <= video.height
        if not inside_frame or min(view.left, view.top) < 0 or min(view.width, view.height) < 2:
            raise InputError(f"--box {' '.join(map(str, view))}: not within {video.width} x {video.height} pixels")
    return views


def _truth(video: Video, clip: Clip) -> Tensor:
    """[T, 1, H, W] metres."""
    if clip.gt is None:
        raise InputError(f"{video.name} has no ground truth to compare with")
    return clip.gt


def _label(config: Weighted, video: Video) -> str:
    """What is shown, and at which scale."""
    return f"{video.name} ({config.dataset}), x{config.scale}"


def _device(net: DepthVideoModel) -> torch.device:
    """Where the network is."""
    return next(net.parameters()).device


if __name__ == "__main__":
    run(main)
