"""Do exported files give what PyTorch gives, and how fast? python benchmarks/export.py prints a markdown table.

Clips: the sample that ships, and real clips where --clips names their folder (DyDToF/ and TarTanAir/ below it, in the
layouts of the README). The window's first T frames are compared; differences in mm over all pixels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import torch
from timing import median_seconds, processor
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
    clips: Path | None = option(None, "folder with the real clips")


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
        print("| clip | run by | largest difference (mm) | mean (mm) | ms a frame | speed over PyTorch |")
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
        with tempfile.TemporaryDirectory() as made:
            index = Path(made) / "index.txt"
            index.write_text("hospital, clip, 30\n")
            yield "TarTanAir hospital", videos("tartanair", folder / "TarTanAir", index, **settings, lr="simulate")[0]


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
        seconds = median_seconds(lambda run=run: run(lr, rgb), torch.device("cpu"), options.repeats) / options.frames
        expected, base = (found, seconds) if expected is None else (expected, base)
        difference = (found - expected).abs() * max_depth_m * 1000
        numbers = f"{difference.max():.3f} | {difference.mean():.5f}" if label != "PyTorch" else " | "
        print(
            f"| {name}, {height} x {width} | {label} | {numbers} | {1e3 * seconds:.0f} | {base / seconds:.2f}x |",
            flush=True,
        )


def onnx_runner(path: Path) -> Callable[[Tensor, Tensor], Tensor]:
    """Onnxruntime on as many threads as torch has."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    return lambda lr, rgb: torch.from_numpy(session.run(None, {"lr": lr.numpy(), "rgb": rgb.numpy()})[0])


if __name__ == "__main__":
    main()
