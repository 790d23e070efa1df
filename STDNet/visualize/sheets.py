"""Sheets of one video: inputs side by side, predictions with error maps, one row over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from STDNet.clip import Clip
from STDNet.visualize.maps import (
    ERROR_M,
    GAP,
    VIRIDIS,
    Panel,
    colour,
    depth_range,
    error_map,
    font,
    percentiles,
    picture,
    stack,
    strip,
    unknown_as_nan,
)

SHEET = 1130  # pixels across the panels of a sheet


def frame_strip(clip: Clip, label: str, width: int = 400) -> Image.Image:
    """The first frame of a clip: RGB, LR depth and ground truth side by side, with one depth scale for the strip.

    The scale goes from the 1st to the 99th percentile of the ground truth (of the LR depth where there is none); pixels
    without depth are grey. LR depth is shown as it is, one square a pixel.
    """
    low, high = depth_range(clip)
    return strip(label, _inputs(clip, low, high), (low, high), width=width)


def comparison(clip: Clip, predictions: dict[str, Tensor], label: str = "", width: int = 400) -> Image.Image:
    """The first frame of a clip and what was made of it.

    Args:
        clip: With ground truth.
        predictions: Name -> depth [T, 1, H, W] in metres.
        label: The first line; None takes the clip's name.
        width: Pixels across one panel.

    Returns:
        A sheet: RGB, LR depth, ground truth; the predictions at the same depth scale; their absolute errors.
    """
    assert clip.gt is not None
    low, high = depth_range(clip)
    truth = unknown_as_nan(clip.gt[0, 0])
    made = {name: depth[0, 0].cpu() for name, depth in predictions.items()}
    depths = [Panel(name, colour(depth, low, high)) for name, depth in made.items()]
    errors = [
        Panel(f"{name}: error, mean {100 * float((depth - truth).abs().nanmean()):.1f} cm", error_map(depth, truth))
        for name, depth in made.items()
    ]
    return stack(
        [
            strip(label or clip.name, _inputs(clip, low, high), (low, high), width=width),
            strip("", depths, (low, high), width=width),
            strip("", errors, (0.0, ERROR_M), VIRIDIS, width=width),
        ]
    )


def slices(depths: dict[str, Tensor], row: int, *, label: str = "", width: int = 400) -> Image.Image:
    """One picture row over time (x to the right, t down): flicker shows as jagged vertical edges.

    Args:
        depths: Name -> depth [T, H, W] in metres; the first one decides the depth scale.
        row: Which row, 0 to H - 1.
        label: The first line.
        width: Pixels across one panel.
    """
    lines = {name: depth[:, row].float().cpu() for name, depth in depths.items()}
    low, high = percentiles(next(iter(lines.values())))
    panels = []
    for name, line in lines.items():
        frames, across = line.shape
        tall = max(1, across // (4 * frames))  # a panel four times as wide as high
        panels.append(Panel(name, colour(unknown_as_nan(line.repeat_interleave(tall, 0)), low, high)))
    return strip(label, panels, (low, high), width=width)


def busiest_row(depth: Tensor) -> int:
    """The row of [T, H, W] that crosses the most depth edges, each counted for half a metre at most."""
    return int(depth.diff(dim=2).abs().clamp(max=0.5).sum((0, 2)).argmax())


class View(NamedTuple):
    """A part of a frame to look at closely, in HR pixels."""

    left: int
    top: int
    width: int
    height: int

    def of(self, values: Tensor) -> Tensor:
        """The part of [..., H, W]."""
        return values[..., self.top : self.top + self.height, self.left : self.left + self.width]


def worst_views(error: Tensor, count: int = 2, share: float = 0.2) -> list[View]:
    """The parts of a frame that hold the most error, the first one first; none overlaps another.

    Args:
        error: [H, W], not negative; unknown is NaN.
        count: How many parts.
        share: Their width and height as a share of the frame's.
    """
    height, width = (max(1, round(share * side)) for side in error.shape)
    sums = functional.avg_pool2d(error.nan_to_num(0)[None, None].double(), (height, width), stride=1)[0, 0]
    views = []
    for _ in range(count):
        top, left = divmod(int(sums.argmax()), sums.shape[1])
        views.append(View(left, top, width, height))
        sums[max(0, top - height + 1) : top + height, max(0, left - width + 1) : left + width] = -1
    return views


def zoomed(clip: Clip, predictions: dict[str, Tensor], views: Sequence[View], label: str = "") -> Image.Image:
    """The first frame of a clip: RGB and every method's error map with boxes, then each box enlarged for all methods.

    Args:
        clip: With ground truth.
        predictions: Name -> depth [T, 1, H, W] in metres.
        views: The boxes.
        label: The first line; "" takes the clip's name.

    Returns:
        A sheet of about 1240 pixels across. All errors have one scale; each enlarged box has the depth scale of its
        ground truth (1st to 99th percentile), given beside it.
    """
    assert clip.gt is not None
    truth = unknown_as_nan(clip.gt[0, 0])
    made = {name: depth[0, 0].cpu() for name, depth in predictions.items()}
    top = [Panel("RGB", _boxed(picture(clip.rgb[0]), views))]
    for name, depth in made.items():
        mean = 100 * float((depth - truth).abs().nanmean())
        top.append(Panel(f"{name}: error, mean {mean:.1f} cm", _boxed(error_map(depth, truth), views)))
    rows = [strip("", top, (0.0, ERROR_M), VIRIDIS, width=SHEET // len(top) - GAP)]
    low_res = unknown_as_nan(clip.lr[0, 0].repeat_interleave(clip.scale, 0).repeat_interleave(clip.scale, 1))
    for number, view in enumerate(views, start=1):
        scale = percentiles(view.of(truth))
        maps = {"LR depth": low_res, **made, "ground truth": truth}
        panels = [Panel(f"box {number}: RGB", picture(view.of(clip.rgb[0])))]
        panels += [Panel(name, colour(view.of(values), *scale)) for name, values in maps.items()]
        rows.append(strip("", panels, scale, width=SHEET // len(panels) - GAP))
    return stack(rows, label or clip.name)


def over_time(clip: Clip, depths: dict[str, Tensor], row: int, label: str = "") -> Image.Image:
    """One row of a video over time: the first frame with the row marked, and the slices of the truth and each method.

    Args:
        clip: With ground truth.
        depths: Name -> depth [T, H, W] in metres.
        row: Which row, 0 to H - 1.
        label: The first line.
    """
    assert clip.gt is not None
    lines = {"ground truth": clip.gt[:, 0], **depths}
    width = SHEET // len(lines) - GAP
    low, high = depth_range(clip)
    line = View(0, row, clip.rgb.shape[-1], 1)
    shown = {name: lines[name] for name in ("ground truth", list(depths)[-1])}
    panels = [
        Panel(f"RGB, first of {len(clip)} frames", _boxed(picture(clip.rgb[0]), [line])),
        *(Panel(name, _boxed(colour(unknown_as_nan(maps[0]), low, high), [line])) for name, maps in shown.items()),
    ]
    first = strip("", panels, (low, high), width=width)
    below = slices(lines, row, label=f"row {row} over time: x to the right, one step down a frame", width=width)
    return stack([first, below], label)


def _boxed(image: Image.Image, views: Sequence[View]) -> Image.Image:
    """The picture with numbered frames around the views, white on black: visible on every colour."""
    out = image.copy()
    pen, thick = ImageDraw.Draw(out), max(2, image.width // 200)
    for number, view in enumerate(views, start=1):
        outer = [view.left - thick, view.top - thick, view.left + view.width + thick, view.top + view.height + thick]
        pen.rectangle([outer[0] - 1, outer[1] - 1, outer[2] + 1, outer[3] + 1], outline=(0, 0, 0), width=thick + 2)
        pen.rectangle(outer, outline=(255, 255, 255), width=thick)
        if view.height > 1:
            place = (view.left + 2 * thick, view.top + thick)
            pen.text(
                place, str(number), (255, 255, 255), font(image.width // 18), stroke_width=2, stroke_fill=(0, 0, 0)
            )
    return out


def _inputs(clip: Clip, low: float, high: float) -> list[Panel]:
    """RGB, LR depth and, where there is one, ground truth."""
    rgb, lr = picture(clip.rgb[0]), unknown_as_nan(clip.lr[0, 0])
    panels = [Panel(f"RGB, {_size(clip.rgb)}", rgb), Panel(f"LR depth, {_size(clip.lr)}", colour(lr, low, high))]
    if clip.gt is not None:
        truth = unknown_as_nan(clip.gt[0, 0])
        panels.append(Panel(f"HR depth (ground truth), {_size(clip.gt)}", colour(truth, low, high)))
    return panels


def _size(frames: Tensor) -> str:
    """Width x height, as pictures are named."""
    return f"{frames.shape[-1]} x {frames.shape[-2]}"
