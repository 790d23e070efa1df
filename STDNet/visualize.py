"""Pictures and films of depth: colour maps with their scales, sample sheets, error maps, x-t slices, MP4."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from STDNet.clip import Clip
from STDNet.errors import InputError
from STDNet.files import atomic_write

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
    truth = _unknown_as_nan(clip.gt[0, 0])
    made = {name: depth[0, 0].cpu() for name, depth in predictions.items()}
    depths = [Panel(name, colour(depth, low, high)) for name, depth in made.items()]
    errors = [
        Panel(f"{name}: error, mean {100 * float((depth - truth).abs().nanmean()):.1f} cm", _error(depth, truth))
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
    known = next(iter(lines.values()))
    low, high = (float(x) for x in np.percentile(known[known > 0].numpy(), [1, 99]))
    panels = []
    for name, line in lines.items():
        frames, across = line.shape
        tall = max(1, across // (4 * frames))  # a panel four times as wide as high
        panels.append(Panel(name, colour(_unknown_as_nan(line.repeat_interleave(tall, 0)), low, high)))
    return strip(label, panels, (low, high), width=width)


def film(path: Path | str, frames: Iterable[Image.Image], *, frames_per_s: float = 10.0) -> None:
    """Write pictures of one size as an H.264 MP4 file, atomically.

    Raises:
        InputError: The package av is missing.
    """
    try:
        import av
    except ImportError:
        raise InputError("films need the package av: pip install 'STDNet[video]'") from None
    with atomic_write(path) as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(frames_per_s).limit_denominator(1000))
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "20"}
        for picture_ in frames:
            # Both sides have to be even.
            array = np.asarray(picture_)[: picture_.height // 2 * 2, : picture_.width // 2 * 2]
            if not stream.codec_context.is_open:
                stream.height, stream.width = array.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")))
        container.mux(stream.encode())


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


def _bar(out: Image.Image, left: int, top: int, height: int, depths: tuple[float, float], steps: Sequence[str]) -> None:
    """The colour scale, with labels in metres."""
    low, high = depths
    ramp = torch.linspace(high, low, height)[:, None].expand(-1, BAR_WIDTH)
    out.paste(colour(ramp, low, high, steps), (left, top))
    draw = ImageDraw.Draw(out)
    for share in (0, 0.25, 0.5, 0.75, 1):
        value = high + share * (low - high)
        draw.text((left + BAR_WIDTH + 6, top + share * (height - 16)), f"{value:.2f} m", INK, font(13))


def _inputs(clip: Clip, low: float, high: float) -> list[Panel]:
    """RGB, LR depth and, where there is one, ground truth."""
    rgb, lr = picture(clip.rgb[0]), _unknown_as_nan(clip.lr[0, 0])
    panels = [Panel(f"RGB, {_size(clip.rgb)}", rgb), Panel(f"LR depth, {_size(clip.lr)}", colour(lr, low, high))]
    if clip.gt is not None:
        truth = _unknown_as_nan(clip.gt[0, 0])
        panels.append(Panel(f"HR depth (ground truth), {_size(clip.gt)}", colour(truth, low, high)))
    return panels


def depth_range(clip: Clip) -> tuple[float, float]:
    """1st and 99th percentile of the known depth of the first frame, in metres."""
    depth = clip.lr[0] if clip.gt is None else clip.gt[0]
    known = depth[depth > 0].cpu().numpy()
    low, high = np.percentile(known, [1, 99]) if known.size else (0.0, 1.0)
    return float(low), float(high)


def _error(depth: Tensor, truth: Tensor) -> Image.Image:
    """The absolute error as colours."""
    return colour((depth - truth).abs(), 0.0, ERROR_M, VIRIDIS)


def _unknown_as_nan(depth: Tensor) -> Tensor:
    """Depth 0 means that there is none."""
    return torch.where(depth > 0, depth.float(), float("nan"))


def _size(frames: Tensor) -> str:
    """Width x height, as pictures are named."""
    return f"{frames.shape[-1]} x {frames.shape[-2]}"
