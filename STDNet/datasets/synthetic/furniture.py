"""Things: tables, chairs, shelves, lamps, plants, people and clutter, each a few shapes that move as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from STDNet.datasets.synthetic import materials
from STDNet.datasets.synthetic.casting import BOX, ELLIPSOID, FRUSTUM, PANEL

UP = np.eye(3)


@dataclass
class Part:
    """One shape of a thing.

    Attributes:
        kind: BOX, ELLIPSOID, FRUSTUM or PANEL.
        half: [3] half sizes along the own axes, metres.
        place: [3] centre in the thing's axes, metres.
        material: A row of `materials`.
        turn: [3, 3] own axes to the thing's axes.
        form: [5], see `casting.Shapes`.
    """

    kind: int
    half: np.ndarray
    place: np.ndarray
    material: np.ndarray
    turn: np.ndarray = field(default_factory=lambda: UP)
    form: np.ndarray = field(default_factory=lambda: np.zeros(5))


@dataclass
class Thing:
    """Some shapes whose lowest point is at z = 0.

    Attributes:
        parts: The shapes.
        half: [2] half size of the ground it covers, metres.
        tops: (z, half x, half y) of faces on which something can stand.
    """

    parts: list[Part]
    half: np.ndarray
    tops: list[tuple[float, float, float]] = field(default_factory=list)


def box(x: float, y: float, z: float, size: tuple[float, float, float], material: np.ndarray) -> Part:
    """An upright box from its centre and full sizes."""
    return Part(BOX, np.array(size) / 2, np.array([x, y, z]), material)


def rod(start: np.ndarray, end: np.ndarray, radius: float, material: np.ndarray, *, to: float | None = None) -> Part:
    """A round rod between two points; `to` is its radius at the end."""
    axis = np.asarray(end, float) - start
    length = float(np.linalg.norm(axis))
    turn = Rotation.align_vectors([axis / length], [[0, 0, 1]])[0].as_matrix()
    top = radius if to is None else to
    wide = max(radius, top)
    form = np.array([radius, top, 0, 0, 0])
    return Part(FRUSTUM, np.array([wide, wide, length / 2]), (np.asarray(start) + end) / 2, material, turn, form)


def ball(place: np.ndarray, half: np.ndarray, material: np.ndarray, turn: np.ndarray = UP) -> Part:
    """An ellipsoid."""
    return Part(ELLIPSOID, np.asarray(half, float), np.asarray(place, float), material, turn)


def sheet(
    place: np.ndarray,
    half_u: float,
    half_v: float,
    turn: np.ndarray,
    material: np.ndarray,
    form: tuple[float, ...] = (),
) -> Part:
    """A flat sheet in its own z = 0; `form` has its holes and outline."""
    holes = np.zeros(5)
    holes[: len(form)] = form
    return Part(PANEL, np.array([half_u, half_v, 1e-4]), np.asarray(place, float), material, turn, holes)


def table(random: np.random.Generator) -> Thing:
    """A board on legs."""
    x, y, z = random.uniform(0.35, 1.0), random.uniform(0.3, 0.5), random.uniform(0.4, 0.8)
    top, legs, thick = materials.wood(random, 1), materials.surface(random, 0.3), random.uniform(0.015, 0.03)
    round_legs, inset = random.uniform() < 0.5, random.uniform(0.85, 0.97)
    parts = [box(0, 0, z - 0.02, (2 * x, 2 * y, 0.04), top)]
    for u in (-x * inset, x * inset):
        for v in (-y * inset, y * inset):
            if round_legs:
                parts.append(rod(np.array([u, v, 0]), np.array([u, v, z - 0.04]), thick, legs))
            else:
                parts.append(box(u, v, z / 2 - 0.02, (2 * thick, 2 * thick, z - 0.04), legs))
    return Thing(parts, np.array([x, y]), [(z, x, y)])


def chair(random: np.random.Generator) -> Thing:
    """A seat, thin legs and a back of rungs or a board."""
    wide, seat, high = random.uniform(0.19, 0.25), random.uniform(0.4, 0.5), random.uniform(0.8, 1.1)
    wood, cover, thick = materials.wood(random, 0.5), materials.surface(random, 0.4), random.uniform(0.01, 0.02)
    parts = [box(0, 0, seat, (2 * wide, 2 * wide, 0.05), cover)]
    for u in (-wide, wide):
        for v in (-wide, wide):
            parts.append(rod(np.array([u, v, 0]), np.array([u * 0.95, v, high if v > 0 else seat]), thick, wood))
    if random.uniform() < 0.5:
        parts.append(box(0, wide, (seat + high) / 2 + 0.08, (2 * wide, 0.03, (high - seat) * 0.6), cover))
    else:
        for z in np.linspace(seat + 0.1, high - 0.02, int(random.integers(2, 6))):
            parts.append(rod(np.array([-wide, wide, z]), np.array([wide, wide, z]), thick * 0.7, wood))
    return Thing(parts, np.array([wide, wide]), [(seat + 0.025, wide, wide)] if random.uniform() < 0.3 else [])


def shelf(random: np.random.Generator) -> Thing:
    """Boards between two sides, with rows of books and things, with or without a back."""
    x, y, high = random.uniform(0.3, 0.7), random.uniform(0.12, 0.2), random.uniform(0.8, 2.0)
    wood = materials.wood(random, 1) if random.uniform() < 0.6 else materials.plain(materials.colour(random, "wall"))
    parts = [box(u, 0, high / 2, (0.03, 2 * y, high), wood) for u in (-x, x)]
    levels = np.linspace(0.06, high - 0.02, int(random.integers(3, 6)))
    step = levels[1] - levels[0]
    for z in levels:
        parts.append(box(0, 0, z, (2 * x, 2 * y, 0.025), wood))
    for z in levels[:-1]:
        start = -x + 0.03
        while start < x - 0.1:
            wide = random.uniform(0.08, 0.5)
            wide = min(wide, x - 0.03 - start)
            tall, deep = step * random.uniform(0.4, 0.85), y * random.uniform(0.8, 1.6)
            if random.uniform() < 0.6:
                book = materials.patterned(random, "books", [np.ones(3) * 0.9], tall * 1.02, contrast=0.9)
                book[materials.OFFSET_V] = 0
                material = book if random.uniform() < 0.7 else materials.surface(random, wide)
                parts.append(box(start + wide / 2, 0, z + 0.0125 + tall / 2, (wide * 0.97, deep, tall), material))
            start += wide * random.uniform(1, 1.6)
    if random.uniform() < 0.6:
        parts.append(box(0, y, high / 2, (2 * x, 0.01, high), wood))
    return Thing(parts, np.array([x, y]), [(high, x, y)])


def cabinet(random: np.random.Generator) -> Thing:
    """A box with doors that stand out a little."""
    x, y, z = random.uniform(0.25, 0.8), random.uniform(0.2, 0.35), random.uniform(0.3, 1.6)
    skin, door = materials.surface(random, 0.8), materials.surface(random, 0.5)
    parts = [box(0, 0, z / 2, (2 * x, 2 * y, z), skin)]
    count = int(random.integers(1, 4))
    for u in (np.arange(count) + 0.5) / count * 2 * x - x:
        parts.append(box(u, -y - 0.008, z / 2, (2 * x / count - 0.03, 0.016, z - 0.06), door))
        parts.append(ball(np.array([u + x / count * 0.7, -y - 0.03, z / 2]), np.full(3, 0.018), skin))
    return Thing(parts, np.array([x, y]), [(z, x, y)])


def sofa(random: np.random.Generator) -> Thing:
    """Seat, back, arms and cushions."""
    x, y = random.uniform(0.4, 1.0), random.uniform(0.35, 0.45)
    cover = materials.surface(random, 0.8)
    parts = [box(0, 0, 0.22, (2 * x, 2 * y, 0.4), cover), box(0, y - 0.1, 0.6, (2 * x, 0.2, 0.5), cover)]
    parts += [box(u, 0, 0.35, (0.18, 2 * y, 0.6), cover) for u in (-x, x)]
    for u in random.uniform(-x * 0.7, x * 0.7, int(random.integers(0, 4))):
        turn = Rotation.from_euler("zx", [random.uniform(-0.5, 0.5), random.uniform(-0.5, 0)]).as_matrix()
        parts.append(
            ball(np.array([u, y - 0.28, 0.6]), np.array([0.2, 0.09, 0.2]), materials.surface(random, 0.3), turn)
        )
    return Thing(parts, np.array([x + 0.1, y]), [])


def lamp(random: np.random.Generator) -> Thing:
    """A foot, a thin pole and a shade."""
    high, wide = random.uniform(0.4, 1.7), random.uniform(0.1, 0.25)
    metal = materials.plain(materials.colour(random), specular=0.5, gloss=60)
    shade = materials.plain(materials.colour(random, "wall"), glow=random.uniform(0, 0.6))
    parts = [rod(np.zeros(3), np.array([0, 0, 0.03]), wide * 0.8, metal)]
    parts.append(rod(np.zeros(3), np.array([0, 0, high]), random.uniform(0.006, 0.015), metal))
    top = rod(
        np.array([0, 0, high - 0.1]), np.array([0, 0, high + 0.15]), wide, shade, to=wide * random.uniform(0.4, 1)
    )
    top.form[2] = 1
    return Thing([*parts, top], np.array([wide, wide]))


def plant(random: np.random.Generator) -> Thing:
    """A pot, stems and many leaves."""
    high, wide = random.uniform(0.3, 1.2), random.uniform(0.06, 0.18)
    pot = materials.surface(random, 0.2)
    tint = np.array([random.uniform(0.1, 0.4), random.uniform(0.3, 0.6), random.uniform(0.05, 0.25)])
    leaf = materials.patterned(random, "leaves", [tint, tint * 0.5, tint * 1.4], 0.3, shiny=0.5)
    parts = [rod(np.zeros(3), np.array([0, 0, 2 * wide]), wide * 0.7, pot, to=wide)]
    spread = high * random.uniform(0.3, 0.6)
    for _ in range(int(random.integers(5, 16))):
        tip = np.array([*random.normal(0, spread / 2, 2), 2 * wide + high * random.uniform(0.3, 1)])
        parts.append(rod(np.array([0, 0, 2 * wide - 0.01]), tip, 0.006, leaf, to=0.003))
        long = high * random.uniform(0.1, 0.3)
        turn = Rotation.from_euler("zyx", random.uniform((-3, -1, -1), (3, 1, 1))).as_matrix()
        parts.append(sheet(tip, long, long * random.uniform(0.2, 0.6), turn, leaf, (0, 0, 0, 0, 1)))
    return Thing(parts, np.array([wide, wide]))


def person(random: np.random.Generator) -> Thing:
    """Legs, trunk, arms and a head, roughly."""
    high = random.uniform(1.2, 1.9)
    shirt, trousers = materials.surface(random, 0.4), materials.surface(random, 0.5)
    skin = materials.plain(np.array([0.85, 0.65, 0.52]) * random.uniform(0.4, 1.05))
    leg, hip, shoulder = random.uniform(-0.2, 0.2), 0.5 * high, 0.82 * high
    parts = []
    for side in (-1, 1):
        foot = np.array([side * 0.1, side * leg, 0.0])
        parts.append(rod(foot, np.array([side * 0.08, 0, hip]), 0.05, trousers, to=0.085))
        hand = np.array([side * 0.3, -side * leg * 1.3, random.uniform(0.42, 0.7) * high])
        parts.append(rod(np.array([side * 0.2, 0, shoulder - 0.03]), hand, 0.055, shirt, to=0.035))
        parts.append(ball(hand, np.full(3, 0.05), skin))
    parts.append(ball(np.array([0, 0, (hip + shoulder) / 2]), np.array([0.2, 0.13, (shoulder - hip) * 0.62]), shirt))
    parts.append(rod(np.array([0, 0, shoulder]), np.array([0, 0, 0.9 * high]), 0.05, skin))
    parts.append(ball(np.array([0, 0, 0.93 * high]), np.array([0.085, 0.1, 0.12]), skin))
    hair = materials.plain(materials.colour(random) * 0.4)
    parts.append(ball(np.array([0, 0.025, 0.95 * high]), np.array([0.092, 0.1, 0.12]), hair))
    return Thing(parts, np.array([0.25, 0.2]))


def animal(random: np.random.Generator) -> Thing:
    """A trunk on four legs with a head, ears and a tail."""
    size = random.uniform(0.25, 0.7)
    tint = materials.colour(random)
    fur = materials.patterned(random, "leaves", [tint, tint * 0.5, tint], size, contrast=0.8, shiny=0)
    parts = [ball(np.array([0, 0, size * 0.75]), np.array([0.55, 0.22, 0.25]) * size, fur)]
    for u in (-0.38, 0.38):
        for v in (-0.12, 0.12):
            step = random.uniform(-0.15, 0.15)
            parts.append(
                rod(np.array([u + step, v, 0]) * size, np.array([u, v, 0.7]) * size, 0.045 * size, fur, to=0.08 * size)
            )
    head = np.array([0.68, 0, 1.1]) * size
    parts += [
        ball(head, np.array([0.2, 0.14, 0.15]) * size, fur),
        rod(np.array([0.4, 0, 0.8]) * size, head, 0.1 * size, fur),
    ]
    parts += [
        ball(head + np.array([-0.05, v, 0.16]) * size, np.array([0.04, 0.05, 0.1]) * size, fur) for v in (-0.1, 0.1)
    ]
    parts.append(
        rod(np.array([-0.5, 0, 0.8]) * size, np.array([-0.85, 0.1, 1.05]) * size, 0.04 * size, fur, to=0.02 * size)
    )
    return Thing(parts, np.array([0.8, 0.25]) * size)


Builder = Callable[[np.random.Generator], Thing]
FURNITURE: tuple[Builder, ...] = (table, table, chair, chair, shelf, cabinet, sofa, lamp, plant)
