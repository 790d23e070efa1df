"""How fast is a training step, and what does the paper's schedule cost? python benchmarks/training.py prints tables.

A step is train.py's own: network, losses, backward, gradient norm, Adam. Every row runs in a process of its own
and has its own peak memory. The paper's size: --channels 64 --frames 7 --patch 256 --batch 3, the defaults on CUDA.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass

import torch
from timing import CLOCKS, full_precision, median_seconds, peak_resident_mib, processor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from STDNet import STDNet, STDNetConfig
from STDNet.command_line import keep_freed_memory, option, parse
from STDNet.systems import SYSTEMS, UNTRAINED, WIDTHS
from STDNet.training import TrainConfig
from STDNet.training.loop import TrainingStep, network

CUDA = torch.cuda.is_available()
EPOCHS, CLIPS = 500, 6076  # the paper's schedule: epochs, and windows of seven frames an epoch

ROWS: dict[str, dict] = {  # the flags of train.py
    "fp32": {},
    "--tf32": {"tf32": True},
    "--amp bf16": {"amp": "bf16"},
    "--amp bf16 --channels_last": {"amp": "bf16", "channels_last": True},
    "--amp bf16 --channels_last --deform_conv triton": {"amp": "bf16", "channels_last": True, "deform_conv": "triton"},
    "--gradient_checkpointing": {"gradient_checkpointing": True},
    "--amp bf16 --gradient_checkpointing": {"amp": "bf16", "gradient_checkpointing": True},
    "--compile": {"compile": True},
    "--amp bf16 --channels_last --compile": {"amp": "bf16", "channels_last": True, "compile": True},
}
ON_CUDA_ALONE = ("tf32", "triton")


@dataclass(frozen=True)
class Options:
    """The flags."""

    model: str = option("stdnet", "which system", choices=tuple(name for name in SYSTEMS if name not in UNTRAINED))
    device: str = option("cuda" if CUDA else "cpu", "cpu or cuda")
    channels: int = option(64 if CUDA else 16, "width of the network, where it has one to choose")
    frames: int = option(7 if CUDA else 5, "frames per clip")
    patch: int = option(256 if CUDA else 96, "HR pixels per side of a crop")
    batch: int = option(3 if CUDA else 1, "clips of a step")
    scale: int = option(4, "RGB pixels per depth pixel")
    repeats: int = option(5 if CUDA else 3, "timed steps after one to warm up; the median counts")
    compile: bool = option(CUDA, "also the rows with --compile (minutes on a CPU)")
    largest: bool = option(CUDA, "also the largest batch that fits, found by doubling")
    clock: str = option(
        "wall", "cpu: processor time of all threads, for a CPU that others use too", choices=tuple(CLOCKS)
    )
    price: float = option(3.0, "dollars an hour of one GPU, for the table of costs")
    peak_tflops: float = option(800.0, "bf16 TFLOP/s of a large product on that GPU, for the estimate")
    share: float = option(0.25, "share of it that a step is assumed to reach, for the estimate")
    scaling: float = option(0.95, "speed kept by each GPU when several work together, assumed")


def main() -> None:
    options = parse(Options, description=__doc__ or "")
    device = torch.device(options.device)
    size = f"{options.frames} x {options.patch} x {options.patch}"
    print(f"{processor(device)}, torch {torch.__version__}, {options.clock} time")
    print(f"{options.model}, {options.channels} channels, clips of {size}\n")
    print("| flags of train.py | batch | ms a step | samples/s | over fp32 | peak memory, GiB |")
    print("|---|---|---|---|---|---|")
    rates: dict[str, float] = {}
    for label, changes in ROWS.items():
        on_cuda_alone = any(word in label for word in ON_CUDA_ALONE)
        if (device.type == "cpu" and on_cuda_alone) or ("compile" in changes and not options.compile):
            continue
        if "gradient_checkpointing" in changes and options.model != "stdnet":
            continue
        for grow in (False, True) if options.largest else (False,):
            print(row(options, label, grow, rates), flush=True)
    if rates and options.model == "stdnet":
        schedule(options, rates)


def row(options: Options, label: str, grow: bool, rates: dict[str, float]) -> str:
    """One line of the table; the speed at the asked batch goes into `rates`."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        try:
            batch, seconds, memory = pool.apply(largest if grow else step, (options, ROWS[label], options.batch))
        except Exception as error:  # a row that fails here shall not cost the others
            return f"| {label} | | {type(error).__name__}: {(str(error).splitlines() or [''])[0][:80]} | | | |"
    rate = batch / seconds
    if not grow:
        rates[label] = rate
    over = f"{rate / rates['fp32']:.2f}x" if "fp32" in rates else ""
    return f"| {label} | {batch} | {1e3 * seconds:.0f} | {rate:.3g} | {over} | {memory:.2f} |"


def step(options: Options, changes: dict, batch: int) -> tuple[int, float, float]:
    """(batch, seconds of a step, peak GiB)."""
    keep_freed_memory()
    device = torch.device(options.device)
    with full_precision(tf32=changes.get("tf32", False)):
        run = one_step(options, changes, batch, device)
        seconds = median_seconds(run, device, options.repeats, CLOCKS[options.clock])
    if device.type == "cuda":
        return batch, seconds, torch.cuda.max_memory_allocated(device) / 2**30
    return batch, seconds, peak_resident_mib() / 1024


def largest(options: Options, changes: dict, batch: int) -> tuple[int, float, float]:
    """The same at the largest batch that fits, doubling from `batch`."""
    best = None
    while True:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        try:
            best = step(options, changes, batch)
        except torch.cuda.OutOfMemoryError:
            if best is None:
                raise
            return best
        batch *= 2


def one_step(options: Options, changes: dict, batch: int, device: torch.device) -> Callable[[], None]:
    """A step as train.py takes it, on random clips."""
    torch.manual_seed(0)
    channels = options.channels if options.model in WIDTHS else TrainConfig.channels
    config = TrainConfig(model=options.model, scale=options.scale, channels=channels, **changes)
    net = network(config, device)
    module = TrainingStep(net, config)
    called = torch.compile(module) if config.compile else module
    optimizer = torch.optim.Adam(net.parameters(), lr=config.lr)
    clips = random_clips(options, batch, device)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        called(clips).total.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), float("inf"))
        optimizer.step()

    return run


def random_clips(options: Options, batch: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Depth with a little noise, random colour."""
    shape, size, low = (batch, options.frames), options.patch, options.patch // options.scale
    gt = 0.3 + 0.02 * torch.rand(*shape, 1, size, size, device=device)
    return {
        "lr": gt[..., :: options.scale, :: options.scale].contiguous().reshape(*shape, 1, low, low),
        "rgb": torch.rand(*shape, 3, size, size, device=device),
        "gt": gt,
        "valid": torch.ones_like(gt, dtype=torch.bool),
    }


def schedule(options: Options, rates: dict[str, float]) -> None:
    """Hours and dollars of the paper's schedule, from what was measured and from counted FLOP."""
    machine, priced = processor(torch.device(options.device)), options.device.startswith("cuda")
    label, rate = max(rates.items(), key=lambda item: item[1])
    size = f"{options.channels} channels, {options.frames} x {options.patch} x {options.patch}"
    print(f"\n{EPOCHS} epochs of {CLIPS} clips, hours (and dollars, at {options.price:.2f} an hour and GPU)\n")
    print("| from | samples/s of one | 1 | 2 | 8 |\n|---|---|---|---|---|")
    print(f"| measured: {size}, {label}, {machine} | {costs(options, rate, priced)} |")
    flop = paper_flop()
    estimate = options.peak_tflops * 1e12 * options.share / flop
    print(
        f"| ESTIMATE, not measured: paper's size, {flop / 1e12:.1f} TFLOP a clip (counted, forward and backward), "
        f"{options.share:.0%} of {options.peak_tflops:.0f} TFLOP/s assumed | {costs(options, estimate, True)} |"
    )
    print(f"\nEach of several is assumed to keep {options.scaling:.0%} of its speed; validation is not counted.")


def costs(options: Options, rate: float, priced: bool) -> str:
    """Cells: the rate, and hours and, for GPUs, dollars on 1, 2 and 8."""
    cells = [f"{rate:.3g}"]
    for count in (1, 2, 8):
        together = rate * count * (options.scaling if count > 1 else 1)
        hours = EPOCHS * CLIPS / together / 3600
        money = f" ({hours * count * options.price:,.0f})" if priced else ""
        cells.append(f"{hours:,.0f}{money}")
    return " | ".join(cells)


def paper_flop() -> float:
    """FLOP of forward and backward of one clip of the paper's size, counted on tensors without values."""
    paper = Options(device="cpu", channels=64, frames=7, patch=256, batch=1)
    with FakeTensorMode(), FlopCounterMode(display=False) as counter:
        net = STDNet(STDNetConfig(paper.scale, paper.channels), deform_backend="plain")
        TrainingStep(net, TrainConfig())(random_clips(paper, 1, torch.device("cpu"))).total.backward()
    return float(counter.get_total_flops())


if __name__ == "__main__":
    main()
