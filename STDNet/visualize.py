"""Pictures of depth: colour maps, error maps, labelled rows of panels. Pillow alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from STDNet.clip import Clip

# Colour-blind safe, even in lightness: nine steps of matplotlib's viridis (depth) and magma (error), interpolated.
VIRIDIS = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")
MAGMA = ("000004", "1d1147", "51127c", "832681", "b73779", "e75263", "fc8961", "fec488", "fcfdbf")
MARGIN = 4
LABEL_HEIGHT = 18


def colour(values: Tensor, low: float, high: float, steps: Sequence[str] = VIRIDIS) -> Image.Image:
    """A map [H, W] as colours: `low` is the first step, `high` the last; values outside take the nearest end."""
    anchors = np.array([[int(step[i : i + 2], 16) for i in (0, 2, 4)] for step in steps], dtype=np.float64)
    share = ((values.double() - low) / max(high - low, 1e-12)).clamp(0, 1).cpu().numpy() * (len(steps) - 1)
    channels = [np.interp(share, np.arange(len(steps)), anchors[:, channel]) for channel in range(3)]
    return Image.fromarray(np.stack(channels, -1).round().astype(np.uint8))


def picture(rgb: Tensor) -> Image.Image:
    """[3, H, W] in 0..1 as a picture."""
    return Image.fromarray((rgb.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy())


def sheet(rows: Sequence[Sequence[tuple[str, Image.Image]]], width: int = 360) -> Image.Image:
    """Rows of labelled panels, each panel `width` pixels wide."""
    panels = [[(label, _resized(image, width)) for label, image in row] for row in rows]
    heights = [max(image.height for _, image in row) + LABEL_HEIGHT + MARGIN for row in panels]
    across = max(len(row) for row in panels)
    out = Image.new("RGB", (across * (width + MARGIN) + MARGIN, sum(heights) + MARGIN), "white")
    draw, font = ImageDraw.Draw(out), ImageFont.load_default()
    top = MARGIN
    for row, height in zip(panels, heights, strict=True):
        for i, (label, image) in enumerate(row):
            left = MARGIN + i * (width + MARGIN)
            draw.text((left, top + 2), label, fill="black", font=font)
            out.paste(image, (left, top + LABEL_HEIGHT))
        top += height
    return out


def comparison(clip: Clip, predictions: dict[str, Tensor], frame: int = 0) -> Image.Image:
    """One frame: RGB, LR depth and ground truth above; every prediction with its absolute error below.

    Args:
        clip: With ground truth.
        predictions: Name -> depth [T, 1, H, W] in metres.
        frame: Which frame of the clip.

    Returns:
        A labelled sheet; depth panels share one range (1 % to 99 % of the ground truth), error panels another.
    """
    assert clip.gt is not None
    gt = clip.gt[frame, 0]
    low, high = (float(torch.quantile(gt.flatten()[:: max(1, gt.numel() // 100_000)], q)) for q in (0.01, 0.99))
    first = [
        (f"RGB   {clip.name}", picture(clip.rgb[frame])),
        (f"LR depth, x{clip.scale}", colour(clip.lr[frame, 0], low, high)),
        (f"ground truth, {low:.2f} (dark) to {high:.2f} m", colour(gt, low, high)),
    ]
    rows = [first]
    for name, depth in predictions.items():
        error = (depth[frame, 0] - gt).abs()
        rows.append(
            [
                (name, colour(depth[frame, 0], low, high)),
                (f"{name}: error, black 0 to white 0.3 m", colour(error, 0, 0.3, MAGMA)),
            ]
        )
    return sheet(rows)


def _resized(image: Image.Image, width: int) -> Image.Image:
    """To `width` pixels across; small maps keep their hard pixels."""
    height = round(image.height * width / image.width)
    return image.resize((width, height), Image.Resampling.NEAREST if image.width < width else Image.Resampling.LANCZOS)
