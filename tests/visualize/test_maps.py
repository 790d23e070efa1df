"""Pictures: colours at the ends of the scale, unknown depth, what a sheet holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from STDNet import Clip
from STDNet.visualize import (
    MAGMA_NEAR_BRIGHT,
    UNKNOWN,
    VIRIDIS,
    colour,
    comparison,
    film,
    frame_strip,
    picture,
    slices,
    stack,
)


def _clip() -> Clip:
    gt = torch.rand(1, 1, 16, 24) + 1
    gt[0, 0, 0, 0] = 0
    return Clip(torch.rand(1, 3, 16, 24), gt[..., ::4, ::4].contiguous(), gt, name="room[3:4]")


def _rgb(step: str) -> tuple[int, ...]:
    return tuple(int(step[i : i + 2], 16) for i in (0, 2, 4))


def test_colours_at_the_ends_beyond_and_unknown() -> None:
    values = torch.tensor([[1.0, 2.0, 0.0, 9.0, float("nan")]])
    image = np.asarray(colour(values, 1, 2, VIRIDIS))[0]
    low, high = _rgb(VIRIDIS[0]), _rgb(VIRIDIS[-1])
    assert [tuple(pixel) for pixel in image.tolist()] == [low, high, low, high, UNKNOWN]


def test_lightness_falls_with_depth() -> None:
    image = np.asarray(colour(torch.linspace(1, 2, 50)[None], 1, 2, MAGMA_NEAR_BRIGHT)).astype(float)[0]
    lightness = image @ [0.3, 0.59, 0.11]
    assert (np.diff(lightness) < 0).all()


def test_picture_keeps_eight_bits() -> None:
    values = torch.randint(0, 256, (3, 4, 5))
    assert np.array_equal(np.asarray(picture(values / 255)), values.permute(1, 2, 0).numpy())


def test_sheets_hold_every_panel() -> None:
    clip = _clip()
    strip = frame_strip(clip, "frame 3", width=100)
    assert strip.width > 3 * 100 and strip.height > 66
    both = stack([strip, strip], "title")
    assert both.height > 2 * strip.height
    sheet = comparison(clip, {"a": clip.gt, "b": clip.gt + 0.2}, width=100)  # type: ignore[dict-item,operator]
    colours = {value for _, value in sheet.getcolors(10**6)}
    assert UNKNOWN in colours and _rgb(VIRIDIS[0]) in colours  # unknown depth; no error at all


def test_slices_show_one_row_over_time() -> None:
    depth = torch.full((3, 8, 40), 2.0)
    depth[:, 5] = torch.linspace(1, 3, 40)
    sheet = slices({"a": depth, "b": depth + 0.5}, 5, label="row 5", width=80)
    assert sheet.width > 160
    # In the row asked for, near is bright and far is dark.
    line = np.asarray(sheet.convert("L"))[-20, :80]
    assert line[2] > line[77] + 100


def test_films_have_every_frame_and_even_sides(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    film(path, (Image.new("RGB", (65, 48), (60 * t, 0, 0)) for t in range(4)))
    with av.open(path) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 4
    assert [round(float(frame[..., 0].mean()) / 60) for frame in frames] == [0, 1, 2, 3]
