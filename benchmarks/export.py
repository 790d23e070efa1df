"""Do exported files give what PyTorch gives, and how fast? python benchmarks/export.py prints a markdown table.

Clips: the sample that ships, and the DyDToF clip where --clips names the folder that holds DyDToF/. The first T frames
are compared, differences in mm over all pixels. Time is the processor's, not the wall's, so that other work beside
disturbs it little; with one thread (OMP_NUM_THREADS=1) both are the same on an idle machine.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnxruntime
import torch
from timing import processor
from torch import Tensor

from STDNet import checkpoint
from STDNet.command_line import keep_freed_memory, option, parse
from STDNet.datasets import Video, videos
from STDNet.export import FORMATS, export, onnxruntime_has_deform_conv, size_step
from STDNet.models.inputs import extend

SAMPLE = Path(__file__).resolve().parents[1] / "dataset" / "sample"


@dataclass(frozen=True)
class Options:
    """The flags."""

    weights: str = option("stdnet-s-x4", "a name or file of weights")
    frames: int = option(5, "length of the window")
    repeats: int = option(3, "timed runs after one to warm up; the median counts")
    clips: Path | None = option(None, "folder that holds DyDToF/, in the layout of the README")


def main() -> None:
    options = parse(Options, description=__doc__ or "")
    keep_freed_memory()
    weights = checkpoint.read(options.weights)
    net = checkpoint.build(weights)
    max_depth_m = weights.max_depth_m or 30.0
    print(f"{processor()}, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {options.weights}\n")
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        runs: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"PyTorch": lambda lr, rgb: net(lr, rgb).depth}
        forms = [("torch.export", "plain"), *(("onnx", form) for form in ("native", "plain"))]
        for format, form in forms:
            if (format, form) == ("onnx", "native") and not onnxruntime_has_deform_conv():
                continue
            path = Path(folder) / f"{form}{FORMATS[format]}"
            with torch.inference_mode(False):
                export(net, path, frames=options.frames, format=format, deform_conv=form)
            label = f"{'onnxruntime' if format == 'onnx' else format}, {form} ({path.stat().st_size / 1e6:.1f} MB)"
            runs[label] = onnx_runner(path) if format == "onnx" else torch.export.load(path).module()
        print("| clip | run by | largest difference (mm) | mean (mm) | CPU ms a frame | speed over PyTorch |")
        print("|---|---|---|---|---|---|")
        for name, video in clips(options.clips, net.config.scale, max_depth_m):
            measure(name, video, runs, options, net.config.scale, max_depth_m)


def clips(folder: Path | None, scale: int, max_depth_m: float) -> Iterator[tuple[str, Video]]:
    """The clips by name."""
    settings = {"scale": scale, "protocol": "metric", "max_depth_m": max_depth_m}
    yield "sample", videos("dynamic_replica", SAMPLE, SAMPLE / "index.txt", **settings, lr="simulate")[-1]
    if folder is not None:
        index = SAMPLE.parents[1] / "data" / "DyDToF_test_subset.txt"
        yield "DyDToF school_shot8", videos("dydtof", folder / "DyDToF", index, **settings)[0]


def measure(
    name: str,
    video: Video,
    runs: dict[str, Callable[[Tensor, Tensor], Tensor]],
    options: Options,
    scale: int,
    max_depth_m: float,
) -> None:
    """The rows of one clip."""
    clip = video.read(0, options.frames)
    lr, rgb = (clip.lr / max_depth_m)[None], clip.rgb[None]
    height, width = rgb.shape[-2:]
    step = size_step(scale)
    rows, columns = -(-height // step) * step, -(-width // step) * step
    lr, rgb = extend(lr, rows // scale, columns // scale), extend(rgb, rows, columns)
    expected, base = None, 0.0
    for label, run in runs.items():
        found = run(lr, rgb)[..., :height, :width]
        seconds = processor_seconds(partial(run, lr, rgb), options.repeats) / options.frames
        expected, base = (found, seconds) if expected is None else (expected, base)
        difference = (found - expected).abs() * max_depth_m * 1000
        numbers = f"{difference.max():.3f} | {difference.mean():.5f}" if label != "PyTorch" else " | "
        print(
            f"| {name}, {height} x {width} | {label} | {numbers} | {1e3 * seconds:.0f} | {base / seconds:.2f}x |",
            flush=True,
        )


def processor_seconds(run: Callable[[], object], repeats: int) -> float:
    """Median processor time of some calls, over all threads."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return statistics.median(times)


def onnx_runner(path: Path) -> Callable[[Tensor, Tensor], Tensor]:
    """Onnxruntime on as many threads as torch has."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    return lambda lr, rgb: torch.from_numpy(session.run(None, {"lr": lr.numpy(), "rgb": rgb.numpy()})[0])


if __name__ == "__main__":
    main()
