"""The first minute: a sample RGB-D video, a simulated depth sensor, and the weights that ship with the project.

Prints one table (nearest, bilinear, STDNet) and writes a film, a figure, the depth and the numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from STDNet import InputError, checkpoint, distributed
from STDNet.clip import Clip
from STDNet.command_line import option, parse, run
from STDNet.datasets import SensorRange, Video, synthetic
from STDNet.datasets.source import SAMPLE, sample_video
from STDNet.evaluation import for_inference, score_videos, table, upsample_bilinear, writer
from STDNet.files import write_image, write_json
from STDNet.visualize import Panel, busiest_row, colour, comparison, depth_range, film, picture, slices, stack, strip

log = logging.getLogger(__name__)
MAX_SYNTHETIC_FRAMES = 64


@dataclass(frozen=True)
class DemoConfig:
    """Flags of the demo."""

    scale: int = option(4, "RGB pixels per depth pixel", choices=(4, 8, 16))
    model: str = option("", "weights: a file, or a name that ships (default: stdnet-s-x<scale>)")
    synthetic: int | None = option(None, "instead of the sample, render the procedural video of this seed")
    frames: int = option(16, "frames of the procedural video")
    range_m: float = option(100.0, "range of the simulated sensor in metres; the paper's is 100")
    bins: int = option(1024, "histogram bins of the simulated sensor over its range; the paper's has 1024")
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps")
    out: Path = option(Path("experiment/demo"), "where the results go")

    def __post_init__(self) -> None:
        if not 3 <= self.frames <= MAX_SYNTHETIC_FRAMES:
            raise InputError(f"--frames must be 3 to {MAX_SYNTHETIC_FRAMES}, got {self.frames}")
        if self.range_m <= 0 or not 2 <= self.bins <= 65536:
            raise InputError(f"--range_m must be positive and --bins 2 to 65536, got {self.range_m} and {self.bins}")


def main() -> None:
    """Simulate, super-resolve, score, draw."""
    config = parse(DemoConfig, description=__doc__)
    name = config.model or f"stdnet-s-x{config.scale}"
    weights = checkpoint.read(name, scale=config.scale)
    device = distributed.choose_device(config.device)
    net = for_inference(checkpoint.build(weights, source=name), device)
    video = _video(config, weights.max_depth_m)

    save = writer(config.out, ("npy", "png"))
    depths: list[Tensor] = []

    def keep(video: Video, t: int, depth_m: Tensor) -> None:
        save(video, t, depth_m)
        depths.append(depth_m)

    (score,) = score_videos(net, [video], device=device, protocol="metric", write=keep, show_progress=True)
    print(table([score], name, config.scale, "metric"))
    facts = {"model": name, "scale": config.scale, "range_m": config.range_m, "bins": config.bins}
    write_json(config.out / "metrics.json", {**facts, **vars(score)})

    clip = video.read(0, len(video))
    bilinear = upsample_bilinear(clip.lr, config.scale)[:, 0]
    _draw(config.out / "comparison.png", clip, bilinear, torch.stack(depths), name)
    film(config.out / "side_by_side.mp4", _side_by_side(clip, bilinear, depths))
    print(
        f"\nfilm     {config.out / 'side_by_side.mp4'}\nfigure   {config.out / 'comparison.png'}\n"
        f"depth    {config.out / video.name}/*.npy (metres), *.png (16 bit, millimetres)\n"
        f"numbers  {config.out / 'metrics.json'}"
    )


def _video(config: DemoConfig, max_depth_m: float | None) -> Video:
    """The sample, or a procedural video that is written like it."""
    root = SAMPLE
    if config.synthetic is not None:
        root = config.out / "input"
        clip = synthetic.render(config.synthetic, config.frames, 480, 640)
        synthetic.write(clip, "DynamicReplica", root, f"synthetic/S{config.synthetic:06d}", scales=())
    sensor = SensorRange(config.range_m, config.bins)
    return sample_video(root, scale=config.scale, sensor=sensor, max_depth_m=max_depth_m)


def _draw(path: Path, clip: Clip, bilinear: Tensor, depth: Tensor, label: str) -> None:
    """Inputs, results and errors of the middle frame, and one row over time."""
    assert clip.gt is not None
    t = len(clip.rgb) // 2
    frame = Clip(clip.rgb[t : t + 1], clip.lr[t : t + 1], clip.gt[t : t + 1], name=clip.name)
    made = {"bilinear": bilinear[t][None, None], "STDNet": depth[t][None, None]}
    truth = clip.gt[:, 0]
    row = busiest_row(truth)
    over_time = slices(
        {"ground truth": truth, "bilinear": bilinear, "STDNet": depth}, row, label=f"row {row} over time"
    )
    sheet = stack([comparison(frame, made, f"{label}, frame {t}"), over_time])
    write_image(path, sheet)


def _side_by_side(clip: Clip, bilinear: Tensor, depths: list[Tensor]) -> Iterator[Image.Image]:
    """RGB, LR, bilinear, STDNet, ground truth of every frame."""
    assert clip.gt is not None
    low, high = depth_range(clip)
    for t, depth in enumerate(depths):
        maps = {"LR": clip.lr[t, 0], "bilinear": bilinear[t], "STDNet": depth, "ground truth": clip.gt[t, 0]}
        panels = [Panel("RGB", picture(clip.rgb[t])), *(Panel(k, colour(v, low, high)) for k, v in maps.items())]
        yield strip(f"frame {t}", panels, (low, high), width=320)


if __name__ == "__main__":
    run(main)
