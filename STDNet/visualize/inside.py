"""What the network sees: differences, offsets and confidences of both stages for one frame, as one figure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from STDNet.errors import InputError
from STDNet.visualize.charts import draw
from STDNet.visualize.maps import ERROR_M, percentiles, unknown_as_nan

GRID = 4  # HR pixels per cell of the network's grid
ARROWS = 20  # across the frame
WIDTH = 1300


class Alignment(NamedTuple):
    """Where one pass of one stage samples its neighbours.

    Attributes:
        pairs: (current frame, neighbour frame) of every entry of the first axis, for a batch of one clip.
        offset: [P, 18, h, w] in grid cells: (dy, dx) of the nine taps of the 3 x 3 kernel, besides the kernel's own.
        mask: [P, 9, h, w] in 0..1, the weight of each tap.
    """

    pairs: list[tuple[int, int]]
    offset: Tensor
    mask: Tensor

    def shift(self, current: int, neighbour: int) -> Tensor:
        """Where frame `current` looks in frame `neighbour`: [2, h, w], right and down, in HR pixels.

        It is the mean of the taps' offsets, each weighted by its mask.
        """
        at = self.pairs.index((current, neighbour))
        vertical, horizontal = self.offset[at].unflatten(0, (9, 2)).unbind(1)
        mask = self.mask[at]
        weight = mask / mask.sum(0).clamp(min=1e-6)
        return GRID * torch.stack(((weight * horizontal).sum(0), (weight * vertical).sum(0)))


class StageView(NamedTuple):
    """One stage at one frame: maps [h, w], the shift [2, h, w] in HR pixels, the confidence [H, W] in 0..1."""

    sigma: Tensor
    phi: Tensor
    phi_hat: Tensor
    shift: Tensor
    confidence: Tensor


class FrameView(NamedTuple):
    """One frame: RGB [3, H, W], LR depth [h, w], truth and result [H, W], |D_t - D_t+1| of the truth, both stages."""

    rgb: Tensor
    lr: Tensor
    truth: Tensor
    depth: Tensor
    change: Tensor
    stages: list[StageView]


@contextmanager
def recorded_alignments(net: nn.Module, name: str) -> Iterator[list[Alignment]]:
    """Note the offsets of the pass `name` of every stage while the network runs in the block.

    Hooks see the arguments of a pass and ask it for its offsets; they are gone after the block, and nothing is left on
    the modules.

    Args:
        net: An STDNet in evaluation mode; it is to be run on one clip.
        name: One of the passes: "backward_1", "forward_1", "backward_2", "forward_2".

    Yields:
        A list that holds one `Alignment` a stage once the network has run.
    """
    found: list[Alignment] = []

    def note(module: Any, arguments: tuple) -> None:
        called, features, _, _, differences, pairs, targets = arguments
        chosen, currents, neighbours = pairs.towards(called, targets)
        current, difference = features[:, currents].flatten(0, 1), differences[:, chosen].flatten(0, 1)
        offset, mask = module.offsets(current, difference)
        found.append(Alignment(list(zip(currents, neighbours, strict=True)), offset, mask))

    hooks = [stage.passes[name].register_forward_pre_hook(note) for stage in net.stages]  # type: ignore[union-attr]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def stage_views(stages: tuple, alignments: list[Alignment], t: int) -> list[StageView]:
    """What each stage holds of frame `t` of a clip of at least three frames.

    Args:
        stages: `STDNetOutput.stages` of a batch of one clip.
        alignments: Of one pass, one a stage.
        t: 0 to T - 3, so that phi (to t + 1) and phi-hat (to t + 2) exist.

    Returns:
        One view a stage; differences are means over the channels. The shift is that towards the adjacent neighbour.

    Raises:
        InputError: The pass looks back, and the frame is the first one.
    """
    views = []
    for stage, alignment in zip(stages, alignments, strict=True):
        neighbours = [other for current, other in alignment.pairs if current == t and abs(other - t) == 1]
        if not neighbours:
            raise InputError(f"frame {t} has no neighbour in this pass: choose a later frame, or a backward pass")
        views.append(
            StageView(
                stage.spatial_difference[0, t].mean(0),
                stage.temporal_difference[0, t].mean(0),
                stage.cross_difference[0, t].mean(0),
                alignment.shift(t, neighbours[0]),
                stage.confidence[0, t, 0],
            )
        )
    return views


def against_flow(shift: Tensor, flow: Tensor) -> tuple[float, float, float]:
    """How much of the motion the offsets follow.

    Args:
        shift: [2, h, w], right and down, in HR pixels, from frame t to t + 1.
        flow: [H, W, 2], the true motion in the same pixels; where it is unknown it points out of the frame.

    Returns:
        Mean lengths in HR pixels, where the flow is known: of the shift, of the flow, and of what is left of the flow
        once the shift is taken away (0 for perfect alignment). NaN where the flow is known nowhere.
    """
    motion = flow[GRID // 2 :: GRID, GRID // 2 :: GRID].permute(2, 0, 1)
    known = motion.norm(dim=0) < max(flow.shape[:2])
    lengths = (values.norm(dim=0)[known].mean() for values in (shift, motion, motion - shift))
    return tuple(float(length) for length in lengths)  # type: ignore[return-value]


def inside(view: FrameView, title: str, neighbour: str = "t + 1") -> Image.Image:
    """The figure: the frame above, one row a stage below, every map with its unit and scale.

    Args:
        view: All maps.
        title: The first line.
        neighbour: What the offsets point to.

    Raises:
        InputError: The package matplotlib is missing.
    """
    height, width = view.rgb.shape[-2:]
    cell = WIDTH / 5
    tall = round(3 * (0.70 * cell * height / width + 36) + 36)
    return draw(WIDTH, tall, title, partial(_plot, view=view, neighbour=neighbour))


def _plot(sheet: Any, view: FrameView, neighbour: str) -> None:
    """Draw into a matplotlib Figure."""
    axes = sheet.subplots(1 + len(view.stages), 5)
    for one in axes.flat:
        one.set_axis_off()
    scale = percentiles(view.truth)
    first = axes[0]
    first[0].imshow(view.rgb.permute(1, 2, 0).clamp(0, 1).numpy())
    first[0].set_title("RGB")
    _show(sheet, first[1], unknown_as_nan(view.lr), "LR depth", "magma_r", "m", scale)
    _show(sheet, first[2], view.depth, "HR depth, result", "magma_r", "m", scale)
    error = (view.depth - unknown_as_nan(view.truth)).abs()
    _show(sheet, first[3], 100 * error, "error", "viridis", "cm", (0, 100 * ERROR_M))
    _show(sheet, first[4], 100 * view.change, r"truth: $|D_t - D_{t+1}|$", "viridis", "cm", (0, 100 * ERROR_M))
    for number, (row, stage) in enumerate(zip(axes[1:], view.stages, strict=True), start=1):
        start = f"stage {number}: "
        _show(sheet, row[0], stage.sigma, start + r"$\sigma$, in space", "cividis", "feature units")
        # One scale for both, so that the larger distance shows.
        scale = (0.0, max(_high(stage.phi), _high(stage.phi_hat)))
        _show(sheet, row[1], stage.phi, r"$\varphi$, to t + 1", "cividis", "feature units", scale)
        _show(sheet, row[2], stage.phi_hat, r"$\hat\varphi$, to t + 2", "cividis", "feature units", scale)
        _show(sheet, row[3], stage.shift.norm(dim=0), f"offsets, to {neighbour}", "viridis", "HR pixels")
        _arrows(row[3], stage.shift)
        _show(sheet, row[4], stage.confidence, "confidence", "cividis", "weight", (0, 1))


def _show(
    sheet: Any,
    axes: Any,
    values: Tensor,
    title: str,
    cmap: str,
    unit: str,
    scale: tuple[float, float] | None = None,
) -> None:
    """One map with its colour bar; without a scale it goes from 0 to the 99th percentile."""
    low, high = scale or (0.0, _high(values))
    shown = axes.imshow(values.numpy(), cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(title)
    bar = sheet.colorbar(shown, ax=axes, fraction=0.046, pad=0.02)
    bar.set_label(unit, fontsize=10.5)
    bar.ax.tick_params(labelsize=10)
    bar.outline.set_visible(False)


def _arrows(axes: Any, shift: Tensor) -> None:
    """The direction of the shift every few cells; the longest arrow spans the distance of two."""
    step = max(1, shift.shape[-1] // ARROWS)
    rows = torch.arange(step // 2, shift.shape[-2], step)
    columns = torch.arange(step // 2, shift.shape[-1], step)
    right, down = shift[:, rows][:, :, columns].numpy()
    longest = max(float(shift.norm(dim=0).quantile(0.99)), 1e-9)
    axes.quiver(
        *(columns.numpy(), rows.numpy(), right, down),
        color="white", angles="xy", scale_units="xy", scale=longest / (2 * step), width=0.006,
    )  # fmt: skip


def _high(values: Tensor) -> float:
    """The 99th percentile, or a little above zero."""
    return max(float(values.flatten().float().nanquantile(0.99)), 1e-9)
