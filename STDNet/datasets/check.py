"""What is wrong with a data set: every frame is read, every problem is collected, units are doubted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from STDNet.datasets.layout import absent
from STDNet.datasets.reading import MissingFile
from STDNet.datasets.video import Video
from STDNet.errors import InputError

# Half the pixels of a scene are farther than this: no indoor or street scene is, but one in millimetres.
MILLIMETRES = 200.0
# LR and HR depth are of the same scene, so their typical ratio is 1; a unit or a sequence may be mixed up.
RATIO = 1.2

Value = TypeVar("Value")


@dataclass
class Report:
    """What was found in one sequence.

    Attributes:
        name: The sequence.
        frames: How many frames it has.
        size: HR height and width; LR height and width.
        lr_source: "files" or "simulated".
        depth_m: Smallest, median and largest HR depth above 0 (of LR depth where there is no HR depth).
        unknown: The share of HR pixels without depth, 0..1.
        flow: "files", "poses" or "-".
        problems: What makes reading fail, a line each.
        warnings: What is strange and may still be right, a line each.
    """

    name: str
    frames: int = 0
    size: tuple[int, int, int, int] | None = None
    lr_source: str = "-"
    depth_m: tuple[float, float, float] | None = None
    unknown: float = 0.0
    flow: str = "-"
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def attempt(self, read: Callable[..., Value], *arguments: int) -> Value | None:
        """What `read` gives; None where it fails, with a problem more unless a file is missing (see `check_video`)."""
        try:
            return read(*arguments)
        except MissingFile:
            return None
        except InputError as error:
            if str(error) not in self.problems:
                self.problems.append(str(error))
            return None


def check_video(video: Video, times: Iterable[int]) -> Report:
    """Read frames `times` of `video`: RGB, HR depth, LR depth and flow, each on its own so that all problems show.

    Missing files are listed first, for the whole video, whichever frames are read.
    """
    report = Report(video.name, len(video), lr_source="simulated" if video.simulated else "files")
    report.problems += [f"{path}: no such file" for path in absent(video.paths())]
    if (size := report.attempt(lambda: (video.height, video.width))) is None:
        return report
    report.size = (*size, size[0] // video.scale, size[1] // video.scale)
    depths, ratios, unknown = [], [], []
    for t in times:
        frame = video.layout.frames[t]
        rgb = report.attempt(video.read_rgb, t)
        depth = None if frame.depth is None else report.attempt(video.read_depth, t)
        lr = None if video.simulated and (rgb is None or depth is None) else report.attempt(video.read_lr, t)
        if frame.flow is not None and report.attempt(video.flow, t) is not None:
            report.flow = "files"
        if depth is not None:
            unknown.append(float((depth <= 0).float().mean()))
        if (seen := lr if depth is None else depth) is not None:
            depths.append(_summary(seen))
        if lr is not None and depth is not None:
            ratios.append(_ratio(lr, depth, video.scale))
    if video.layout.poses is not None and video.layout.frames[0].flow is None and len(video) > 1:
        report.flow = "poses" if report.attempt(video.flow, 0) is not None else "-"
    _conclude(report, depths, ratios, unknown)
    return report


def _summary(depth: Tensor) -> tuple[float, float, float]:
    """Smallest, median and largest depth above 0."""
    known = depth[depth > 0]
    return (float(known.min()), float(known.median()), float(known.max())) if len(known) else (0.0, 0.0, 0.0)


def _ratio(lr: Tensor, depth: Tensor, scale: int) -> float:
    """The median of LR depth over the HR depth at the same place."""
    middle = depth[scale // 2 :: scale, scale // 2 :: scale]
    both = (lr > 0) & (middle > 0)
    return float((lr[both] / middle[both]).median()) if both.any() else 1.0


def _conclude(
    report: Report, depths: list[tuple[float, float, float]], ratios: list[float], unknown: list[float]
) -> None:
    """The numbers of the whole sequence, and doubts about them."""
    if depths:
        nearest, middle, farthest = zip(*depths, strict=True)
        report.depth_m = min(nearest), float(torch.tensor(middle).median()), max(farthest)
        typical, largest = report.depth_m[1:]
        if largest == 0:
            report.warnings.append(f"{report.name}: no pixel has any depth")
        elif typical > MILLIMETRES:
            report.warnings.append(
                f"{report.name}: half of the depth is beyond {typical:.0f} m, which looks like millimetres; files hold "
                f"metres (16-bit PNG of the folder data set: millimetres)"
            )
        elif largest <= 1:
            report.warnings.append(
                f"{report.name}: no depth is beyond {largest:.3g} m, which looks normalised to 0..1; files hold metres"
            )
    if unknown:
        report.unknown = sum(unknown) / len(unknown)
    if ratios and not 1 / RATIO < (ratio := float(torch.tensor(ratios).median())) < RATIO:
        report.warnings.append(
            f"{report.name}: LR depth is {ratio:.3g} times HR depth; one of them has another unit, or is of another "
            f"sequence or scale"
        )


def table(reports: list[Report]) -> str:
    """One row a sequence, as a markdown table."""
    rows = [
        ("sequence", "frames", "HR", "LR", "LR from", "depth min / median / max (m)", "no depth", "flow", "problems")
    ]
    rows += [
        (
            report.name,
            str(report.frames),
            f"{report.size[0]} x {report.size[1]}" if report.size else "-",
            f"{report.size[2]} x {report.size[3]}" if report.size else "-",
            report.lr_source,
            " / ".join(f"{value:.2f}" for value in report.depth_m) if report.depth_m else "-",
            f"{100 * report.unknown:.1f} %" if report.depth_m else "-",
            report.flow,
            str(len(report.problems)),
        )
        for report in reports
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
