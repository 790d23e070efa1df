"""A bank of tileable pictures: noise, cells, stripes, bricks, wood, cloth, writing, books, posters."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

SIZE = 256  # pixels of a side, a power of 2
_SEED = 20250801


@lru_cache(maxsize=1)
def bank() -> tuple[np.ndarray, dict[str, list[int]]]:
    """All patterns: [K, SIZE, SIZE, 3] float32 in 0..1, and the numbers of those of each family.

    Grey patterns have their value in all three channels, in different mixtures, so that any palette suits them.
    """
    pictures: list[np.ndarray] = []
    families: dict[str, list[int]] = {}
    for number, (name, (draw, count)) in enumerate(_FAMILIES.items()):
        random = np.random.default_rng([_SEED, number])
        families[name] = list(range(len(pictures), len(pictures) + count))
        pictures += [np.clip(draw(random), 0, 1) for _ in range(count)]
    return np.stack(pictures).astype(np.float32), families


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every pixel, 0..1."""
    line = (np.arange(SIZE) + 0.5) / SIZE
    return np.meshgrid(line, line, indexing="ij")


def _noise(random: np.random.Generator, slope: float, stretch: float = 1.0) -> np.ndarray:
    """Periodic noise whose spectrum falls as frequency ** -slope, 0..1; `stretch` draws it out along the columns."""
    fy, fx = np.fft.fftfreq(SIZE)[:, None] * stretch, np.fft.rfftfreq(SIZE)[None]
    size = np.sqrt(fy**2 + fx**2)
    size[0, 0] = 1
    wave = np.exp(2j * np.pi * random.uniform(size=size.shape)) / size**slope
    wave[0, 0] = 0
    values = np.fft.irfft2(wave, (SIZE, SIZE))
    return np.clip(0.5 + values / values.std() / 5, 0, 1)


def _colour(*channels: np.ndarray) -> np.ndarray:
    return np.stack(np.broadcast_arrays(*channels), axis=-1)


def _plaster(random: np.random.Generator) -> np.ndarray:
    soft = _noise(random, random.uniform(1.2, 2.2))
    return _colour(soft, _noise(random, 2.0), _noise(random, 0.6))


def _cells(random: np.random.Generator) -> np.ndarray:
    """Voronoi cells: their shade, their border, the distance from their seed."""
    count = int(random.integers(12, 90))
    seeds = random.uniform(size=(count, 2))
    rows, columns = _grid()
    far = [np.abs(rows[..., None] - seeds[:, 0]), np.abs(columns[..., None] - seeds[:, 1])]
    distance = np.sqrt(sum(np.minimum(d, 1 - d) ** 2 for d in far))
    nearest = distance.argmin(axis=-1)
    two = np.partition(distance, 1, axis=-1)
    border = np.clip((two[..., 1] - two[..., 0]) * np.sqrt(count) * 8, 0, 1)
    return _colour(random.uniform(size=count)[nearest] * border, border, two[..., 0] * np.sqrt(count))


def _stripes(random: np.random.Generator) -> np.ndarray:
    """Straight or waved stripes of one or two widths."""
    rows, columns = _grid()
    a, b = random.integers(0, 9), random.integers(1, 12)
    wave = random.uniform(0, 0.05) * np.sin(2 * np.pi * random.integers(1, 4) * rows)
    phase = (a * rows + b * (columns + wave)) % 1
    hard = (phase < random.uniform(0.2, 0.6)).astype(float)
    other = ((2 * phase + 0.3) % 1 < 0.2).astype(float)
    return _colour(hard, other, 0.5 + 0.5 * np.sin(2 * np.pi * phase))


def _plaid(random: np.random.Generator) -> np.ndarray:
    one, two = _stripe_line(random)[None], _stripe_line(random)[:, None]
    return _colour((one + two) / 2, one * np.ones((SIZE, 1)), two * np.ones((1, SIZE)))


def _stripe_line(random: np.random.Generator) -> np.ndarray:
    cuts = np.sort(random.integers(0, SIZE, 2 * random.integers(2, 6)))
    return random.uniform(size=len(cuts) + 1)[np.searchsorted(cuts, np.arange(SIZE)) % len(cuts)]


def _bricks(random: np.random.Generator) -> np.ndarray:
    """Bricks or tiles with joints, each of its own shade."""
    high = int(random.choice([4, 6, 8, 12]))
    wide = int(random.choice([2, 3, 4, 6]))
    rows, columns = _grid()
    row = (rows * high).astype(int)
    shift = (row % 2) * random.choice([0.0, 0.5])
    column = ((columns * wide + shift) % wide).astype(int)
    gap = random.uniform(0.02, 0.08)
    across, along = np.abs((columns * wide + shift) % 1 - 0.5), np.abs(rows * high % 1 - 0.5)
    inside = (across < 0.5 - gap * wide / high) & (along < 0.5 - gap)
    shade = random.uniform(0.4, 1, (high, wide))[row, column]
    return _colour(inside * shade, inside, _noise(random, 1.2))


def _planks(random: np.random.Generator) -> np.ndarray:
    """Wood: drawn-out noise, in planks."""
    count = int(random.choice([1, 2, 4, 6]))
    rows, columns = _grid()
    plank = (columns * count).astype(int)
    grain = _noise(random, 1.3, 12.0)
    rings = 0.5 + 0.5 * np.sin(30 * _noise(random, 2.2, 6.0) + 9 * columns)
    shift = random.integers(0, SIZE, count)[plank]
    index = ((np.arange(SIZE)[:, None] + shift) % SIZE, np.broadcast_to(np.arange(SIZE), (SIZE, SIZE)))
    joint = (np.abs(columns * count % 1 - 0.5) < 0.5 - 0.01 * count) if count > 1 else np.ones_like(grain)
    shade = random.uniform(0.6, 1, count)[plank] * joint
    return _colour((0.6 * grain[index] + 0.4 * rings[index]) * shade, shade, rings[index])


def _cloth(random: np.random.Generator) -> np.ndarray:
    rows, columns = _grid()
    n = int(random.choice([16, 32, 48]))
    weave = np.abs(np.sin(np.pi * n * rows)) * (((rows * n).astype(int) + (columns * n).astype(int)) % 2)
    return _colour(0.6 * weave + 0.4 * _noise(random, 1.0), _noise(random, 1.6), weave)


def _marble(random: np.random.Generator) -> np.ndarray:
    rows, columns = _grid()
    turn = 2 * np.pi * (random.integers(0, 3) * rows + random.integers(1, 3) * columns)
    vein = np.abs(np.sin(turn + 14 * _noise(random, 1.9))) ** random.uniform(0.2, 0.6)
    return _colour(vein, _noise(random, 1.7), _noise(random, 1.2))


def _dots(random: np.random.Generator) -> np.ndarray:
    rows, columns = _grid()
    n = int(random.integers(3, 10))
    u, v = (rows * n) % 1 - 0.5, (columns * n + 0.5 * ((rows * n).astype(int) % 2) * (n % 2 == 0)) % 1 - 0.5
    size = random.uniform(0.15, 0.4)
    return _colour(np.hypot(u, v) < size, np.hypot(u, v) < size / 2, np.hypot(u, v))


def _writing(random: np.random.Generator, page: np.ndarray | None = None) -> np.ndarray:
    """Lines of words of strokes, as a page looks from a distance."""
    ink = np.zeros((SIZE, SIZE)) if page is None else page
    high = int(random.choice([6, 8, 12, 20]))
    for top in range(high, SIZE - 2 * high, int(high * 1.7)):
        at = int(random.integers(8, 14 + 20 * (random.uniform() < 0.2)))
        end = SIZE - 10 if random.uniform() > 0.2 else int(random.integers(40, SIZE - 10))
        while at < end - high:
            for _ in range(int(random.integers(2, 9))):
                at = _letter(random, ink, top, at, high, end)
            at += max(3, high // 2)
    return _colour(ink, 0.5 * ink, _noise(random, 2.0))


def _letter(random: np.random.Generator, ink: np.ndarray, top: int, left: int, high: int, end: int) -> int:
    """One letter of two to four strokes; returns where the next one begins."""
    wide, thick = max(2, int(high * random.uniform(0.4, 0.7))), max(1, high // 7)
    if left + wide >= end:
        return end
    cell = ink[top : top + high, left : left + wide]
    for _ in range(int(random.integers(2, 5))):
        if random.uniform() < 0.6:
            at = int(random.integers(0, max(1, wide - thick)))
            cell[int(random.choice([0, high // 3])) :, at : at + thick] = 1
        else:
            at = int(random.choice([0, high // 2, high - thick]))
            cell[at : at + thick] = 1
    return left + wide + max(1, high // 6)


def _books(random: np.random.Generator) -> np.ndarray:
    """Spines side by side, with titles."""
    picture, at = np.zeros((SIZE, SIZE, 3)), 0
    while at < SIZE:
        wide = int(random.integers(8, 30))
        spine = picture[int(random.integers(0, 50)) :, at : at + wide - 1]
        spine[:] = (random.uniform(0.1, 0.9) + random.uniform(-0.35, 0.35, 3)).clip(0.03, 1)
        for _ in range(int(random.integers(0, 4))):
            top = int(random.integers(0, 200))
            spine[top : top + int(random.integers(3, 40)), 2:-2] = random.uniform(0, 1, 3)
        at += wide
    return picture


def _poster(random: np.random.Generator) -> np.ndarray:
    """Gradients, discs, bars, smooth blobs and some writing in full colour."""
    rows, columns = _grid()
    mix = (rows if random.uniform() < 0.5 else _noise(random, 2.2))[..., None]
    picture = mix * random.uniform(0, 1, 3) + (1 - mix) * random.uniform(0, 1, 3)
    for _ in range(int(random.integers(3, 14))):
        y, x, r = random.uniform(size=3) * (1, 1, 0.35)
        if random.uniform() < 0.5:
            mask = np.hypot(rows - y, columns - x) < r
        else:
            mask = (np.abs(rows - y) < r) & (np.abs(columns - x) < random.uniform(0.02, 0.4))
        shade = (0.6 + 0.8 * _noise(random, 1.8))[mask][:, None] if random.uniform() < 0.5 else 1.0
        picture[mask] = random.uniform(0, 1, 3) * shade
    if random.uniform() < 0.6:
        ink = _writing(random)[..., :1]
        half = (rows > random.uniform(0.2, 0.8))[..., None]
        picture = np.where(half, picture * (1 - ink) + ink * random.uniform(0, 1, 3), picture)
    return picture


def _landscape(random: np.random.Generator) -> np.ndarray:
    """What is seen through a window: sky, ridges, houses or leaves."""
    rows, columns = _grid()
    sky = _colour(0.55 + 0.4 * rows, 0.7 + 0.25 * rows, 0.95 + 0 * rows) + 0.25 * (_noise(random, 1.9)[..., None] - 0.5)
    picture = sky
    for level in np.sort(random.uniform(0.3, 0.8, 4)):
        line = level + 0.15 * (_noise(random, 1.8)[0] - 0.5)
        if random.uniform() < 0.5:
            line = np.repeat(line[:: SIZE // 16], SIZE // 16)
        tint = random.uniform((0.15, 0.25, 0.1), (0.5, 0.55, 0.45)) * (0.4 + 1.2 * _noise(random, 0.8)[..., None])
        picture = np.where((rows > line)[..., None], tint, picture)
    return picture


def _leaves(random: np.random.Generator) -> np.ndarray:
    clumps = gaussian_filter(random.uniform(size=(SIZE, SIZE)), 3, mode="wrap")
    clumps = np.clip(0.5 + (clumps - clumps.mean()) / clumps.std() / 3, 0, 1)
    return _colour(clumps, _noise(random, 1.0), (clumps > 0.6).astype(float))


_FAMILIES: dict[str, tuple[Callable[[np.random.Generator], np.ndarray], int]] = {
    "plaster": (_plaster, 4),
    "cells": (_cells, 3),
    "stripes": (_stripes, 5),
    "plaid": (_plaid, 3),
    "bricks": (_bricks, 4),
    "planks": (_planks, 5),
    "cloth": (_cloth, 3),
    "marble": (_marble, 3),
    "dots": (_dots, 2),
    "writing": (_writing, 3),
    "books": (_books, 4),
    "poster": (_poster, 8),
    "landscape": (_landscape, 4),
    "leaves": (_leaves, 2),
}
