"""How many training clips a second do the loaders give? python benchmarks/loading.py prints one markdown table.

Beside ours stands a plain loader, which reads whole frames, simulates whole frames, and crops at the end; both give the
same bits, which is checked. The data set is procedural, in the layout and size of TarTanAir, in a temporary folder.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timing import CLOCKS, processor
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from STDNet.command_line import option, parse
from STDNet.datasets import ClipDataset, Video, videos
from STDNet.datasets.synthetic.__main__ import main as write_synthetic
from STDNet.simulator import simulate

LOADERS = ("plain", "ours", "ours, --cache")


@dataclass(frozen=True)
class Options:
    """The flags."""

    root: Path | None = option(None, "a TarTanAir folder with index.txt; None writes procedural videos")
    videos: int = option(2, "procedural videos to write")
    length: int = option(16, "frames of each")
    size: tuple[int, ...] = option((480, 640), "height and width of the frames")
    scale: int = option(4, "HR pixels per LR pixel")
    frames: int = option(7, "frames of a clip")
    patch: int = option(256, "HR pixels per side of a crop")
    clips: int = option(24, "timed clips of every cell")
    workers: tuple[int, ...] = option((0, 1, 2), "loader processes (0 1 2 4 8 16)")
    clock: str = option(
        "wall", "cpu: processor time, for a machine that others use too; without workers alone", choices=tuple(CLOCKS)
    )
    rounds: int = option(3, "how often each loader takes its turn; the fastest counts, other work only slows it")


class PlainClips(Dataset):
    """The same samples as a `ClipDataset`, read the plain way: whole frames, cropped at the end."""

    def __init__(self, clips: ClipDataset) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        clips = self.clips
        random = np.random.default_rng([clips.seed, clips.epoch, index])
        number, first = clips.windows[index]
        video = clips.videos[number]
        box, lr_box = clips._crop(video, random)
        rgb, depth, lr = [], [], []
        for t in range(first, first + clips.frames):
            frame = video.layout.frames[t]
            with Image.open(frame.rgb) as picture:
                rgb.append(torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1).float() / 255)
            depth.append(torch.from_numpy(np.load(frame.depth)))
            if not video.simulated:
                lr.append(torch.from_numpy(np.load(frame.lr)).reshape(video.height // video.scale, -1))
        colour, gt = torch.stack(rgb), torch.stack(depth)[:, None]
        if video.simulated:
            sensor = video.sensor
            low = simulate(gt[:, 0], colour, video.scale, max_range_m=sensor.max_range_m, bins=sensor.bins)[:, None]
        else:
            low = torch.stack(lr)[:, None]
        rows, columns = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
        gt, colour = gt[..., rows, columns], colour[..., rows, columns]
        rows, columns = (
            slice(lr_box.top, lr_box.top + lr_box.height),
            slice(lr_box.left, lr_box.left + lr_box.width),
        )
        sample = {"lr": low[..., rows, columns] / video.max_depth_m, "rgb": colour, "gt": gt / video.max_depth_m}
        horizontal, vertical, transpose = random.random(3) < 0.5
        axes = [axis for axis, wanted in ((-1, horizontal), (-2, vertical)) if wanted]
        turned = {name: value.flip(axes) for name, value in sample.items()}
        return {name: (x.transpose(-1, -2) if transpose else x).contiguous() for name, x in turned.items()}


def main() -> None:
    options = parse(Options, description=__doc__ or "")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = options.root or written(options, Path(folder) / "data")
        print(
            f"{processor()}, {os.cpu_count()} cores, torch {torch.__version__}, clips of {options.frames} frames of "
            f"{options.patch} x {options.patch}, clips/s of {options.clock} time; in brackets: over the plain loader\n"
        )
        print(f"| LR depth | workers | {' | '.join(LOADERS)} |\n|---|---|{'---|' * len(LOADERS)}")
        for lr in ("files", "simulate"):
            loaders = made(options, root, lr, Path(folder) / "cache")
            check(loaders)
            for workers in options.workers if options.clock == "wall" else (0,):
                rates = {name: 0.0 for name in LOADERS}
                for _ in range(options.rounds):
                    for name, dataset in loaders.items():
                        rates[name] = max(rates[name], rate(dataset, workers, options.clips, CLOCKS[options.clock]))
                cells = [f"{value:.1f} ({value / rates['plain']:.1f}x)" for value in rates.values()]
                print(f"| {'files' if lr == 'files' else 'simulated'} | {workers} | {' | '.join(cells)} |", flush=True)


def written(options: Options, root: Path) -> Path:
    """A data set of procedural videos."""
    height, width = options.size
    sizes = {"clips": options.videos, "frames": options.length, "height": height, "width": width}
    flags = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    write_synthetic([*flags, "--layout", "TarTanAir", "--out", str(root), "--scales", str(options.scale)])
    return root


def made(options: Options, root: Path, lr: str, cache: Path) -> dict[str, Dataset]:
    """The loaders by name."""

    def clips(cache: Path | None) -> ClipDataset:
        found: list[Video] = videos(
            "tartanair", root, root / "index.txt", scale=options.scale, lr=lr, max_depth_m=30.0, cache=cache
        )
        return ClipDataset(found, frames=options.frames, patch=options.patch)

    return dict(zip(LOADERS, (PlainClips(clips(None)), clips(None), clips(cache)), strict=True))


def check(loaders: dict[str, Dataset]) -> None:
    """All loaders give the same bits; this also fills the cache and the system's own."""
    plain = loaders["plain"]
    for index in range(len(plain)):  # type: ignore[arg-type]
        expected = plain[index]
        for name in LOADERS[1:]:
            found = loaders[name][index]
            for key, value in expected.items():
                if not torch.equal(found[key], value):
                    raise SystemExit(f"{name} and the plain loader differ in {key} of clip {index}")


def rate(dataset: Dataset, workers: int, clips: int, clock: Callable[[], float]) -> float:
    """Clips a second; with workers, from the first clip on, so that starting them does not count."""
    order = [i % len(dataset) for i in range(clips + max(1, workers))]  # type: ignore[arg-type]
    loader = iter(DataLoader(dataset, batch_size=1, sampler=order, num_workers=workers))
    for _ in range(max(1, workers)):
        next(loader)
    started = clock()
    count = sum(1 for _ in loader)
    return count / (clock() - started)


if __name__ == "__main__":
    main()
