"""Depth, errors and RGB as pictures, and strips of them with a colour scale: no plotting package is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy.spatial import cKDTree
from torch import Tensor

from STDNet.clip import Clip
from STDNet.errors import InputError
from STDNet.files import write_image

# Colour-blind safe and even in lightness: nine steps of matplotlib's maps, interpolated. Near is bright, far is dark.
MAGMA_NEAR_BRIGHT = ("fcfdbf", "fec084", "fa7f5e", "de4968", "ab337c", "792282", "491075", "1b1044", "000004")
# Errors: small is dark.
VIRIDIS = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")
UNKNOWN = (128, 128, 128)
INK, FAINT, PAPER = (20, 20, 20), (110, 110, 110), (255, 255, 255)
GAP, BAR_WIDTH, BAR_ROOM, MARGIN = 10, 14, 86, 16
TITLE, COLUMN, CAPTION = 40, 26, 24
ERROR_M = 0.5  # the error that the brightest colour stands for


class Panel(NamedTuple):
    """A picture with the line above it."""

    title: str
    image: Image.Image


def colour(values: Tensor, low: float, high: float, steps: Sequence[str] = MAGMA_NEAR_BRIGHT) -> Image.Image:
    """A map [H, W] as colours, `low` the first step and `high` the last; grey where it is not finite."""
    anchors = np.array([[int(step[i : i + 2], 16) for i in (0, 2, 4)] for step in steps], dtype=np.float64)
    array = values.double().cpu().numpy()
    known = np.isfinite(array)
    place = np.clip((np.where(known, array, low) - low) / max(high - low, 1e-9), 0, 1) * (len(steps) - 1)
    channels = [np.interp(place, np.arange(len(steps)), anchors[:, channel]) for channel in range(3)]
    return Image.fromarray(np.where(known[..., None], np.stack(channels, -1).round(), UNKNOWN).astype(np.uint8))


def picture(rgb: Tensor) -> Image.Image:
    """[3, H, W] in 0..1 as a picture."""
    return Image.fromarray((rgb.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy())


def check_picture_path(path: Path) -> None:
    """A figure's name ends in .png; said before the work, not after it.

    Raises:
        InputError: Another ending.
    """
    if path.suffix != ".png":
        raise InputError(f"--out {path}: a figure's name ends in .png")


def write_picture(path: Path, image: Image.Image) -> None:
    """Write a figure as PNG with 256 colours of its own choice, a third of the size, atomically.

    A colour counts for that choice by the root of how often it is there; otherwise nearly all of the palette would go
    to the large areas, and the colour scales would have steps. The most common colour, the paper, stays as it is.
    """
    pixels = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(np.int32)
    codes = pixels[:, 0] << 16 | pixels[:, 1] << 8 | pixels[:, 2]
    codes, place, counts = np.unique(codes, return_inverse=True, return_counts=True)
    colours = np.stack((codes >> 16, codes >> 8 & 255, codes & 255), -1).astype(np.uint8)
    repeated = np.repeat(colours, np.sqrt(counts).round().astype(int), 0)[None]
    chosen = Image.fromarray(repeated).quantize(255, method=Image.Quantize.MEDIANCUT, kmeans=1).getpalette("RGB") or []
    palette = np.concatenate((colours[counts.argmax()][None], np.reshape(chosen, (-1, 3)))).astype(np.uint8)
    # Pillow's own search for the nearest colour is off by up to a few steps.
    nearest = np.asarray(cKDTree(palette).query(colours)[1], np.uint8)
    out = Image.frombytes("P", image.size, nearest[place].tobytes())
    out.putpalette(palette.tobytes())
    write_image(path, out, optimize=True)


def error_map(depth: Tensor, truth: Tensor) -> Image.Image:
    """The absolute error as colours."""
    return colour((depth - truth).abs(), 0.0, ERROR_M, VIRIDIS)


def stack(strips: Sequence[Image.Image], title: str = "") -> Image.Image:
    """Strips one below the other, under a title."""
    top = TITLE if title else MARGIN
    across = max(part.width for part in strips) + 2 * MARGIN
    out = Image.new("RGB", (across, top + sum(part.height for part in strips) + MARGIN), PAPER)
    ImageDraw.Draw(out).text((MARGIN, MARGIN // 2 + 2), title, INK, font(20))
    for part in strips:
        out.paste(part, (MARGIN, top))
        top += part.height
    return out


def strip(
    label: str,
    panels: Sequence[Panel],
    depths: tuple[float, float],
    steps: Sequence[str] = MAGMA_NEAR_BRIGHT,
    *,
    width: int = 400,
) -> Image.Image:
    """A label, panels with their titles, and a colour scale from depths[0] (below) to depths[1] in metres."""
    first = panels[0].image
    size = (width, round(width * first.height / first.width))
    caption = CAPTION if label else 0
    top = caption + COLUMN
    out = Image.new("RGB", (len(panels) * (width + GAP) + BAR_ROOM, top + size[1] + GAP), PAPER)
    draw = ImageDraw.Draw(out)
    draw.text((0, 4), label, INK, font(16))
    for number, panel in enumerate(panels):
        left = number * (width + GAP)
        draw.text((left, caption + 4), panel.title, FAINT, font(14))
        # A small map keeps its hard pixels.
        kind = Image.Resampling.NEAREST if panel.image.width < width else Image.Resampling.BOX
        out.paste(panel.image.resize(size, kind), (left, top))
    _bar(out, len(panels) * (width + GAP), top, size[1], depths, steps)
    return out


def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font; Pillow before 10.1 has one size of it."""
    try:
        return ImageFont.load_default(size)
    except TypeError:
        return ImageFont.load_default()


def depth_range(clip: Clip) -> tuple[float, float]:
    """1st and 99th percentile of the known depth of the first frame, in metres."""
    return percentiles(clip.lr[0] if clip.gt is None else clip.gt[0])


def percentiles(depth: Tensor) -> tuple[float, float]:
    """1st and 99th percentile of the known depth of a map of any shape; 0 and 1 where nothing is known."""
    known = depth[depth > 0].cpu().numpy()
    low, high = np.percentile(known, [1, 99]) if known.size else (0.0, 1.0)
    return float(low), float(high)


def unknown_as_nan(depth: Tensor) -> Tensor:
    """Depth 0 means that there is none."""
    return torch.where(depth > 0, depth.float(), float("nan"))


def _bar(out: Image.Image, left: int, top: int, height: int, depths: tuple[float, float], steps: Sequence[str]) -> None:
    """The colour scale, with labels in metres."""
    low, high = depths
    ramp = torch.linspace(high, low, height)[:, None].expand(-1, BAR_WIDTH)
    out.paste(colour(ramp, low, high, steps), (left, top))
    draw = ImageDraw.Draw(out)
    for share in (0, 0.25, 0.5, 0.75, 1):
        value = high + share * (low - high)
        draw.text((left + BAR_WIDTH + 6, top + share * (height - 16)), f"{value:.2f} m", INK, font(13))
