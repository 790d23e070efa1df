"""The test scripts' common part: flags in, table and results.json out."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from STDNet import checkpoint, distributed
from STDNet.command_line import option
from STDNet.datasets import Video, videos
from STDNet.datasets.source import DEFAULT_ROOTS, SYNTHETIC_CLIPS, SYNTHETIC_FRAMES, SYNTHETIC_SIZE
from STDNet.datasets.synthetic import TEST_SEED, synthetic_videos
from STDNet.errors import InputError
from STDNet.evaluation.prediction import AMP_TYPES, for_inference
from STDNet.evaluation.report import mean, table, writer
from STDNet.evaluation.scoring import VideoScore, score_videos
from STDNet.files import write_json
from STDNet.systems import SYSTEMS, UNTRAINED

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationConfig:
    """Flags of the test scripts."""

    model: str | None = option(
        None,
        f"which model (None: that of the checkpoint); {', '.join(UNTRAINED)} need no checkpoint",
        choices=tuple(SYSTEMS),
    )
    scale: int = option(4, "RGB pixels per depth pixel: 4, 8, 16")
    root_dir: Path | None = option(None, "where the data set lies (None: dataset/<its name>)")
    list: Path | None = option(None, "index file of the sequences (None: the paper's test list)")
    model_dir: Path | None = option(
        None,
        "checkpoint, ours or official, or weights that ship, such as stdnet-s-x4 (None: the best of "
        "experiment/STDNet_<scale>, or <model>_<scale>)",
    )
    results_dir: Path | None = option(
        None, "folder of the results (None: experiment/<data set>_x<scale>, then _<model> where it is not STDNet)"
    )
    save: tuple[str, ...] = option((), "also write the predictions: npy (metres), png (16-bit, mm)")
    protocol: str = option("paper", "units, clipping and masks: the paper's or metric", choices=("paper", "metric"))
    lr_source: str = option(
        "auto", "LR depth: files, simulated, or files where there are", choices=("auto", "files", "simulate")
    )
    max_depth: float | None = option(
        None, "metres that the network sees as 1 (None: what --max_depth was in training, else the data set's)"
    )
    frames: int | None = option(None, "score only so many frames of each sequence (None: all)")
    lookahead: int | None = option(
        None, "frames awaited before a frame is given (None: all that it is made from, 8 for STDNet); fewer come sooner"
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps")
    amp: str = option("none", "autocast type", choices=tuple(AMP_TYPES))

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.save if kind not in ("npy", "png")]
        if unknown:
            raise InputError(f"--save {unknown[0]}: choose npy, png or both")
        if self.scale < 1:
            raise InputError(f"--scale must be at least 1, got {self.scale}")
        if self.lookahead is not None and self.lookahead < 0:
            raise InputError(f"--lookahead must not be negative, got {self.lookahead}")
        if self.frames is not None and self.frames < 1:
            raise InputError(f"--frames must be at least 1, got {self.frames}")


def evaluate(config: EvaluationConfig, dataset: str, index: Path | None) -> list[VideoScore]:
    """Score a checkpoint on a data set; print the table and write results.json (and predictions, on request).

    Args:
        config: The flags of a test script.
        dataset: "tartanair", "dydtof", "dynamic_replica", "folder" or "synthetic" (held-out seeds).
        index: The index file that is used where `config.list` is None; None for "folder": all sequences in it.

    Returns:
        One row a sequence, the same in every process when run under torchrun.

    Raises:
        InputError: Missing or damaged data or checkpoint.
    """
    device = distributed.choose_device(config.device)
    with distributed.process_group(device):
        label = "STDNet" if config.model in (None, "stdnet") else config.model
        path = weights(config, f"{label}_{config.scale}")
        found = checkpoint.of_model(config.model, path, scale=config.scale)
        folder = results_folder(config, dataset, found.config.name)
        sequences = _sequences(config, dataset, index, config.max_depth or found.max_depth_m)
        model = for_inference(checkpoint.build(found, source=str(path)), device)
        write = writer(folder, config.save) if config.save else None
        scores = score_videos(
            model,
            sequences,
            device=device,
            amp=config.amp,
            protocol=config.protocol,
            lookahead=config.lookahead,
            stop=config.frames,
            write=write,
            show_progress=True,
        )
        if distributed.is_main():
            label = "STDNet" if found.config.name == "stdnet" else found.config.name
            print(table(scores, dataset, config.scale, config.protocol, label))
            facts = header(config, dataset, path, device) | {"protocol": config.protocol, "amp": config.amp}
            rows = [{**vars(score)} for score in scores]
            write_json(folder / "results.json", {**facts, "sequences": rows, "mean": mean(scores)})
            log.info("wrote %s", folder / "results.json")
    return scores


def results_folder(config: EvaluationConfig, dataset: str, model: str) -> Path:
    """Where the results go; each model has its own place."""
    suffix = "" if model == "stdnet" else f"_{model}"
    return config.results_dir or Path("experiment") / f"{dataset}_x{config.scale}{suffix}"


def header(config: EvaluationConfig, dataset: str, path: Path, device: torch.device) -> dict[str, Any]:
    """What results.json says first: what was scored, and where."""
    machine = platform.processor() or platform.machine()
    what = {"dataset": dataset, "scale": config.scale, "model": str(path)}
    return {**what, "machine": machine, "device": str(device), "torch": str(torch.__version__)}


def _sequences(
    config: EvaluationConfig, dataset: str, index: Path | None, max_depth_m: float | None
) -> Sequence[Video]:
    """What to score on."""
    if dataset == "synthetic":
        frames = config.frames or SYNTHETIC_FRAMES
        return synthetic_videos(
            TEST_SEED,
            SYNTHETIC_CLIPS,
            scale=config.scale,
            frames=frames,
            size=SYNTHETIC_SIZE,
            max_depth_m=max_depth_m,
        )
    return videos(
        dataset,
        config.root_dir or DEFAULT_ROOTS[dataset],
        config.list or index,
        scale=config.scale,
        protocol=config.protocol,
        lr=config.lr_source,
        max_depth_m=max_depth_m,
    )


def weights(config: EvaluationConfig, run: str, best: str = "best_rmse.pth") -> Path:
    """The checkpoint asked for, else the best one of experiment/<run>; for a model that needs none, its name."""
    if config.model in UNTRAINED:
        if config.model_dir is not None:
            raise InputError(f"--model {config.model} has no weights: leave out --model_dir")
        return Path(config.model)
    if config.model_dir is not None:
        return config.model_dir
    folder = Path("experiment") / run
    for name in (best, "final.pth"):
        if (folder / name).is_file():
            return folder / name
    example = ", such as stdnet-s-x4" if config.model in (None, "stdnet") else ""
    raise InputError(f"{folder} holds no {best} or final.pth; run train.py first, or give --model_dir{example}")
