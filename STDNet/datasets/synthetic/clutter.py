"""Small and odd things: crates, balls, bottles, frames, ladders, and what hangs on walls and from ceilings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial.transform import Rotation

from STDNet.datasets.synthetic import materials
from STDNet.datasets.synthetic.furniture import Builder, Part, Thing, ball, box, rod, sheet

# A sheet's own axes (x, y) to (x, -z): it stands upright, and the rows of its picture go down.
UPRIGHT = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]).T


def crate(random: np.random.Generator, size: float = 1.0) -> Thing:
    """A box of any proportion."""
    half = size * random.uniform(0.06, 0.3, 3)
    part = box(0, 0, half[2], tuple(2 * half), materials.surface(random, float(half.max() * 2)))
    return Thing([part], half[:2], [(2 * half[2], half[0], half[1])])


def globe(random: np.random.Generator, size: float = 1.0) -> Thing:
    """A ball or an egg."""
    half = size * random.uniform(0.05, 0.25) * np.array([1, 1, random.uniform(0.7, 1.3)])
    return Thing([ball(np.array([0, 0, half[2]]), half, materials.surface(random, float(half[0] * 2)))], half[:2])


def bottle(random: np.random.Generator, size: float = 1.0) -> Thing:
    """A bottle, a cup or a drum."""
    wide, high = size * random.uniform(0.04, 0.15), size * random.uniform(0.1, 0.5)
    skin = materials.surface(random, wide * 3)
    parts = [rod(np.zeros(3), np.array([0, 0, high]), wide, skin, to=wide * random.uniform(0.7, 1.2))]
    if random.uniform() < 0.5:
        parts.append(rod(np.array([0, 0, high]), np.array([0, 0, high * 1.3]), wide * 0.7, skin, to=wide * 0.3))
        parts.append(rod(np.array([0, 0, high * 1.3]), np.array([0, 0, high * 1.5]), wide * 0.3, skin))
    return Thing(parts, np.array([wide, wide]))


def frame(random: np.random.Generator, size: float = 1.0) -> Thing:
    """A rectangular frame or a cube of thin rods."""
    x, y, z = size * random.uniform(0.15, 0.5, 3)
    thick, skin = size * random.uniform(0.004, 0.02), materials.surface(random, 0.2)
    parts = []
    for v in (-y, y) if random.uniform() < 0.5 else (0.0,):
        for a, b in (((-x, 0), (x, 0)), ((x, 0), (x, 2 * z)), ((x, 2 * z), (-x, 2 * z)), ((-x, 2 * z), (-x, 0))):
            parts.append(rod(np.array([a[0], v, a[1] + thick]), np.array([b[0], v, b[1] + thick]), thick, skin))
    if len(parts) > 4:
        parts += [
            rod(np.array([u, -y, w]), np.array([u, y, w]), thick, skin) for u in (-x, x) for w in (thick, 2 * z + thick)
        ]
    return Thing(parts, np.array([x, y]))


def ladder(random: np.random.Generator, size: float = 1.0) -> Thing:
    """Two rails and rungs, leaning."""
    high, wide, lean = size * random.uniform(0.8, 2.2), size * random.uniform(0.15, 0.3), random.uniform(-0.4, 0.4)
    thick, skin = size * random.uniform(0.008, 0.025), materials.surface(random, 0.4)
    top = np.array([0, lean * high, high])
    parts = [rod(np.array([u, 0, 0]), top + [u, 0, 0], thick, skin) for u in (-wide, wide)]
    for share in np.linspace(0.1, 0.95, int(random.integers(3, 9))):
        parts.append(rod(top * share + [-wide, 0, 0], top * share + [wide, 0, 0], thick * 0.8, skin))
    return Thing(parts, np.array([wide, abs(lean * high) + 0.05]))


def grille(random: np.random.Generator, size: float = 1.0) -> Thing:
    """A standing sheet with holes: a fence, a rack, a screen."""
    x, z = size * random.uniform(0.2, 0.8), size * random.uniform(0.2, 0.7)
    holes = (*random.integers(1, 9, 2), *random.uniform(0.5, 0.93, 2))
    turn = Rotation.from_euler("x", random.uniform(-0.3, 0.3)).as_matrix() @ UPRIGHT
    return Thing([sheet(np.array([0, 0, z]), x, z, turn, materials.surface(random, x), holes)], np.array([x, 0.05]))


def papers(random: np.random.Generator, size: float = 1.0) -> Thing:
    """A pile of books or papers, turned against each other."""
    parts, z, half = [], 0.0, size * random.uniform(0.07, 0.2, 2)
    for _ in range(int(random.integers(1, 6))):
        thick = size * random.uniform(0.005, 0.05)
        part = box(0, 0, z + thick / 2, (2 * half[0], 2 * half[1], thick), materials.surface(random, float(half[0])))
        part.turn = Rotation.from_euler("z", random.normal(0, 0.25)).as_matrix()
        parts.append(part)
        z += thick
    return Thing(parts, half, [(z, half[0] * 0.7, half[1] * 0.7)])


def cross(random: np.random.Generator, size: float = 1.0) -> Thing:
    """Rods in all directions, a piece of scrap."""
    skin, centre = materials.surface(random, 0.3), np.array([0, 0, size * 0.25])
    parts = []
    for _ in range(int(random.integers(2, 7))):
        axis = random.normal(size=3)
        axis *= size * 0.25 / np.linalg.norm(axis)
        parts.append(rod(centre - axis, centre + axis, size * random.uniform(0.005, 0.03), skin))
    return Thing(parts, np.full(2, size * 0.2))


def poster(random: np.random.Generator, wide_m: float, high_m: float) -> list[Part]:
    """A picture that hangs on a wall, centred at the origin and facing -y; a frame around it or none."""
    family = ("poster", "poster", "landscape", "writing", "stripes", "marble")[random.integers(6)]
    tints = [materials.colour(random, kind) for kind in ("wall", "vivid", "any")]
    face = materials.patterned(random, family, tints, 2 * max(wide_m, high_m), shiny=0.3)
    face[[materials.OFFSET_U, materials.OFFSET_V]] = 0.5
    parts = [sheet(np.array([0, -0.008, 0]), wide_m, high_m, UPRIGHT, face)]
    if random.uniform() < 0.5:
        edge, rim = random.uniform(0.01, 0.03), materials.surface(random, 0.3)
        for u in (-1, 1):
            parts.append(box(u * wide_m, -0.015, 0, (2 * edge, 0.03, 2 * high_m), rim))
            parts.append(box(0, -0.015, u * high_m, (2 * (wide_m + edge), 0.03, 2 * edge), rim))
    return parts


def hanging(random: np.random.Generator, length_m: float) -> list[Part]:
    """A cord and what hangs on it; the origin is the ceiling."""
    cord = materials.plain(materials.colour(random) * 0.5)
    parts = [rod(np.array([0, 0, -length_m]), np.zeros(3), 0.004, cord)]
    chance = random.uniform()
    if chance < 0.45:
        shade = materials.plain(materials.colour(random, "wall"), glow=random.uniform(0, 0.5))
        wide = random.uniform(0.08, 0.25)
        parts.append(rod(np.array([0, 0, -length_m - 0.2]), np.array([0, 0, -length_m]), wide, shade, to=wide * 0.3))
        parts[-1].form[2] = 1
    elif chance < 0.7:
        skin = materials.surface(random, 0.2)
        parts.append(ball(np.array([0, 0, -length_m]), np.full(3, random.uniform(0.05, 0.2)), skin))
    else:
        for part in CLUTTER[random.integers(len(CLUTTER))](random).parts:
            part.place = part.place - [0, 0, length_m + 0.4]
            parts.append(part)
    return parts


CLUTTER: tuple[Builder, ...] = (crate, crate, crate, globe, bottle, bottle, frame, ladder, grille, papers, cross)
SMALL: tuple[Callable[[np.random.Generator, float], Thing], ...] = (crate, globe, bottle, bottle, papers, papers, cross)
