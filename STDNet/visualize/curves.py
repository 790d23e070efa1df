"""Training curves: the metrics.jsonl of one run, or of several that went on from one another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from STDNet.errors import InputError
from STDNet.visualize.charts import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION, draw

FILE = "metrics.jsonl"
LOSSES = {"reconstruction": (BLUE, "-"), "spatial": (GREEN, "--"), "temporal": (VERMILLION, ":")}
SCORES = {"rmse_cm": ("RMSE", BLUE, "o"), "mae_cm": ("MAE", ORANGE, "s")}
WIDTH, HEIGHT = 1200, 400


class Run(NamedTuple):
    """One run: what was logged while training, and the validations; each a dictionary with its "step"."""

    name: str
    training: list[dict[str, Any]]
    validation: list[dict[str, Any]]

    @property
    def last_step(self) -> int:
        """The last step of which anything is known."""
        return max(line["step"] for line in self.training + self.validation)


def read_run(path: Path) -> Run:
    """The log of a run.

    Args:
        path: The folder of a run, or a metrics file itself.

    Returns:
        Its lines in the order of their steps. A run that was killed and went on may have logged a step twice: the later
        line counts.

    Raises:
        InputError: There is no such file, a line is no JSON object with a step, or the file is empty.
    """
    file = path / FILE if path.is_dir() or not path.suffix else path
    if not file.is_file():
        raise InputError(f"{file}: no such file; --runs takes folders of train.py, or their {FILE}")
    training: dict[int, dict[str, Any]] = {}
    validation: dict[int, dict[str, Any]] = {}
    for number, text in enumerate(file.read_text().splitlines(), start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            step = int(line["step"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file}, line {number}: not a line of {FILE} ({type(error).__name__}: {error})") from None
        if "validation" in line:
            validation[step] = {"step": step, **line["validation"]}
        else:
            training[step] = line
    if not training and not validation:
        raise InputError(f"{file}: nothing is logged in it")
    name = path.stem if file == path else path.name
    return Run(name, [training[step] for step in sorted(training)], [validation[step] for step in sorted(validation)])


def curves(runs: Sequence[Run], title: str = "") -> Image.Image:
    """Loss terms, validation errors and learning rate over the steps; each run goes on where the one before ended.

    Raises:
        InputError: The package matplotlib is missing.
    """
    return draw(WIDTH, HEIGHT, title, partial(_plot, runs=runs))


def _plot(sheet: Any, runs: Sequence[Run]) -> None:
    """Draw into a matplotlib Figure."""
    losses, scores, rates = sheet.subplots(1, 3, width_ratios=(1.35, 1, 0.8))
    start = 0
    for number, run in enumerate(runs):
        for key, (colour, line) in LOSSES.items():
            x, y = _series(run.training, key, start)
            if any(y):  # a run on single frames has no temporal term
                losses.plot(x, y, line, color=colour, lw=2, label=key)
        for key, (label, colour, marker) in SCORES.items():
            x, y = _series(run.validation, key, start)
            scores.plot(x, y, marker=marker, color=colour, lw=2, label=label)
            if y:
                scores.annotate(f"{y[-1]:.1f}", (x[-1], y[-1]), (-6, 9), textcoords="offset points", ha="center")
        rates.plot(*_series(run.training, "learning_rate", start), color=BLACK, lw=2)
        for axes in (losses, scores, rates):
            axes.axvline(start, color=GREY, lw=1.5 if number else 0)
        losses.annotate(run.name, (start, 1.0), (4, 3), ("data", "axes fraction"), "offset points", fontsize=10.5)
        start += run.last_step
    losses.set_title("loss terms", pad=22)
    losses.set(yscale="log", ylabel="mean, network units", xlabel="step", xlim=(0, start))
    scores.set_title("validation error", pad=22)
    scores.set(ylabel="cm", xlabel="step", xlim=(0, 1.04 * start), ylim=(0, 1.15 * scores.get_ylim()[1]))
    rates.set_title("learning rate", pad=22)
    rates.set(xlabel="step", ylim=(0, None), xlim=(0, start))
    rates.yaxis.set_major_formatter("{x:.0e}")
    for axes, place in ((losses, "upper left"), (scores, "center left")):
        handles, labels = axes.get_legend_handles_labels()
        known = dict(zip(labels, handles, strict=True))  # one entry a term, though every run draws its own line
        axes.legend([*known.values()], [*known], loc=place)


def _series(lines: Sequence[dict[str, Any]], key: str, start: int) -> tuple[list[int], list[float]]:
    """The steps, counted from `start`, and the values of all lines that have the key."""
    found = [(start + line["step"], line[key]) for line in lines if line.get(key) is not None]
    return [step for step, _ in found], [value for _, value in found]
