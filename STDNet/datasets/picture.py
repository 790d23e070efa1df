"""A sample sheet: RGB, LR depth and ground truth of a few frames side by side, with a depth scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from STDNet.clip import Clip
from STDNet.datasets.video import Video
from STDNet.files import atomic_write

# The colour map "magma" at nine places: its lightness grows evenly, near is bright.
_ANCHORS = np.array(
    [
        (252, 253, 191), (254, 191, 132), (250, 127, 94), (222, 73, 104), (171, 51, 124),
        (121, 34, 130), (73, 16, 117), (27, 16, 68), (0, 0, 4),
    ],
    np.float32,
)  # fmt: skip
_UNKNOWN = (128, 128, 128)
_INK, _FAINT, _PAPER = (20, 20, 20), (110, 110, 110), (255, 255, 255)
_PANEL_WIDTH, _GAP, _BAR_WIDTH, _BAR_ROOM, _MARGIN = 400, 10, 14, 86, 16
_TITLE, _COLUMN, _CAPTION = 40, 26, 24


def sample_sheet(videos: Sequence[Video], path: Path | str, *, rows: int = 4, title: str = "") -> None:
    """Write a picture of `rows` frames, spread evenly over all videos.

    Every row has a depth scale of its own, from the 1st to the 99th percentile of its ground truth (or of its LR depth
    where there is none); pixels without depth are grey. LR depth is shown as it is, one square a pixel.

    Args:
        videos: Where the frames are.
        path: The picture, .png or .jpg.
        rows: How many frames.
        title: The first line.

    Raises:
        InputError: A frame cannot be read.
    """
    places = [(video, t) for video in videos for t in range(len(video))]
    chosen = [places[round(i)] for i in np.linspace(0, len(places) - 1, min(rows, len(places)))]
    clips = [video.read(t, t + 1) for video, t in chosen]
    strips = [_row(clip, f"{video.name}, frame {t}") for clip, (video, t) in zip(clips, chosen, strict=True)]
    width = max(strip.width for strip in strips) + 2 * _MARGIN
    sheet = Image.new("RGB", (width, _TITLE + sum(strip.height for strip in strips) + _MARGIN), _PAPER)
    ImageDraw.Draw(sheet).text((_MARGIN, _MARGIN // 2 + 2), title, _INK, _font(20))
    top = _TITLE
    for strip in strips:
        sheet.paste(strip, (_MARGIN, top))
        top += strip.height
    with atomic_write(path) as file:
        sheet.save(file, "JPEG" if Path(path).suffix.lower() in (".jpg", ".jpeg") else "PNG")


def _row(clip: Clip, label: str) -> Image.Image:
    """One frame: a label, the panels with their titles, and the depth scale."""
    size = (_PANEL_WIDTH, round(_PANEL_WIDTH * clip.rgb.shape[-2] / clip.rgb.shape[-1]))
    lr = clip.lr[0, 0].numpy()
    gt = None if clip.gt is None else clip.gt[0, 0].numpy()
    known = lr[lr > 0] if gt is None else gt[gt > 0]
    near, far = np.percentile(known, [1, 99]) if known.size else (0.0, 1.0)
    colours = (clip.rgb[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    panels = [
        (f"RGB, {_size(colours)}", Image.fromarray(colours).resize(size, Image.Resampling.LANCZOS)),
        (f"LR depth, {_size(lr)}", Image.fromarray(_coloured(lr, near, far)).resize(size, Image.Resampling.NEAREST)),
    ]
    if gt is not None:
        picture = Image.fromarray(_coloured(gt, near, far)).resize(size, Image.Resampling.BOX)
        panels.append((f"HR depth (ground truth), {_size(gt)}", picture))
    top = _CAPTION + _COLUMN
    strip = Image.new("RGB", (len(panels) * (size[0] + _GAP) + _BAR_ROOM, top + size[1] + _GAP), _PAPER)
    draw = ImageDraw.Draw(strip)
    draw.text((0, 4), label, _INK, _font(16))
    for number, (title, panel) in enumerate(panels):
        draw.text((number * (size[0] + _GAP), _CAPTION + 4), title, _FAINT, _font(14))
        strip.paste(panel, (number * (size[0] + _GAP), top))
    _bar(strip, len(panels) * (size[0] + _GAP), top, size[1], near, far)
    return strip


def _bar(strip: Image.Image, left: int, top: int, height: int, near: float, far: float) -> None:
    """The depth scale, near at the bottom, with labels in metres."""
    ramp = np.linspace(far, near, height, dtype=np.float32)[:, None].repeat(_BAR_WIDTH, 1)
    strip.paste(Image.fromarray(_coloured(np.maximum(ramp, 1e-6), near, far)), (left, top))
    draw = ImageDraw.Draw(strip)
    for share in (0, 0.25, 0.5, 0.75, 1):
        value = far + share * (near - far)
        draw.text((left + _BAR_WIDTH + 6, top + share * (height - 16)), f"{value:.2f} m", _INK, _font(13))


def _coloured(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    """[H, W] metres to [H, W, 3] uint8; no depth is grey."""
    place = np.clip((depth - near) / max(far - near, 1e-6), 0, 1) * (len(_ANCHORS) - 1)
    channels = [np.interp(place, np.arange(len(_ANCHORS)), _ANCHORS[:, channel]) for channel in range(3)]
    return np.where((depth > 0)[..., None], np.stack(channels, -1).round(), _UNKNOWN).astype(np.uint8)


def _size(picture: np.ndarray) -> str:
    """Width x height, as pictures are named."""
    return f"{picture.shape[1]} x {picture.shape[0]}"


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font; Pillow before 10.1 has one size of it."""
    try:
        return ImageFont.load_default(size)
    except TypeError:
        return ImageFont.load_default()
