"""What belongs to the room itself: windows, curtains, skirting, rugs, beams, and pillars in the paint of the walls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from STDNet.datasets.synthetic import clutter, materials
from STDNet.datasets.synthetic.casting import BOX
from STDNet.datasets.synthetic.furniture import Part, box, rod, sheet
from STDNet.datasets.synthetic.scene import Opening


def wall_turn(side: int) -> np.ndarray:
    """[3, 3] the rotation of a thing whose back, its +y, is to the wall 0..3 (-x, +x, -y, +y)."""
    return Rotation.from_euler("z", (np.pi / 2, -np.pi / 2, np.pi, 0.0)[side]).as_matrix()


def on_wall(side: int, half: np.ndarray, u: float, v: float, away: float = 0.0) -> np.ndarray:
    """[3] the place `u` along a wall, `v` above its middle and `away` from it, in a room of half size [3]."""
    place = np.array([u, u, v])
    place[side // 2] = (2 * (side % 2) - 1) * (half[side // 2] - away)
    return place


def overlaps(openings: list[Opening], side: int, u: float, v: float, size: np.ndarray) -> bool:
    """Whether a rectangle on a wall, its middle at `u`, `v` and its half size [2], covers an opening."""
    return any(
        side == number and u + size[0] > low_u and u - size[0] < high_u and v + size[1] > low_v and v - size[1] < high_v
        for number, low_u, high_u, low_v, high_v in openings
    )


def windows(random: np.random.Generator, half: np.ndarray, openings: list[Opening]) -> list[Part]:
    """Frames with bars, sills and curtains; doors have a frame alone."""
    rim = materials.plain(materials.colour(random, "wall") * random.uniform(0.4, 1.0))
    cloth = materials.surface(random, 0.8)
    parts = []
    for side, low_u, high_u, low_v, high_v in openings:
        turn, wide, high = wall_turn(side), (high_u - low_u) / 2, (high_v - low_v) / 2
        middle_u, middle_v = (low_u + high_u) / 2, (low_v + high_v) / 2
        place = on_wall(side, half, middle_u, middle_v, 0.01)
        door = low_v < -half[2] + 0.1
        bars = (1.0, 1.0) if door else (*random.integers(1, 4, 2),)
        form = (*bars, 1 - 0.05 * bars[0] / wide, 1 - 0.05 * bars[1] / high)
        parts.append(sheet(place, wide + 0.03, high + 0.03, turn @ clutter.UPRIGHT, rim, form))
        if door:
            continue
        sill = box(0, 0, 0, (2 * wide + 0.15, 0.16, 0.03), rim)
        sill.place, sill.turn = on_wall(side, half, middle_u, low_v - 0.02, 0.08), turn
        parts.append(sill)
        if random.uniform() < 0.6:
            parts += _curtains(random, side, half, (low_u, high_u, high_v), cloth)
    return parts


def _curtains(
    random: np.random.Generator, side: int, half: np.ndarray, edges: tuple[float, float, float], cloth: np.ndarray
) -> list[Part]:
    """Folds of cloth beside a window, under a rod."""
    low, high, top = edges
    down = -half[2] + 0.02 if random.uniform() < 0.5 else -0.6
    parts = []
    for start, way in ((low - 0.15, 1), (high + 0.15, -1)):
        for number in range(int(random.integers(3, 8))):
            x, y, _ = on_wall(side, half, start + way * number * 0.075, 0.0, 0.1)
            wide = random.uniform(0.03, 0.055)
            parts.append(rod(np.array([x, y, down]), np.array([x, y, top + 0.12]), wide, cloth, to=wide * 0.7))
    ends = [on_wall(side, half, u, top + 0.12, 0.1) for u in (low - 0.3, high + 0.3)]
    return [*parts, rod(ends[0], ends[1], 0.014, cloth)]


def skirting(random: np.random.Generator, half: np.ndarray, openings: list[Opening]) -> list[Part]:
    """A board along the foot of every wall without a door."""
    board, high = materials.plain(materials.colour(random, "wall")), random.uniform(0.05, 0.14)
    parts = []
    for side in range(4):
        if any(number == side and low < -half[2] + 0.1 for number, _, _, low, _ in openings):
            continue
        size = (0.02, 2 * half[1], high) if side < 2 else (2 * half[0], 0.02, high)
        parts.append(_block(on_wall(side, half, 0, -half[2] + high / 2, 0.01), size, board))
    return parts


def _block(place: np.ndarray, size: Sequence[float], material: np.ndarray) -> Part:
    """A box along the walls."""
    return Part(BOX, np.array(size) / 2, place, material)


def rugs(random: np.random.Generator, half: np.ndarray, middle: np.ndarray, count: int) -> list[Part]:
    """Sheets on the floor: colour edges without depth edges."""
    parts = []
    for number in range(count):
        family = ("plaid", "cloth", "stripes", "poster", "cells", "marble")[random.integers(6)]
        size = random.uniform(0.3, 1.3, 2)
        tints = [materials.colour(random) for _ in range(3)]
        rug = materials.patterned(random, family, tints, float(size.max()) * random.choice([0.5, 1, 2]), shiny=0)
        spot = (middle[:2] + random.normal(0, 1, 2)).clip(-half[:2] + 0.5, half[:2] - 0.5)
        turn = Rotation.from_euler("z", random.uniform(0, np.pi)).as_matrix()
        place = np.array([*spot, -half[2] + 0.004 + 0.003 * number])
        parts.append(
            sheet(place, float(size[0]), float(size[1]), turn, rug, (0, 0, 0, 0, float(random.uniform() < 0.3)))
        )
    return parts


def beams(random: np.random.Generator, half: np.ndarray) -> list[Part]:
    """Beams or pipes under the ceiling."""
    along = int(random.integers(2))
    skin = materials.wood(random, 1) if random.uniform() < 0.5 else materials.surface(random, 1)
    round_pipe, thick = random.uniform() < 0.4, random.uniform(0.04, 0.12)
    parts = []
    for u in np.linspace(-0.8, 0.8, int(random.integers(2, 7))) * half[1 - along]:
        ends = np.array([[u, u, half[2] - thick - 0.01]] * 2)
        ends[:, along] = -half[along], half[along]
        if round_pipe:
            parts.append(rod(ends[0], ends[1], thick / 2, skin))
        else:
            size = np.full(3, 2 * thick)
            size[along] = 2 * half[along]
            parts.append(_block((ends[0] + ends[1]) / 2, list(size), skin))
    return parts


def disguised(random: np.random.Generator, half: np.ndarray, paints: np.ndarray, spot: tuple[float, float]) -> Part:
    """A pillar, half wall or low step whose faces lie as those of the room and have their paint.

    Args:
        random: Source of everything left open.
        half: [3] half size of the room.
        paints: [2, materials.LENGTH] of a wall and of the floor.
        spot: Where it stands.
    """
    chance = random.uniform()
    if chance < 0.25:
        size, paint = [*random.uniform(0.15, 0.5, 2), 2 * half[2]], paints[0]
    elif chance < 0.7:
        long, high = random.uniform(0.4, 1.0), random.uniform(0.4, 1.6)
        size, paint = ([long, 0.12, high] if random.uniform() < 0.5 else [0.12, long, high]), paints[0]
    else:
        size, paint = [*random.uniform(0.3, 1.0, 2), random.uniform(0.1, 0.5)], paints[1]
    return _block(np.array([*spot, -half[2] + size[2] / 2]), size, paint)
