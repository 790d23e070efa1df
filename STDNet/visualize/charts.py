"""Charts by matplotlib, as pictures: histograms, bars and training curves. The only file that opens the package."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from STDNet.errors import InputError

# Okabe and Ito's colours, told apart with every kind of colour vision (https://jfly.uni-koeln.de/color/).
BLUE, VERMILLION, GREEN, ORANGE, SKY, BLACK = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#222222"
GREY = "#999999"
DPI = 100
STYLE: dict[Any, Any] = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "figure.titlesize": 14,
}


def draw(width: int, height: int, title: str, plot: Callable[[Any], None]) -> Image.Image:
    """A chart as a picture of width x height pixels, in this project's style, drawn without a display.

    Args:
        width: Pixels across.
        height: Pixels down.
        title: The first line; may be empty.
        plot: Draws into the matplotlib Figure that it is called with.

    Raises:
        InputError: The package matplotlib is missing.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("charts need the package matplotlib: pip install 'STDNet[figures]'") from None
    content = io.BytesIO()
    with rc_context(STYLE):
        sheet = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, layout="constrained", facecolor="white")
        if title:
            sheet.suptitle(title, x=0.01, ha="left")
        plot(sheet)
        sheet.savefig(content, format="png", dpi=DPI)
    return Image.open(content).convert("RGB")


def draw_histogram(
    axes: Any, edges: Sequence[float], shares: Sequence[float], colour: str, label: str, *, filled: bool
) -> None:
    """Shares of pixels as steps on a logarithmic scale: filled, or as a dashed line."""
    look: dict[str, Any] = {"fill": True, "alpha": 0.35, "color": colour} if filled else {"color": colour, "lw": 2}
    # A zero has no logarithm: the step goes to the bottom of the axes.
    heights = [max(share, 1e-12) for share in shares]
    axes.stairs(heights, edges, baseline=1e-12, label=label, ls="-" if filled else "--", **look)
    if filled:
        axes.stairs(heights, edges, baseline=None, color=colour, lw=1.5)
    axes.set_yscale("log")
