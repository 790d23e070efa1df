"""The statistics as a table, as JSON, and as the long-tail figure."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from PIL import Image

from STDNet.errors import InputError
from STDNet.metrics import EDGE_RADIUS, EDGE_STEP
from STDNet.statistics.long_tail import DISTANCES, QUANTITIES, Bins, Distribution, LongTail
from STDNet.visualize.charts import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    VERMILLION,
    draw,
    draw_histogram,
)

WIDTH, HEIGHT = 1200, 520
LABELS = {"depth": "depth", "difference 1": "$D_t - D_{t+1}$", "difference 2": "$D_t - D_{t+2}$"}
REGION_COLOURS = (BLUE, VERMILLION)  # the calm region, the long tail
STEP = f"{100 * EDGE_STEP:.0f} %"
FOOTNOTE = (
    f"non-smooth: within {EDGE_RADIUS} pixels of a depth step of more than {STEP} of the depth, smooth: the rest. "
    f"changing: the truth of a pixel changes\nby more than {STEP} from frame t to frame t + k, without warping, "
    "still: the rest. Shares of the error are those of the first method."
)


def table(found: LongTail) -> str:
    """A markdown table: one row a quantity and region, the mean absolute error of every method in cm."""
    methods = found.methods()
    lines = [
        f"| error of | region | pixels | share of {methods[0]}'s error | "
        + " | ".join(methods)
        + " |"
        + _head(methods),
        "|---|---|---|---|" + "---|" * (len(methods) + (len(methods) > 1)),
    ]
    for quantity, region in _rows(found):
        pixels, error = found.share(methods[0], quantity, region)
        means = [100 * found.errors[method, quantity, region].mean_m for method in methods]
        cells = [f"{mean:.2f}" for mean in means]
        ratio = [f"{means[-1] / means[0] if means[0] else math.nan:.2f}"] if len(methods) > 1 else []
        shown = [quantity, region, f"{100 * pixels:.1f} %", f"{100 * error:.1f} %", *cells, *ratio]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def to_json(found: LongTail) -> dict[str, Any]:
    """All numbers, for a JSON file: histograms as pixel counts, means in cm."""
    errors: dict[str, Any] = {}
    for (method, quantity, region), part in found.errors.items():
        errors.setdefault(method, {}).setdefault(quantity, {})[region] = _numbers(part)
    return {
        "bin_width_m": found.bins.width_m,
        "bins": found.bins.count,
        "last_count": "values beyond the bins",
        "relative_step": EDGE_STEP,
        "truth_difference": {str(distance): _numbers(part) for distance, part in found.truth.items()},
        "absolute_error": errors,
    }


def from_json(numbers: dict[str, Any]) -> LongTail:
    """The statistics that `to_json` gave, means rounded to 1 micrometre.

    Raises:
        InputError: It lacks something, so it is no such file.
    """
    try:
        errors = {
            (method, quantity, region): _distribution(part)
            for method, quantities in numbers["absolute_error"].items()
            for quantity, regions in quantities.items()
            for region, part in regions.items()
        }
        truth = {int(distance): _distribution(part) for distance, part in numbers["truth_difference"].items()}
        return LongTail(Bins(numbers["bin_width_m"], numbers["bins"]), truth, errors)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"not numbers of this command ({type(error).__name__}: {error})") from None


def figure(found: LongTail, title: str) -> Image.Image:
    """The long-tail figure: spatial histogram, temporal histogram, mean error of every region by method.

    The first method is drawn filled ("before"), a second one dashed ("after").
    """
    return draw(WIDTH, HEIGHT, title, partial(_plot, found=found))


def _plot(sheet: Any, found: LongTail) -> None:
    """Draw into a matplotlib Figure."""
    spatial, temporal, bars = sheet.subplots(1, 3, width_ratios=(1, 1, 1.15))
    methods = found.methods()
    for region, colour in zip(QUANTITIES["depth"], REGION_COLOURS, strict=True):
        for method, filled in zip(methods, (True, False), strict=False):
            shares = _shares(found.errors[method, "depth", region], found, method)
            draw_histogram(spatial, _edges_cm(found.bins), shares, colour, f"{region}, {method}", filled=filled)
    spatial.set_title("space: |GT $-$ upsampled LR|")
    spatial.set_xlabel("absolute error (cm)")
    for distance, colour, filled in zip(DISTANCES, (SKY, ORANGE), (True, False), strict=True):
        if distance in found.truth:
            part = found.truth[distance]
            shares = [count / max(part.pixels, 1) for count in part.counts[:-1].tolist()]
            label = rf"$|D_t - D_{{t+{distance}}}|$"
            draw_histogram(temporal, _edges_cm(found.bins), shares, colour, label, filled=filled)
    temporal.set_title("time: |$D_t - D_{t+k}$| of the truth")
    temporal.set_xlabel("absolute difference (cm)")
    for axes in (spatial, temporal):
        axes.set_ylim(_floor(found), 1)
        axes.set_xlim(0, _edges_cm(found.bins)[-1])
        axes.set_ylabel(f"share of all pixels, bins of {100 * found.bins.width_m:g} cm")
        if axes.get_legend_handles_labels()[0]:  # a single frame has no difference in time
            axes.legend(loc="upper right", handlelength=1.2, borderaxespad=0, labelspacing=0.3)
    _draw_bars(bars, found, methods)
    sheet.supxlabel(FOOTNOTE, x=0.01, ha="left", fontsize=10.5)


def _draw_bars(axes: Any, found: LongTail, methods: list[str]) -> None:
    """Mean absolute error of every region, one bar a method, with its number."""
    rows, shades = _rows(found), (GREY, GREEN)
    height = 0.8 / len(methods)
    means = {(method, row): _mean_cm(found, method, row) for row in rows for method in methods}
    top = max(means.values(), default=0.0) or 1.0
    for place, row in enumerate(rows):
        for i, method in enumerate(methods):
            mean = means[method, row]
            y = place + (i - (len(methods) - 1) / 2) * height
            axes.barh(y, mean, height, color=shades[i], label=None if place else method)
            axes.text(mean + top / 60, y, f"{mean:.1f}", va="center", fontsize=11)
    axes.set_yticks(range(len(rows)), [_row_label(found, methods[0], *row) for row in rows], fontsize=10.5)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlim(0, 1.17 * top)
    axes.set_title("mean absolute error")
    axes.set_xlabel("cm")
    axes.legend(loc="upper right")


def _rows(found: LongTail) -> list[tuple[str, str]]:
    """(quantity, region) of everything that was counted, in a fixed order."""
    present = {(quantity, region) for _, quantity, region in found.errors}
    return [(q, r) for q, regions in QUANTITIES.items() for r in regions if (q, r) in present]


def _mean_cm(found: LongTail, method: str, row: tuple[str, str]) -> float:
    """The mean error of a region, 0 where it has no pixel."""
    part = found.errors[method, row[0], row[1]]
    return 100 * part.mean_m if part.pixels else 0.0


def _row_label(found: LongTail, method: str, quantity: str, region: str) -> str:
    """What a row of bars is about, and how much of the picture and of the error it is."""
    pixels, error = found.share(method, quantity, region)
    return f"{LABELS[quantity]}, {region}\n{100 * pixels:.0f} % of pixels, {100 * error:.0f} % of error"


def _shares(part: Distribution, found: LongTail, method: str) -> list[float]:
    """The bounded bins of one region as shares of the pixels of all regions."""
    pixels = sum(found.errors[method, "depth", region].pixels for region in QUANTITIES["depth"])
    return [count / max(pixels, 1) for count in part.counts[:-1].tolist()]


def _edges_cm(bins: Bins) -> list[float]:
    """The borders of the bins in cm."""
    return [100 * edge for edge in bins.edges_m()]


def _floor(found: LongTail) -> float:
    """The bottom of the logarithmic scale: a decade below the share of one pixel in ten thousand, or of one pixel."""
    pixels = max((part.pixels for part in found.errors.values()), default=1)
    return max(1e-5, 0.5 / max(pixels, 1))


def _numbers(part: Distribution) -> dict[str, Any]:
    """One distribution for JSON."""
    mean = part.mean_m
    return {
        "pixels": part.pixels,
        "mean_cm": None if math.isnan(mean) else round(100 * mean, 4),
        "counts": part.counts.tolist(),
    }


def _distribution(part: dict[str, Any]) -> Distribution:
    """One distribution from JSON."""
    return Distribution(torch.tensor(part["counts"]), part["pixels"] * (part["mean_cm"] or 0.0) / 100)


def _head(methods: list[str]) -> str:
    """The heading of the ratio's column, where there is one."""
    return f" {methods[-1]} / {methods[0]} |" if len(methods) > 1 else ""
