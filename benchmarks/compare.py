"""STDNet and its neighbours under one budget: python benchmarks/compare.py --minutes 10 prints markdown tables.

Every model (small widths) trains for the same time on the same stream of procedural clips, which are rendered once,
and is tested on held-out procedural clips and on real ones. The ablations take as many steps as STDNet itself. What is
finished is kept in --out: started again, it goes on.
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
from STDNet.command_line import option, parse, progress, release_freed_memory, run
from STDNet.datasets import Video, videos
from STDNet.datasets.index import read_index
from STDNet.datasets.synthetic import TEST_SEED, TRAINING_SEED, render, synthetic_videos, write
from STDNet.evaluation import for_inference, mean, score_videos
from STDNet.files import write_json
from STDNet.systems import SYSTEMS, UNTRAINED, WIDTHS, BaselineConfig, SystemConfig, configuration, create, from_plain
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
    "stdnet, official crops": {"aligned_crops": False},
}
COLUMNS = {"rmse_cm": "RMSE", "mae_cm": "MAE", "edge_rmse_cm": "edge RMSE", "tepe_cm": "TEPE"}
# Flags that change the weights; plans and results of others are refused.
TRAINING = (
    *("minutes", "scale", "channels", "frames", "single_share", "patch", "batchsize", "lr", "max_depth"),
    *("train_clips", "device"),
)
SIZE, TEST_FRAMES = 256, 8  # of the procedural clips
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
    single_share: float = option(0.5, "share of the time that trains on single frames first, which is far cheaper")
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
        for name in ("minutes", "scale", "max_depth", "clips", "train_clips", "real_frames", "cost_frames", "patch"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise InputError(f"--{name} must be positive, got {value}")
        if len(self.cost_size) != 2 or min(self.cost_size) < 1:
            raise InputError("--cost_size is height and width, both positive")
        if not 0 <= self.single_share < 1:
            raise InputError(f"--single_share is a share of the time, 0 to below 1, got {self.single_share}")
        if any(side % self.scale for side in (self.patch, *self.cost_size)) or self.patch > SIZE:
            raise InputError(f"--patch (at most {SIZE}) and --cost_size must be multiples of the scale")


def main(argv: list[str] | None = None) -> None:
    """Train what is not finished, test, print."""
    options = parse(Options, argv, description=__doc__ or "")
    entries = possible(options)
    if not entries:
        raise InputError("--models: none of them can do that; see the reasons above")
    # All costs and plans before the first training, on a machine that does nothing else.
    costs = {name: cost_of(options, name, changes) for name, changes in entries.items()}
    plans = {name: planned_steps(options, name, entries) for name in entries if name not in UNTRAINED}
    rows = {}
    for name, changes in entries.items():
        seeds = options.seeds[:1] if name in UNTRAINED else options.seeds
        rows[name] = [result(options, name, changes, plans.get(name, {}), seed) for seed in seeds]
    print(f"\n{processor()}, torch {torch.__version__}, x{options.scale}, {options.minutes:g} minutes a model,")
    print(
        f"clips of {options.frames} x {options.patch} x {options.patch}, {options.batchsize} a step; "
        f"{options.single_share:.0%} of the time on single frames before"
    )
    for name in next(iter(rows.values()))[0]["accuracy"]:
        print(f"\n### {name}, cm\n\n{accuracy_table(rows, name)}")
    height, width = options.cost_size
    print(f"\n### Cost, {height} x {width}, clips of {options.cost_frames} frames\n\n{cost_table(rows, costs)}")


def possible(options: Options) -> dict[str, dict[str, Any]]:
    """What is asked for, by name, as changes of `TrainConfig`; a system that does not know the scale is left out."""
    entries: dict[str, dict[str, Any]] = {name: {"model": name} for name in options.models}
    if options.ablations:
        entries |= ABLATIONS
    found = {}
    for name, changes in entries.items():
        try:
            create(system_of(options, name, changes))
            found[name] = changes
        except InputError as error:
            print(f"{name} is left out: {error}")
    return found


def system_of(options: Options, name: str, changes: dict[str, Any]) -> SystemConfig:
    """The configuration of a model."""
    if name in UNTRAINED:
        return configuration(name, options.scale)
    return training_config(options, changes, 0, Path()).system()


def result(options: Options, name: str, changes: dict[str, Any], steps: dict[str, int], seed: int) -> dict[str, Any]:
    """What one model with one seed gives; from its file where it is finished, scored again where the clips differ."""
    folder = run_folder(options, f"{name}, seed{seed}")
    path = folder / "result.json"
    sets = test_sets(options)
    facts = {"settings": training_settings(options), "tests": described(options, sets)}
    if (found := known(path, facts["settings"])) is not None and found["tests"] == facts["tests"]:
        return found
    log.info("%s, seed %d", name, seed)
    if name in UNTRAINED:
        weights = checkpoint.Checkpoint(BaselineConfig(name, options.scale), {})
    else:
        trained(options, changes, steps, seed, folder)
        weights = checkpoint.read(folder / "final.pth")
    device = distributed.choose_device(options.device)
    model = for_inference(checkpoint.build(weights), device)
    accuracy = {}
    for label, sequences in sets.items():
        stop = None if label.startswith("procedural") else options.real_frames
        means = mean(score_videos(model, sequences, device=device, stop=stop))["network"]
        accuracy[label] = {key: means[key] for key in COLUMNS}
    del model
    release_freed_memory()
    found = {**facts, "accuracy": accuracy, "steps": sum(steps.values())}
    write_json(path, found)
    return found


def known(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """What a file of ours says, None where there is none; refused where it is of other settings."""
    if not path.is_file():
        return None
    found = json.loads(path.read_text())
    if found.get("settings") != settings:
        raise InputError(f"{path} has other settings; give the same flags, or another --out")
    return found


def training_settings(options: Options) -> dict[str, Any]:
    """The flags that a training depends on."""
    return {name: value for name, value in asdict(options).items() if name in TRAINING}


def run_folder(options: Options, name: str) -> Path:
    """Where the files of that name are."""
    return options.out / f"x{options.scale}" / name.replace(", ", "_").replace(" ", "_")


def cost_of(options: Options, name: str, changes: dict[str, Any]) -> dict[str, float]:
    """What `measured_cost` gives; from its file where it is there."""
    config = system_of(options, name, changes)
    device = distributed.choose_device(options.device)
    path = run_folder(options, name).with_suffix(".cost.json")
    size = [options.cost_frames, *options.cost_size]
    machine = f"{processor(device)}, torch {torch.__version__}"
    measured = {"model": asdict(config), "size": size, "machine": machine}
    if path.is_file() and (found := json.loads(path.read_text())) == measured | {"cost": found["cost"]}:
        return found["cost"]
    # A process of its own, for its peak memory.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        cost = pool.submit(measured_cost, asdict(config), *size, str(device)).result()
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


def planned_steps(options: Options, name: str, entries: dict[str, dict[str, Any]]) -> dict[str, int]:
    """Steps on single frames and on clips that fit into the time, measured once for all seeds.

    Ablations take those of STDNet itself.
    """
    measured = "stdnet" if name in ABLATIONS else name
    path = run_folder(options, measured).with_suffix(".plan.json")
    settings = training_settings(options)
    if (found := known(path, settings)) is not None:
        return found["steps"]
    render_clips(options)
    clips = training_config(options, entries.get(measured, {}), 0, Path())
    phases = {
        "single": (single_frames(options, clips), options.single_share),
        "clips": (clips, 1 - options.single_share),
    }
    steps = {
        phase: max(2, int(60 * options.minutes * share / seconds_a_step(config)))
        for phase, (config, share) in phases.items()
        if share
    }
    write_json(path, {"settings": settings, "steps": steps})
    return steps


def single_frames(options: Options, config: TrainConfig) -> TrainConfig:
    """The run on single frames: as many frames a step."""
    return replace(config, frames=1, batchsize=options.batchsize * options.frames)


def trained(options: Options, changes: dict[str, Any], steps: dict[str, int], seed: int, folder: Path) -> None:
    """Train, or go on where it stopped."""
    render_clips(options)
    config = training_config(options, changes, seed, folder)
    if "single" in steps:
        alone = replace(single_frames(options, config), result_root=folder / "single")
        train(replace(alone, steps=steps["single"], warmup=min(50, steps["single"] // 10)))
        config = replace(config, init=folder / "single" / "final.pth")
    train(replace(config, steps=steps["clips"], warmup=min(50, steps["clips"] // 10)))


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
        f"procedural, {options.clips} clips": synthetic_videos(
            TEST_SEED, options.clips, scale=options.scale, frames=TEST_FRAMES, size=SIZE, max_depth_m=options.max_depth
        )
    }
    for name, (root, index) in real_sets(options).items():
        sets[name] = videos(name, root, index, scale=options.scale, max_depth_m=options.max_depth)
    return sets


def real_sets(options: Options) -> dict[str, tuple[Path, Path]]:
    """Root and index file of the real data that is there."""
    known_sets = {
        "dydtof": (options.dydtof, options.dydtof_list),
        "tartanair": (options.tartanair, options.tartanair_list),
    }
    return {name: paths for name, paths in known_sets.items() if paths[0].is_dir()}


def described(options: Options, sets: dict[str, list[Video]]) -> dict[str, Any]:
    """What is scored on, as plain values."""
    roots = {name: str(paths[0].resolve()) for name, paths in real_sets(options).items()}
    return {
        label: {"root": roots.get(label), "sequences": [video.name for video in found], "frames": options.real_frames}
        for label, found in sets.items()
    }


def measured_cost(plain: dict[str, Any], frames: int, height: int, width: int, device_name: str) -> dict[str, float]:
    """Parameters, GFLOP and milliseconds a frame of a whole clip, and the memory in MiB beyond weights and inputs."""
    device = torch.device(device_name)
    torch.manual_seed(0)
    config = from_plain(plain)
    model = create(config).to(device).eval()
    low = height // config.scale, width // config.scale
    lr, rgb = torch.rand(1, frames, 1, *low, device=device), torch.rand(1, frames, 3, height, width, device=device)
    loaded = torch.cuda.memory_allocated(device) / 2**20 if device.type == "cuda" else peak_resident_mib()
    with torch.inference_mode():
        seconds = median_seconds(lambda: model(lr, rgb), device, 3)
        peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else peak_resident_mib()
    # The back-end whose products the counter sees; without inference mode, which hides them.
    model = create(config, deform_backend="gather").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(lr.cpu(), rgb.cpu())
    return {
        "parameters": sum(value.numel() for value in model.parameters()),
        "gflop": counter.get_total_flops() / frames / 1e9,
        "ms": 1e3 * seconds / frames,
        "peak_mib": peak - loaded,
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
        # Only products are counted; interpolation and filters have none.
        gflop = f"{cost['gflop']:.2f}" if cost["gflop"] else "-"
        cells = [f"{cost['parameters']:,}", gflop, f"{cost['ms']:.1f}", f"{cost['peak_mib']:.0f}"]
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
