"""How fast is the dToF simulator, beside a Python loop over blocks with np.bincount? Prints one markdown table."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from STDNet import command_line
from STDNet.command_line import option
from STDNet.datasets import videos
from STDNet.simulator import simulate

BINS, RANGE_M = 1024, 100.0
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Options:
    """The flags of the benchmark."""

    root: Path | None = option(None, "a DyDToF folder to take frames from; None makes a scene up")
    list: Path = option(Path("data/DyDToF_test_subset.txt"), "its index file")
    size: tuple[int, ...] = option((528, 960), "height and width of the made-up scene")
    frames: int = option(8, "how many different frames are used in turn")
    repeat: int = option(20, "how often each is measured; the loops are measured once a frame")
    threads: int = option(torch.get_num_threads(), "threads of the simulator")
    clock: str = option(
        "wall", "cpu: processor time of all threads, for a machine that others use", choices=tuple(CLOCKS)
    )


def loop(depth_m: np.ndarray, colour: np.ndarray, scale: int, *, all_in_the_loop: bool = False) -> np.ndarray:
    """A loop over blocks; bins and weights are made for the whole frame at once, or in the loop as well."""
    lr = np.zeros((depth_m.shape[0] // scale, depth_m.shape[1] // scale), np.float32)
    if not all_in_the_loop:
        index, weight = bins_and_weights(depth_m, colour)
    for row in range(lr.shape[0]):
        for column in range(lr.shape[1]):
            block = np.s_[row * scale : (row + 1) * scale, column * scale : (column + 1) * scale]
            if all_in_the_loop:
                one, its_weight = bins_and_weights(depth_m[block], colour[block])
            else:
                one, its_weight = index[block], weight[block]
            lr[row, column] = np.bincount(one.ravel(), its_weight.ravel(), minlength=BINS).argmax()
    return lr / np.float32(BINS - 1) * np.float32(RANGE_M)


def bins_and_weights(depth_m: np.ndarray, colour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every pixel; colour is [..., 3] in 0..255."""
    fraction = depth_m / np.float32(RANGE_M)
    weight = colour.mean(-1) / (1e-3 + fraction.astype(np.float64) ** 2)
    return np.round(fraction * np.float32(BINS - 1)).astype(np.int64), np.where(depth_m > 0, weight, 0)


def made_up_frame(height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A room of floor, ceiling and back wall with 40 boxes in it: depth [H, W] and 8-bit colour [H, W, 3]."""
    rng = np.random.default_rng(seed)
    row = np.abs(np.arange(height) - height * 0.45)[:, None]
    depth = np.minimum(15, 1.5 * width / (2 * row + 1)) * np.linspace(1, 1.1, width)
    colour = rng.integers(20, 236, (height, width, 3), dtype=np.uint8)
    for _ in range(40):
        top, left = rng.integers(0, height), rng.integers(0, width)
        box = np.s_[top : top + rng.integers(20, 200), left : left + rng.integers(20, 200)]
        depth[box] = np.minimum(depth[box], rng.uniform(3, 14))
    return depth.astype(np.float32), colour


def frames(options: Options) -> list[tuple[np.ndarray, np.ndarray]]:
    """Depth [H, W] and 8-bit colour [H, W, 3]."""
    if options.root is None:
        height, width = options.size
        return [made_up_frame(height, width, seed) for seed in range(options.frames)]
    video = videos("dydtof", options.root, options.list, scale=16, lr="simulate")[0]
    times = range(0, len(video), max(1, len(video) // options.frames))[: options.frames]
    colours = [(video.read_rgb(t) * 255).round().byte().movedim(0, -1).numpy() for t in times]
    return [(video.read_depth(t).numpy(), colour) for t, colour in zip(times, colours, strict=True)]


def machine() -> str:
    """The processor's name, where the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor() or platform.machine()


def milliseconds(calls: list[Callable[[], object]], repeat: int, clock: Callable[[], float]) -> float:
    """Median time of a call, each made `repeat` times after one that is not counted."""
    calls[0]()
    times = []
    for call in calls * repeat:
        start = clock()
        call()
        times.append(1e3 * (clock() - start))
    return statistics.median(times)


def main() -> None:
    """Measure, check that all agree, print."""
    options = command_line.parse(Options, description=__doc__ or "")
    torch.set_num_threads(options.threads)
    clock = CLOCKS[options.clock]
    given = frames(options)
    ready = [(torch.from_numpy(d), torch.from_numpy(c).movedim(-1, 0).contiguous() / 255) for d, c in given]
    height, width = given[0][0].shape
    print(f"{machine()}, {options.threads} threads, torch {torch.__version__}, numpy {np.__version__};")
    print(f"{height} x {width}, one frame a call, median, {options.clock} time\n")
    print("| scale | simulate (ms) | loop over bincount (ms) | ratio | loop over everything (ms) | ratio |")
    print("|---|---|---|---|---|---|")
    for scale in (4, 8, 16):
        if not np.array_equal(simulate(*ready[0], scale).numpy(), loop(*given[0], scale)):
            raise SystemExit(f"simulate and the loop differ at x{scale}")
        fast = milliseconds([partial(simulate, *frame, scale) for frame in ready], options.repeat, clock)
        slow = milliseconds([partial(loop, *frame, scale) for frame in given], 1, clock)
        plain = milliseconds([partial(loop, *frame, scale, all_in_the_loop=True) for frame in given], 1, clock)
        print(f"| x{scale} | {fast:.2f} | {slow:.1f} | {slow / fast:.0f} | {plain:.1f} | {plain / fast:.0f} |")


if __name__ == "__main__":
    command_line.run(main)
