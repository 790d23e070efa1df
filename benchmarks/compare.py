"""STDNet and its neighbours under one budget: python benchmarks/compare.py --minutes 10 prints markdown tables.

Every model (small widths) trains for the same time on the same stream of procedural clips, which are rendered once,
and tested on held-out procedural clips and on real ones. What is finished is kept in --out: started again, it goes on.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from timing import median_seconds, peak_resident_mib, processor
from torch.utils.flop_counter import FlopCounterMode

from STDNet import InputError, checkpoint, distributed
from STDNet.command_line import option, parse, progress, run
from STDNet.datasets import Video, videos
from STDNet.datasets.index import read_index
from STDNet.datasets.synthetic import TEST_SEED, TRAINING_SEED, render, synthetic_videos, write
from STDNet.evaluation import mean, score_videos
from STDNet.files import write_json
from STDNet.systems import SYSTEMS, UNTRAINED, WIDTHS, BaselineConfig, configuration, create, from_plain
from STDNet.training import TrainConfig, train

log = logging.getLogger(__name__)
ABLATIONS: dict[str, dict[str, Any]] = {
    "stdnet, concatenation for both": {"spatial_difference": False, "temporal_difference": False},
    "stdnet, no spatial difference": {"spatial_difference": False},
    "stdnet, no temporal difference": {"temporal_difference": False},
    "stdnet, 1 neighbour": {"neighbours": 1},
    "stdnet, 3 neighbours": {"neighbours": 3},
    "stdnet, no spatial loss": {"alpha_spatial": 0.0},
    "stdnet, no temporal loss": {"alpha_temporal": 0.0},
    "stdnet, no difference losses": {"alpha_spatial": 0.0, "alpha_temporal": 0.0},
    "stdnet, official crops": {"paper_exact": True},
}
COLUMNS = {"rmse_cm": "RMSE", "mae_cm": "MAE", "edge_rmse_cm": "edge RMSE", "tepe_cm": "TEPE"}
# Flags that change what is measured; a result with others does not count as finished.
RELEVANT = (
    *("minutes", "scale", "channels", "frames", "single", "patch", "batchsize", "lr", "max_depth"),
    *("clips", "train_clips", "real_frames"),
)
SIZE = 256  # of the procedural clips
SPARE_FRAMES = 4  # of those to train on, beyond --frames, so that a clip has several windows
PROBE_STEPS, PROBE_WARM = 6, 2  # steps that find out how long one takes


@dataclass(frozen=True)
class Options:
    """The flags."""

    minutes: float = option(10.0, "training time of each model and seed")
    models: tuple[str, ...] = option(tuple(SYSTEMS), f"which of {', '.join(SYSTEMS)}")
    ablations: bool = option(False, "also the ablations of the paper and the official crops")
    seeds: tuple[int, ...] = option((0,), "every model is trained once for each of them")
    scale: int = option(4, "RGB pixels per depth pixel")
    channels: int = option(16, "width of the networks that have one to choose")
    frames: int = option(3, "frames of a training clip")
    single: float = option(0.5, "share of the time that trains on single frames first, which is far cheaper")
    patch: int = option(96, "HR pixels per side of a training crop")
    batchsize: int = option(2, "clips a step")
    lr: float = option(4e-4, "learning rate, falling as a cosine to zero")
    max_depth: float = option(10.0, "metres that the networks see as 1")
    train_clips: int = option(300, "procedural clips of 256 x 256 to train on")
    clips: int = option(8, "held-out procedural clips of 8 frames of 256 x 256")
    real_frames: int | None = option(None, "score only so many frames of each real clip (None: all)")
    dydtof: Path = option(Path("dataset/DyDToF"), "where DyDToF lies; left out where it is not")
    dydtof_list: Path = option(Path("data/DyDToF_test_subset.txt"), "its index file")
    tartanair: Path = option(Path("dataset/TarTanAir"), "where TarTanAir lies; left out where it is not")
    tartanair_list: Path = option(Path("data/TarTanAir_test.txt"), "its index file")
    cost_size: tuple[int, ...] = option((256, 256), "height and width of the frames that cost is measured on")
    cost_frames: int = option(8, "frames of the clip that cost is measured on")
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps")
    num_workers: int = option(1, "loader processes")
    out: Path = option(Path("experiment/compare"), "where runs and results are kept")

    def __post_init__(self) -> None:
        if unknown := [name for name in self.models if name not in SYSTEMS]:
            raise InputError(f"--models: no system is called {unknown[0]}; there are {', '.join(SYSTEMS)}")
        if self.minutes <= 0 or self.clips < 1 or len(self.cost_size) != 2:
            raise InputError("--minutes and --clips must be positive, --cost_size is height and width")
        if not 0 <= self.single < 1:
            raise InputError(f"--single is a share of the time, 0 to below 1, got {self.single}")
        if any(side % self.scale for side in (self.patch, *self.cost_size)) or self.patch > SIZE:
            raise InputError(f"--patch (at most {SIZE}) and --cost_size must be multiples of the scale")


def main(argv: list[str] | None = None) -> None:
    """Train what is not finished, test, print."""
    options = parse(Options, argv, description=__doc__ or "")
    rows: dict[str, list[dict[str, Any]]] = {}
    entries: dict[str, dict[str, Any]] = {name: {"model": name} for name in options.models}
    costs: dict[str, dict[str, float]] = {}
    # All costs before the first training, on a machine that does nothing else.
    for name, changes in {**entries, **(ABLATIONS if options.ablations else {})}.items():
        try:
            costs[name] = cost_of(options, name, changes)
        except InputError as error:
            if not str(error).startswith(f"{name}: scale"):
                raise
            print(f"left out: {error}")
    for name in costs:
        seeds = options.seeds[:1] if name in UNTRAINED else options.seeds
        rows[name] = [result(options, name, entries.get(name) or ABLATIONS[name], seed) for seed in seeds]
    print(f"\n{processor()}, torch {torch.__version__}, x{options.scale}, {options.minutes:g} minutes a model,")
    print(
        f"clips of {options.frames} x {options.patch} x {options.patch}, {options.batchsize} a step; "
        f"{options.single:.0%} of the time on single frames before"
    )
    for name in next(iter(rows.values()))[0]["accuracy"]:
        print(f"\n### {name}, cm\n\n{accuracy_table(rows, name)}")
    height, width = options.cost_size
    print(f"\n### Cost, {height} x {width}, clips of {options.cost_frames} frames\n\n{cost_table(rows, costs)}")


def result(options: Options, name: str, changes: dict[str, Any], seed: int) -> dict[str, Any]:
    """What one model with one seed gives; from its file where it is finished."""
    folder = run_folder(options, f"{name}, seed{seed}")
    path = folder / "result.json"
    settings = {key: value for key, value in asdict(options).items() if key in RELEVANT}
    sets = test_sets(options)
    if path.is_file():
        found = json.loads(path.read_text())
        if found["settings"] != settings:
            raise InputError(f"{path} has other settings; give the same flags, or another --out")
        if set(found["accuracy"]) == set(sets):
            return found
    log.info("%s, seed %d", name, seed)
    steps = 0
    if name in UNTRAINED:
        weights = checkpoint.Checkpoint(BaselineConfig(name, options.scale), {})
    else:
        steps = trained(options, changes, seed, folder)
        weights = checkpoint.read(folder / "final.pth")
    device = distributed.choose_device(options.device)
    model = checkpoint.build(weights).to(device)
    accuracy = {}
    for label, sequences in sets.items():
        stop = None if label.startswith("procedural") else options.real_frames
        scores = score_videos(model, sequences, device=device, stop=stop)
        accuracy[label] = {key: mean(scores)["network"][key] for key in COLUMNS}
    found = {"settings": settings, "accuracy": accuracy, "steps": steps}
    write_json(path, found)
    return found


def run_folder(options: Options, name: str) -> Path:
    """Where the files of that name are."""
    return options.out / f"x{options.scale}" / name.replace(", ", "_").replace(" ", "_")


def cost_of(options: Options, name: str, changes: dict[str, Any]) -> dict[str, float]:
    """What `measured_cost` gives; from its file where it is there."""
    if name in UNTRAINED:
        config = configuration(name, options.scale)
    else:
        config = training_config(options, changes, 0, Path()).system()
    create(config)  # refuses a scale that the system does not know
    path = run_folder(options, name).with_suffix(".cost.json")
    size = [options.cost_frames, *options.cost_size]
    measured = {"model": asdict(config), "size": size}
    if path.is_file() and (found := json.loads(path.read_text())) == measured | {"cost": found["cost"]}:
        return found["cost"]
    # A process of its own, for its peak memory.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        cost = pool.submit(
            measured_cost, asdict(config), *size, str(distributed.choose_device(options.device))
        ).result()
    write_json(path, measured | {"cost": cost})
    return cost


def training_config(options: Options, changes: dict[str, Any], seed: int, folder: Path) -> TrainConfig:
    """The run of a model; its length is not set yet."""
    model = changes.get("model", "stdnet")
    return TrainConfig(
        scale=options.scale,
        channels=options.channels if model in WIDTHS else TrainConfig.channels,
        root_dir=options.out / "clips",
        train_list=training_index(options),
        val_list="none",
        max_depth=options.max_depth,
        frames=options.frames,
        patch_size=options.patch,
        batchsize=options.batchsize,
        lr=options.lr,
        clip_grad=1.0,
        schedule="cosine",
        seed=seed,
        num_workers=options.num_workers,
        device=options.device,
        result_root=folder,
        **changes,
    )


def trained(options: Options, changes: dict[str, Any], seed: int, folder: Path) -> int:
    """Train for the budget, or go on where it stopped; the steps that fit into it, those on single frames included."""
    render_clips(options)
    config = training_config(options, changes, seed, folder)
    alone = replace(config, frames=1, batchsize=options.batchsize * options.frames, result_root=folder / "single")
    plan = folder / "plan.json"
    if not plan.is_file():
        seconds = {
            "single": 60 * options.minutes * options.single,
            "clips": 60 * options.minutes * (1 - options.single),
        }
        each = {"single": seconds_a_step(alone) if options.single else 1.0, "clips": seconds_a_step(config)}
        write_json(plan, {name: max(2, int(seconds[name] / each[name])) for name in each})
    steps = json.loads(plan.read_text())
    if options.single:
        train(replace(alone, steps=steps["single"], warmup=min(50, steps["single"] // 10)))
        config = replace(config, init=folder / "single" / "final.pth")
    train(replace(config, steps=steps["clips"], warmup=min(50, steps["clips"] // 10)))
    return steps["clips"] + (steps["single"] if options.single else 0)


def training_index(options: Options) -> Path:
    """The index file of the clips to train on."""
    return options.out / "clips" / f"first_{options.train_clips}_of_{options.frames + SPARE_FRAMES}_frames.txt"


def render_clips(options: Options) -> None:
    """Render the clips that are not there yet; an index file with just the first --train_clips of them."""
    root, frames = options.out / "clips", options.frames + SPARE_FRAMES
    made = root / "index.txt"
    known = {entry.sequence for entry in read_index(made)} if made.is_file() else set()
    names = {f"F{frames}S{seed:06d}": seed for seed in range(TRAINING_SEED, TRAINING_SEED + options.train_clips)}
    missing = [name for name in names if name not in known]
    for name in progress(missing, desc="rendering", unit="clips"):
        write(render(names[name], frames, SIZE, SIZE), "TarTanAir", root, f"synthetic/{name}", scales=())
    index = training_index(options)
    if not index.is_file():
        index.write_text("".join(f"synthetic, {name}, {frames}\n" for name in names))


def seconds_a_step(config: TrainConfig) -> float:
    """Median of a few steps, reading included."""
    with tempfile.TemporaryDirectory() as folder:
        probe = replace(config, steps=PROBE_STEPS, log_every=1, result_root=Path(folder))
        train(probe)
        rows = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return config.batchsize / statistics.median(row["clips_per_s"] for row in rows[PROBE_WARM:])


def test_sets(options: Options) -> dict[str, list[Video]]:
    """Held-out procedural clips, and the real clips that are there."""
    sets = {
        f"{options.clips} procedural clips": synthetic_videos(
            TEST_SEED, options.clips, scale=options.scale, frames=8, size=SIZE, max_depth_m=options.max_depth
        )
    }
    for name, root, index in (
        ("dydtof", options.dydtof, options.dydtof_list),
        ("tartanair", options.tartanair, options.tartanair_list),
    ):
        if root.is_dir():
            sets[name] = videos(name, root, index, scale=options.scale, max_depth_m=options.max_depth)
    return sets


def measured_cost(plain: dict[str, Any], frames: int, height: int, width: int, device_name: str) -> dict[str, float]:
    """Parameters, GFLOP and milliseconds a frame of a whole clip, and the memory in MiB that the process grows by."""
    device = torch.device(device_name)
    torch.manual_seed(0)
    config = from_plain(plain)
    model = create(config).to(device).eval()
    low = height // config.scale, width // config.scale
    lr, rgb = torch.rand(1, frames, 1, *low, device=device), torch.rand(1, frames, 3, height, width, device=device)
    loaded = peak_resident_mib()
    with torch.inference_mode():
        seconds = median_seconds(lambda: model(lr, rgb), device, 3)
        peak = peak_resident_mib() - loaded
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(device) / 2**20
    # The back-end whose products the counter sees; without inference mode, which hides them.
    model = create(config, deform_backend="gather").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(lr.cpu(), rgb.cpu())
    return {
        "parameters": sum(value.numel() for value in model.parameters()),
        "gflop": counter.get_total_flops() / frames / 1e9,
        "ms": 1e3 * seconds / frames,
        "peak_mib": peak,
    }


def accuracy_table(rows: dict[str, list[dict[str, Any]]], name: str) -> str:
    """One row a model; mean and, of several seeds, deviation."""
    lines = [f"| model | {' | '.join(COLUMNS.values())} |", "|---|" + "---|" * len(COLUMNS)]
    for model, results in rows.items():
        cells = [cell([result["accuracy"][name][key] for result in results]) for key in COLUMNS]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cost_table(rows: dict[str, list[dict[str, Any]]], costs: dict[str, dict[str, float]]) -> str:
    """One row a model."""
    lines = [
        "| model | parameters | GFLOP a frame | ms a frame | peak MiB | training steps |",
        "|---|---|---|---|---|---|",
    ]
    for model, results in rows.items():
        cost = costs[model]
        cells = [f"{cost['parameters']:,}", f"{cost['gflop']:.2f}", f"{cost['ms']:.1f}", f"{cost['peak_mib']:.0f}"]
        cells += [cell([result["steps"] for result in results], 0)]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(values: list[float | None], digits: int = 2) -> str:
    """The mean, with the deviation of several."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    text = f"{statistics.mean(known):.{digits}f}"
    return text + (f" ± {statistics.stdev(known):.{digits}f}" if len(known) > 1 else "")


if __name__ == "__main__":
    started = time.perf_counter()
    run(main)
    log.info("%.1f minutes in all", (time.perf_counter() - started) / 60)
