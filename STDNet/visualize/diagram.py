"""The diagram of the network: both stages from left to right, and the two branches from inside.

What it shows is what `STDNet.models` computes; one unit of the drawing is ten pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from STDNet.visualize.charts import BLACK, GREY, draw

WIDTH, HEIGHT = 1200, 820
DEPTH, COLOUR, DIFFERENCE, OUTPUT, PLAIN = "#cfe3f3", "#fbe6c8", "#f6cdb8", "#cdebe0", "#eeeeee"
PASSES = ("backward\n1", "forward\n1", "backward\n2", "forward\n2")
GREY_TEXT = "#666666"
SMALL, NORMAL = 11.5, 12.5
Point = tuple[float, float]


def pipeline() -> Image.Image:
    """The diagram, 1200 x 820 pixels.

    Raises:
        InputError: The package matplotlib is missing.
    """
    return draw(WIDTH, HEIGHT, "", _plot)


def _plot(sheet: Any) -> None:
    """Draw into a matplotlib Figure."""
    sheet.set_layout_engine("none")
    axes = sheet.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH / 10), ylim=(0, HEIGHT / 10))
    axes.set_axis_off()
    _box(axes, 1, 71, 12, 7, "RGB video\n$H \\times W$", COLOUR)
    _box(axes, 1, 60.5, 12, 7, "LR depth\n$H/s \\times W/s$", DEPTH)
    _stage(axes, 59, "stage 1: features on the grid $H/4 \\times W/4$")
    _stage(axes, 33, "stage 2")
    _arrow(axes, (13, 74.5), (17, 74.5))
    _arrow(axes, (13, 64), (17, 64))
    _arrow(axes, (7, 60.5), (7, 38), (17, 38))
    _between(axes)
    _result(axes)
    _inside_space(axes)
    _inside_time(axes)


def _stage(axes: Any, y: float, name: str) -> None:
    """One stage, its lower edge at `y`."""
    _frame(axes, 15, y, 88, 22, name)
    _box(axes, 17, y + 12, 10, 7, "guide\nencoder", COLOUR)
    _box(axes, 17, y + 1.5, 10, 7, "depth\nencoder", DEPTH)
    _box(axes, 30.5, y + 3.5, 11.5, 13.5, "spatial\ndifference\n$\\sigma$", DIFFERENCE)
    _box(axes, 45.5, y + 5.5, 8, 9.5, "residual\nblocks\n$S$", PLAIN)
    _arrow(axes, (27, y + 15.5), (30.5, y + 15.5))
    _arrow(axes, (27, y + 5), (30.5, y + 5))
    _arrow(axes, (42, y + 10.2), (45.5, y + 10.2))
    _box(axes, 57, y + 15.5, 32.6, 4, "$\\varphi = |S_t - S_{t+1}|,\\quad \\hat\\varphi = |S_t - S_{t+2}|$", DIFFERENCE)
    _arrow(axes, (49.5, y + 15), (49.5, y + 17.5), (57, y + 17.5))
    before = 53.5
    for number, label in enumerate(PASSES):
        left = 57 + 8.4 * number
        _box(axes, left, y + 6.5, 7.4, 6.5, label, DIFFERENCE, 10.8)
        _arrow(axes, (before, y + 9.7), (left, y + 9.7))
        _arrow(axes, (left + 3.7, y + 15.5), (left + 3.7, y + 13))
        _line(axes, (left + 3.7, y + 6.5), (left + 3.7, y + 3.5))
        before = left + 7.4
    _line(axes, (49.5, y + 5.5), (49.5, y + 3.5), (88, y + 3.5))
    _arrow(axes, (88, y + 3.5), (92, y + 3.5))
    _text(axes, 68, y + 1.7, "all five features", SMALL, GREY_TEXT)
    _box(axes, 92, y + 2, 10, 17.5, "recon-\nstruction\n\nshuffle $\\times 4$,\n+ bilinear\nLR depth", OUTPUT, SMALL)


def _between(axes: Any) -> None:
    """What stage 1 hands to stage 2."""
    _arrow(axes, (99, 61), (99, 57.8), (11, 57.8), (11, 48.5), (17, 48.5))
    _label(axes, 30, 57.8, "depth 1 and confidence 1 are the guide")
    _arrow(axes, (95, 61), (95, 56.1), (43.6, 56.1), (43.6, 46), (45.5, 46))
    _label(axes, 68, 56.1, "fused feature of stage 1")


def _result(axes: Any) -> None:
    """Blend and output."""
    _box(axes, 105, 46, 14, 11, "blend:\nsoftmax of the\nconfidences", OUTPUT, SMALL)
    _box(axes, 105, 67.5, 14, 8, "HR depth\n$H \\times W$", DEPTH)
    _arrow(axes, (102, 63), (107, 63), (107, 57))
    _arrow(axes, (102, 42), (112, 42), (112, 46))
    _arrow(axes, (114.5, 57), (114.5, 67.5))


def _inside_space(axes: Any) -> None:
    """The spatial difference branch."""
    _frame(axes, 1, 1, 57, 29, "inside the spatial difference")
    _box(axes, 2, 19, 9.5, 6, "depth\nfeature $F$", DEPTH, SMALL)
    _box(axes, 15.5, 19, 12, 6, "$\\sigma = |F - $\n$\\mathrm{up}_2(\\mathrm{down}_2 F)|$", DIFFERENCE, SMALL)
    _box(axes, 15.5, 5.8, 12, 6, "RGB\nfeature", COLOUR, SMALL)
    _box(axes, 31, 19, 12, 6, "$3 \\times 3$ filter $K$\nof every pixel", PLAIN, SMALL)
    _box(axes, 31, 11.5, 12, 6, "weight $w$\nof every pixel", PLAIN, SMALL)
    _box(axes, 46, 12, 11, 13, "guide $G =$\n$w \\cdot$ RGB\n$+ \\beta \\, K * $RGB", COLOUR, SMALL)
    _box(axes, 46, 2, 11, 6, "residual\ngroup [$F$, $G$]", OUTPUT, SMALL)
    _arrow(axes, (11.5, 22), (15.5, 22))
    _arrow(axes, (27.5, 22), (31, 22))
    _arrow(axes, (29.2, 22), (29.2, 14.5), (31, 14.5))
    _arrow(axes, (43, 22), (46, 22))
    _arrow(axes, (43, 14.5), (46, 14.5))
    _arrow(axes, (27.5, 8.8), (48.5, 8.8), (48.5, 12))
    _arrow(axes, (13.5, 22), (13.5, 3.8), (46, 3.8))
    _arrow(axes, (54, 12), (54, 8))


def _inside_time(axes: Any) -> None:
    """One pass of the temporal difference branch."""
    _frame(axes, 61, 1, 58, 29, "inside one pass (it reads the pass before, never itself)")
    _box(axes, 62, 19, 11, 6, "frame $t$", DEPTH, SMALL)
    _box(axes, 62, 11.5, 11, 6, "$\\varphi$ or $\\hat\\varphi$", DIFFERENCE, SMALL)
    _box(axes, 62, 2.5, 11, 7.5, "neighbour\n$t \\pm 1, t \\pm 2$:\ndepth, RGB", COLOUR, SMALL)
    _box(axes, 77, 13.5, 11.5, 8.5, "offsets and\nmasks of\n$3 \\times 3$ taps", PLAIN, SMALL)
    _box(axes, 77, 2.5, 11.5, 7.5, "deformable\nconvolution", PLAIN, SMALL)
    _box(axes, 92, 6, 12.5, 12.5, "residual group\n[frame $t$,\ndepth,\n$w \\cdot$ RGB]", OUTPUT, SMALL)
    _box(axes, 107.5, 8, 10.5, 8.5, "sum over\nboth\nneighbours", OUTPUT, SMALL)
    _arrow(axes, (73, 20.5), (77, 20.5))
    _arrow(axes, (73, 23.7), (98.2, 23.7), (98.2, 18.5))
    _arrow(axes, (73, 15), (77, 15))
    _arrow(axes, (73, 6.2), (77, 6.2))
    _arrow(axes, (82.7, 13.5), (82.7, 10))
    _arrow(axes, (88.5, 8), (92, 8))
    _arrow(axes, (104.5, 12.2), (107.5, 12.2))


def _box(
    axes: Any, x: float, y: float, width: float, height: float, text: str, colour: str, size: float = NORMAL
) -> None:
    """A box with its text in the middle."""
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(
        FancyBboxPatch((x, y), width, height, "round,pad=0,rounding_size=0.8", fc=colour, ec="#555555", lw=1.2)
    )
    _text(axes, x + width / 2, y + height / 2, text, size, BLACK)


def _frame(axes: Any, x: float, y: float, width: float, height: float, name: str) -> None:
    """A frame around what belongs together, its name at the top left."""
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(
        FancyBboxPatch((x, y), width, height, "round,pad=0,rounding_size=1", fc="#fafafa", ec=GREY, lw=1.2, zorder=0)
    )
    axes.text(x + 1, y + height - 0.8, name, fontsize=NORMAL, color=GREY_TEXT, va="top", ha="left")


def _text(axes: Any, x: float, y: float, text: str, size: float, colour: str) -> None:
    """Text around a point."""
    axes.text(x, y, text, fontsize=size, color=colour, ha="center", va="center", linespacing=1.25)


def _label(axes: Any, x: float, y: float, text: str) -> None:
    """Text on a line, which it interrupts."""
    look = {"boxstyle": "square,pad=0.15", "fc": "white", "ec": "none"}
    axes.text(x, y, text, fontsize=SMALL, color=GREY_TEXT, ha="center", va="center", bbox=look, zorder=3)


def _line(axes: Any, *points: Point) -> None:
    """A line through the points."""
    axes.plot(*zip(*points, strict=True), color="#444444", lw=1.5, solid_joinstyle="round", zorder=1)


def _arrow(axes: Any, *points: Point) -> None:
    """A line through the points that ends in an arrow."""
    _line(axes, *points[:-1], _short_of(points))
    look = {"arrowstyle": "-|>", "color": "#444444", "lw": 1.5, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 14}
    axes.annotate("", points[-1], points[-2], arrowprops=look)


def _short_of(points: Sequence[Point]) -> Point:
    """A little before the last point, so that the line does not blunt the arrow."""
    (x0, y0), (x1, y1) = points[-2:]
    length = max(abs(x1 - x0) + abs(y1 - y0), 1e-9)
    return x1 - (x1 - x0) / length, y1 - (y1 - y0) / length
