"""What is left of an evaluation: the table, and the predictions as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from STDNet.datasets import Video
from STDNet.errors import InputError
from STDNet.evaluation.scoring import BASELINES, VideoScore
from STDNet.files import write_image, write_npy


def mean(scores: Sequence[VideoScore]) -> dict[str, dict[str, float | None]]:
    """Plain means over the sequences for "network" and each of BASELINES; None where a sequence has no value."""

    def over(rows: list[dict[str, float | None]]) -> dict[str, float | None]:
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        return {name: None if None in values else sum(values) / len(values) for name, values in columns.items()}  # type: ignore[arg-type]

    baselines = {kind: over([score.baselines[kind] for score in scores]) for kind in BASELINES}
    return {**baselines, "network": over([score.network for score in scores])}


def table(scores: Sequence[VideoScore], dataset: str, scale: int, protocol: str, label: str = "STDNet") -> str:
    """A markdown table: one row a sequence and method, and those of the means, in cm; `label` names the network."""
    lines = [
        f"{dataset} x{scale}, protocol {protocol}: depth errors in cm, lower is better",
        "",
        "| sequence | frames | method | RMSE | MAE | TEPE | edge RMSE | flat RMSE | s | frames/s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]

    def row(name: str, frames: int, method: str, values: dict[str, float | None], seconds: float | None) -> str:
        cells = [_number(values[key]) for key in ("rmse_cm", "mae_cm", "tepe_cm", "edge_rmse_cm", "flat_rmse_cm")]
        speed = ["-", "-"] if seconds is None else [f"{seconds:.1f}", f"{frames / max(seconds, 1e-9):.2f}"]
        return "| " + " | ".join([name, str(frames), method, *cells, *speed]) + " |"

    for score in scores:
        for method, values in score.baselines.items():
            lines.append(row(score.name, score.frames, method, values, None))
        lines.append(row(score.name, score.frames, label, score.network, score.seconds))
    if len(scores) > 1:
        means, frames = mean(scores), sum(score.frames for score in scores)
        for method in BASELINES:
            lines.append(row("mean", frames, method, means[method], None))
        lines.append(row("mean", frames, label, means["network"], sum(score.seconds for score in scores)))
    return "\n".join(lines)


def writer(folder: Path, kinds: tuple[str, ...]) -> Callable[[Video, int, Tensor], None]:
    """A function that writes one prediction under <folder>/<sequence>/, named like the data set's own depth frames."""

    def write(video: Video, t: int, depth_m: Tensor) -> None:
        path = folder / video.name / video.lr_path(t).stem
        if "npy" in kinds:
            write_npy(path.with_name(path.name + ".npy"), depth_m.numpy())
        if "png" in kinds:
            millimetres = (depth_m * 1000).round()
            if millimetres.max() > 65535 or millimetres.min() < 0:
                raise InputError(
                    f"{path}: depth {depth_m.min():.2f} to {depth_m.max():.2f} m does not fit a 16-bit PNG in mm; "
                    "use --save npy"
                )
            write_image(path.with_name(path.name + ".png"), Image.fromarray(millimetres.numpy().astype(np.uint16)))

    return write


def _number(value: Any) -> str:
    """A cell of the table."""
    return "-" if value is None else f"{value:.2f}"
