"""Make the LR files of a data set: python -m STDNet.simulator --help lists the flags."""

from __future__ import annotations

import dataclasses
import json
import logging
import multiprocessing
import os
import signal
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from STDNet import command_line
from STDNet.command_line import option
from STDNet.datasets import SensorRange, Video, videos
from STDNet.datasets.layout import PROTOCOLS
from STDNet.datasets.video import LAYOUTS
from STDNet.errors import InputError
from STDNet.files import write_json, write_npy
from STDNet.simulator import SensorEffects, simulate

# Beside the LR files: how they were made. Files without it are someone else's, and are never touched.
RECORD = "simulator.json"
# One message to a worker: enough frames that its cost vanishes, few enough that all workers end together.
FRAMES_A_TASK = 8

DESCRIPTION = "Make the LR depth files that a data set lacks, from its HR depth and RGB, by the paper's dToF sensor."

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """The flags of the command."""

    dataset: str = option("tartanair", "which data set", choices=tuple(LAYOUTS))
    root: Path = option(Path("dataset/TarTanAir"), "folder of the data set; the LR files go where its layout has them")
    list: Path | None = option(None, "index file of the sequences, such as data/TarTanAir_test.txt")
    scale: tuple[int, ...] = option((4, 8, 16), "HR pixels per LR pixel; one tree of LR files each")
    protocol: str = option("paper", "units of the HR depth (they differ for dynamic_replica)", choices=PROTOCOLS)
    max_range: float | None = option(None, "depth of the last bin in metres; the data set's own by default")
    bins: int | None = option(None, "bins of the histogram; the data set's own by default")
    shot_noise: float = option(0.0, "photon noise of a white zone at 10 m, relative; ours, not the paper's; 0 is off")
    dropped_zones: float = option(0.0, "probability that a zone returns 0; ours, not the paper's")
    range_limit: float | None = option(None, "zones beyond this many metres return 0; ours, not the paper's")
    seed: int = option(0, "seed of the noise")
    workers: int = option(0, "processes; 0 is one for every core")
    overwrite: bool = option(False, "make LR files again that this command has made before")


@dataclass(frozen=True)
class Task:
    """Some frames of one sequence that lack LR files.

    Attributes:
        scales: The sequence at every scale.
        frames: (frame, the places in `scales` whose file is to be made).
        effects: The sensor's noise for this sequence.
    """

    scales: tuple[Video, ...]
    frames: tuple[tuple[int, tuple[int, ...]], ...]
    effects: SensorEffects


def main(argv: list[str] | None = None) -> None:
    """Make the LR files that are missing."""
    options = command_line.parse(Options, argv, description=DESCRIPTION)
    effects = SensorEffects(options.shot_noise, options.dropped_zones, options.range_limit, options.seed)
    if options.workers < 0:
        raise InputError(f"--workers {options.workers}: must be 0 (one for every core) or more")
    sequences = list(zip(*(_videos(options, scale) for scale in dict.fromkeys(options.scale)), strict=True))
    tasks = [task for scales in sequences for task in _tasks(scales, effects, options.overwrite)]
    missing = sum(len(wanted) for task in tasks for _, wanted in task.frames)
    log.info("%d sequences, %d LR files to make", len(sequences), missing)
    frames = sum(len(task.frames) for task in tasks)
    for _ in command_line.progress(_made(tasks, options.workers), total=frames, desc="simulator", unit="frames"):
        pass


def _videos(options: Options, scale: int) -> list[Video]:
    """The sequences of the data set at one scale."""
    found = videos(options.dataset, options.root, options.list, scale=scale, protocol=options.protocol, lr="simulate")
    own = found[0].sensor if found else SensorRange()
    sensor = SensorRange(options.max_range or own.max_range_m, options.bins or own.bins)
    for video in found:
        video.sensor = sensor
    return found


def _tasks(scales: tuple[Video, ...], effects: SensorEffects, overwrite: bool) -> list[Task]:
    """What one sequence lacks; also says beside the LR files how they are about to be made."""
    wanted: dict[int, list[int]] = {}
    for place, video in enumerate(scales):
        for t in _lacking(video, _settings(video, effects), overwrite):
            wanted.setdefault(t, []).append(place)
    # Sequences share frame numbers, and shall not share noise.
    effects = dataclasses.replace(effects, seed=(effects.seed + zlib.crc32(scales[0].name.encode())) % 2**31)
    frames = [(t, tuple(places)) for t, places in sorted(wanted.items())]
    starts = range(0, len(frames), FRAMES_A_TASK)
    return [Task(scales, tuple(frames[start : start + FRAMES_A_TASK]), effects) for start in starts]


def _settings(video: Video, effects: SensorEffects) -> dict:
    """What the LR files depend on, for the record."""
    return {**dataclasses.asdict(video.sensor), **dataclasses.asdict(effects)}


def _lacking(video: Video, settings: dict, overwrite: bool) -> list[int]:
    """The frames whose LR file is to be made, after a check that what is there may stay or be replaced."""
    shape = (video.height // video.scale, video.width // video.scale)
    lacking = [t for t in range(len(video)) if not _complete(video.lr_path(t), shape)]
    record = video.lr_path(0).parent / RECORD
    if not record.is_file():
        if lacking and any(video.lr_path(t).exists() for t in range(len(video))):
            raise InputError(
                f"{video.lr_path(lacking[0])}: missing or not a whole LR frame of {shape[0]} x {shape[1]}, in a "
                "folder of LR files that this command did not make: complete them, or move them away"
            )
        if lacking:
            write_json(record, settings)
        elif overwrite:
            raise InputError(f"{record.parent}: --overwrite would replace LR files that this command did not make")
        return lacking
    made = _read_record(record)
    if overwrite:
        # Removed at once: a run that is interrupted and goes on without the flag must not keep old files as new ones.
        for t in range(len(video)):
            video.lr_path(t).unlink(missing_ok=True)
        write_json(record, settings)
        return list(range(len(video)))
    if made != settings:
        raise InputError(f"{record}: the LR files there were made with {made}; give --overwrite to replace them")
    return lacking


def _read_record(path: Path) -> dict:
    """How existing LR files were made."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); delete it and the LR files beside it") from None


def _complete(path: Path, shape: tuple[int, int]) -> bool:
    """Whether `path` is a whole LR frame, from its header and length."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False).shape[-2:] == shape
    except (OSError, ValueError, EOFError):
        return False


def _make(task: Task) -> int:
    """Make the LR files of one task; returns the number of frames."""
    for t, places in task.frames:
        depth, rgb = task.scales[0].read_depth(t), task.scales[0].read_rgb(t)
        for video in (task.scales[place] for place in places):
            sensor = dataclasses.asdict(video.sensor)
            lr = simulate(depth, rgb, video.scale, **sensor, effects=task.effects, first_frame=t)
            write_npy(video.lr_path(t), lr.numpy())
    return len(task.frames)


def _made(tasks: list[Task], workers: int) -> Iterator[None]:
    """Run the tasks; yields once for every frame."""
    workers = min(workers or os.cpu_count() or 1, len(tasks))
    if workers <= 1:
        for task in tasks:
            yield from [None] * _make(task)
        return
    # Forking a process that has used torch's threads can hang.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin_worker)
    try:
        # Ctrl-C reaches every process of the terminal. Workers inherit that they ignore it and finish their task.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            futures = [pool.submit(_make, task) for task in tasks]
        finally:
            signal.signal(signal.SIGINT, handler)
        for future in as_completed(futures):
            yield from [None] * future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    """The processes share the cores already."""
    torch.set_num_threads(1)


if __name__ == "__main__":
    # Workers look functions up by module name, and to them "__main__" is something else.
    from STDNet.simulator.__main__ import main as importable_main

    command_line.run(importable_main)
