"""compose: from a seed to a furnished room."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from STDNet.datasets.synthetic import clutter, fixtures, furniture, materials
from STDNet.datasets.synthetic.motion import CameraPath, Motion, waves
from STDNet.datasets.synthetic.scene import Body, Opening, SyntheticScene
from STDNet.errors import InputError

# Metres that one unit of the plan is, and how densely it is furnished: a desk is a room in small, a hall one in large.
PLACES = {"desk": (0.3, 1.0), "room": (1.0, 1.0), "hall": (3.2, 1.6)}
_SHARE = {"desk": 0.25, "room": 0.5, "hall": 0.25}


def compose(seed: int, place: str | None = None) -> SyntheticScene:
    """The scene of a seed.

    Args:
        seed: 0 or more.
        place: "desk" (0.3 to 3 m), "room" (1 to 10 m) or "hall" (2 to 40 m); None lets the seed choose.

    Raises:
        InputError: A negative seed or an unknown place.
    """
    if seed < 0:
        raise InputError(f"seed {seed}: expected 0 or more")
    if place is not None and place not in PLACES:
        raise InputError(f"place {place!r} is unknown; known: {', '.join(PLACES)}")
    random = np.random.default_rng([seed, 1])
    chosen = str(random.choice(list(_SHARE), p=list(_SHARE.values())))
    return _Plan(seed, place or chosen, random).scene()


class _Plan:
    """A scene that is being furnished, in units of the plan; metres come last."""

    def __init__(self, seed: int, place: str, random: np.random.Generator) -> None:
        self.seed, self.place, self.random = seed, place, random
        self.unit, self.density = PLACES[place]
        self.half = np.array([random.uniform(2.2, 5.5), random.uniform(2.2, 5.5), random.uniform(1.2, 1.7)])
        self.bodies: list[Body] = []
        # Ground that is taken: centre x, y and radius.
        self.taken: list[tuple[float, float, float]] = []
        self.tops: list[tuple[np.ndarray, np.ndarray, tuple[float, float]]] = []
        self.floor = -self.half[2]
        self.camera = self._camera()

    def scene(self) -> SyntheticScene:
        """Furnish it and turn units into metres."""
        random = self.random
        around = self.half * random.uniform(1.6, 4, 3) + 1
        outside = np.array([[0, 0, around[2] - self.half[2] - 0.1], around])
        openings, walls = self._openings(), self._walls(outside)
        self._fix(openings, walls)
        self._movers(int(random.integers(2, 6)))
        self._furnish(int(random.integers(8, 16) * self.density), walls[0])
        self._litter(int(random.integers(8, 20) * self.density), walls[0])
        self._stack(int(random.integers(6, 24)))
        self._hang(openings, int(random.integers(4, 14)), int(random.integers(0, 5)))
        room = np.array([[np.zeros(3), self.half], outside])
        lights = np.array([[*random.uniform(-0.6, 0.6, 2), 0.9], [*random.uniform(-0.9, 0.9, 2), 0.3]]) * self.half
        warm = 1 + np.array([1, 0, -1]) * random.uniform(-0.1, 0.25, (2, 1))
        powers = warm * np.array([[random.uniform(0.6, 2.2)], [random.uniform(0, 0.8)]])
        _rescale(self.bodies, self.camera, self.unit)
        walls[:, materials.SCALE] /= self.unit
        scaled = tuple((side, *(float(edge) * self.unit for edge in edges)) for side, *edges in openings)
        sun, sunshine = self._daylight()
        return SyntheticScene(
            seed=self.seed,
            place=self.place,
            bodies=self.bodies,
            room=room * self.unit,
            openings=scaled,  # type: ignore[arg-type]
            walls=walls,
            camera=self.camera,
            lights=lights * self.unit,
            powers=powers,
            sun=sun,
            sunshine=sunshine,
            field=float(random.uniform(0.5, 0.95)),
        )

    def _camera(self) -> CameraPath:
        """From one side of the room towards the other."""
        random = self.random
        angle = random.uniform(0, 2 * np.pi)
        away = np.array([np.cos(angle), np.sin(angle)]) * (self.half[:2] - 1.0) * random.uniform(0.4, 0.95)
        place = np.array([*away, random.uniform(-0.5, 0.6)])
        # Far enough that the camera cannot pass its target, which would whirl it around.
        ahead = np.arctan2(-away[1], -away[0]) + random.normal(0, 0.35)
        goal = away + np.array([np.cos(ahead), np.sin(ahead)]) * random.uniform(2.5, 4.5)
        goal = np.array([*goal, random.uniform(-0.8, 0.1)])
        pace = 2 ** random.uniform(-1.2, 2)
        sway = np.array([0.45, 0.45, 0.2]) * random.uniform(0.3, 1, 3)
        turn, none = np.eye(3), np.zeros(3)
        body = Motion(place, turn, *waves(random, sway, none, np.array([0.7, 1.3, 2.1]) * pace), none)
        target = Motion(goal, turn, *waves(random, np.array([0.6, 0.6, 0.4]), none, np.array([0.5, 1.1]) * pace), none)
        tremor = random.uniform(0.002, 0.012)
        shake = waves(random, np.full(3, 0.01), np.array([1, 1, 1.5]) * tremor, random.uniform(8, 45, 5))
        roll = Rotation.from_euler("z", random.normal(0, 0.05)).as_matrix()
        return CameraPath(body, target, Motion(none, roll, *shake, none))

    def _free(self, x: float, y: float, radius: float) -> bool:
        """Whether a thing may stand there: within the room, off the camera's way, not in another thing."""
        if abs(x) + radius > self.half[0] or abs(y) + radius > self.half[1]:
            return False
        body = self.camera.body
        if np.hypot(x - body.place_m[0], y - body.place_m[1]) < radius + body.reach_m + 0.35:
            return False
        return all(np.hypot(x - u, y - v) > 0.75 * (radius + r) for u, v, r in self.taken)

    def _spot(self, radius: float, tries: int = 12, ahead: float = 0.5) -> tuple[float, float] | None:
        """A free place on the floor; a share of `ahead` of the tries is between the camera and beyond its target."""
        place, target = self.camera.body.place_m[:2], self.camera.target.place_m[:2]
        for _ in range(tries):
            x, y = self.random.uniform(-1, 1, 2) * self.half[:2]
            if self.random.uniform() < ahead:
                way = self.random.uniform(0.3, 1.5)
                x, y = place + (target - place) * way + self.random.normal(0, 0.7 * way, 2)
            if self._free(x, y, radius):
                self.taken.append((x, y, radius))
                return float(x), float(y)
        return None

    def _put(self, thing: furniture.Thing, place: np.ndarray, turn: np.ndarray | None = None) -> None:
        """Stand a thing somewhere, turned as given or anyhow, and remember what may stand on it."""
        if turn is None:
            turn = Rotation.from_euler("z", self.random.uniform(0, 2 * np.pi)).as_matrix()
        self.bodies.append(Body(Motion.still(place, turn), thing.parts))
        for z, x, y in thing.tops:
            self.tops.append((place + np.array([0, 0, z]), turn, (x, y)))

    def _furnish(self, count: int, paint: np.ndarray) -> None:
        """Large things, many of them along the walls, some in the paint of the walls."""
        for _ in range(count):
            thing = furniture.FURNITURE[self.random.integers(len(furniture.FURNITURE))](self.random)
            if self.random.uniform() < 0.15:
                _repaint(thing, paint)
            if self.random.uniform() < 0.4:
                self._against_wall(thing)
            elif spot := self._spot(float(np.linalg.norm(thing.half))):
                self._put(thing, np.array([*spot, self.floor]))

    def _against_wall(self, thing: furniture.Thing) -> None:
        """Its back to a wall."""
        side = int(self.random.integers(4))
        room = self.half[1 - side // 2] - thing.half[0] - 0.05
        u = self.random.uniform(-1, 1) * max(0.0, room)
        place = fixtures.on_wall(side, self.half, u, self.floor, thing.half[1] + 0.03)
        # Walls may be closer than the circle around the thing allows.
        if self._free(place[0], place[1], float(thing.half.min()) * 0.9):
            self.taken.append((place[0], place[1], float(thing.half.max())))
            self._put(thing, place, fixtures.wall_turn(side))

    def _fix(self, openings: list[Opening], walls: np.ndarray) -> None:
        """Windows, skirting, rugs, beams, and what has the paint of a wall."""
        random = self.random
        parts = fixtures.windows(random, self.half, openings)
        if random.uniform() < 0.6:
            parts += fixtures.skirting(random, self.half, openings)
        if random.uniform() < 0.35:
            parts += fixtures.beams(random, self.half)
        parts += fixtures.rugs(random, self.half, self.camera.target.place_m, int(random.integers(0, 4)))
        for _ in range(int(random.integers(1, 5))):
            if spot := self._spot(random.uniform(0.3, 0.6)):
                parts.append(fixtures.disguised(random, self.half, walls[[0, 4]], spot))
        if parts:
            self.bodies.append(Body(Motion.still(np.zeros(3)), parts))

    def _litter(self, count: int, paint: np.ndarray) -> None:
        """Smaller things on the floor; some share a colour, so that they hide before each other or the walls."""
        random = self.random
        shared = paint if random.uniform() < 0.5 else materials.surface(random, 0.3)
        alike = random.uniform(0, 0.6)
        for _ in range(count):
            thing = clutter.CLUTTER[random.integers(len(clutter.CLUTTER))](random)
            if random.uniform() < alike:
                _repaint(thing, shared)
            if spot := self._spot(float(np.linalg.norm(thing.half))):
                self._put(thing, np.array([*spot, self.floor]))

    def _stack(self, count: int) -> None:
        """Small things on whatever has a top, also on each other."""
        for _ in range(count if self.tops else 0):
            place, turn, (x, y) = self.tops[self.random.integers(len(self.tops))]
            size = float(np.clip(2.2 * min(x, y), 0.2, 1.0))
            thing = clutter.SMALL[self.random.integers(len(clutter.SMALL))](self.random, size)
            spot = self.random.uniform(-1, 1, 2) * np.maximum(0, np.array([x, y]) - thing.half)
            self._put(thing, place + turn @ np.array([*spot, 0]))

    def _hang(self, openings: list[Opening], pictures: int, cords: int) -> None:
        """Pictures on the walls; lamps and mobiles from the ceiling, some of which swing."""
        random = self.random
        for _ in range(pictures):
            side, size = int(random.integers(4)), random.uniform(0.12, 0.6, 2)
            u, v = random.uniform(-0.8, 0.8) * self.half[1 - side // 2], random.uniform(-0.3, 0.6)
            if not fixtures.overlaps(openings, side, u, v, size + 0.1):
                place = Motion.still(fixtures.on_wall(side, self.half, u, v), fixtures.wall_turn(side))
                self.bodies.append(Body(place, clutter.poster(random, float(size[0]), float(size[1]))))
        for _ in range(cords):
            if spot := self._spot(0.3):
                motion = Motion.still(np.array([*spot, self.half[2]]))
                if random.uniform() < 0.5:
                    rock, rates = np.array([0.2, 0.2, 0.4]) * random.uniform(0.2, 1), np.array([2.5, 4.0])
                    motion.sway_m, motion.rock, motion.rate, motion.phase = waves(random, np.zeros(3), rock, rates)
                self.bodies.append(Body(motion, clutter.hanging(random, random.uniform(0.2, 1.2))))

    def _movers(self, count: int) -> None:
        """People and animals that walk, balls and boxes that tumble through the air."""
        random = self.random
        for _ in range(count):
            walks = random.uniform() < 0.5
            builders = (furniture.person, furniture.animal) if walks else clutter.CLUTTER
            sway = random.uniform(0.1, 0.8, 3) * (1, 1, 0.0 if walks else 0.5)
            thing = builders[random.integers(len(builders))](random)
            if (spot := self._spot(float(np.linalg.norm(sway)) * 0.6 + 0.3, 40, ahead=0.9)) is None:
                continue
            rates = np.array([0.8, 1.9]) * random.uniform(0.6, 2)
            rock = np.array([0.05, 0.05, 0.6]) if walks else np.full(3, 0.5)
            spin = np.zeros(3) if walks else random.normal(0, 1.2, 3)
            height = self.floor if walks else random.uniform(-0.9, 0.5)
            turn = Rotation.from_euler("z", random.uniform(0, 2 * np.pi)).as_matrix()
            motion = Motion(np.array([*spot, height]), turn, *waves(random, sway, rock, rates), spin)
            self.bodies.append(Body(motion, thing.parts))

    def _openings(self) -> list[Opening]:
        """Doors and windows."""
        random = self.random
        openings: list[Opening] = []
        for side in range(4):
            wide = self.half[1 - side // 2]
            for _ in range(int(random.integers(0, 3))):
                half = random.uniform(0.3, 0.8)
                middle = random.uniform(-1, 1) * (wide - half - 0.1)
                low, high = (-9.0, 0.8) if random.uniform() < 0.4 else (-0.5, random.uniform(0.3, 0.9))
                if not fixtures.overlaps(openings, side, middle, 0.0, np.array([half + 0.4, 9.0])):
                    openings.append((side, middle - half, middle + half, max(low, self.floor), high))
        return openings

    def _daylight(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the sun is and how bright."""
        random, angle = self.random, self.random.uniform(0, 2 * np.pi)
        sun = np.array([np.cos(angle), np.sin(angle), random.uniform(0.25, 0.9)])
        shine = np.array([1.0, 0.9, 0.75]) * random.uniform(1, 4) * (random.uniform() < 0.6)
        return sun / np.linalg.norm(sun), shine

    def _walls(self, outside: np.ndarray) -> np.ndarray:
        """Materials of the walls, most rooms have one paint all around; and of what surrounds the room."""
        random, high = self.random, 2 * self.half[2]
        paint = materials.wall(random, high)
        sides = [paint if random.uniform() < 0.7 else materials.wall(random, high) for _ in range(4)]
        ceiling = materials.plain(materials.colour(random, "wall"))
        # High enough for one sky, with the horizon at the height of the eyes.
        view = materials.patterned(random, "landscape", [np.ones(3)], 2 * outside[1, 2], contrast=1)
        view[materials.OFFSET_V] = 0.5 - outside[0, 2] * view[materials.SCALE]
        view[materials.GLOW] = random.uniform(0.3, 1.5)
        ground = materials.patterned(random, "leaves", [materials.colour(random) for _ in range(3)], high)
        sky = materials.plain(np.array([0.6, 0.8, 1.0]), glow=1.0)
        return np.stack([*sides, materials.floor(random, high), ceiling, *([view] * 4), ground, sky])


def _repaint(thing: furniture.Thing, material: np.ndarray) -> None:
    """Give all parts one material."""
    for part in thing.parts:
        part.material = material


def _rescale(bodies: list[Body], camera: CameraPath, unit: float) -> None:
    """From units of the plan to metres."""
    for motion in [camera.body, camera.target, camera.hand, *(body.motion for body in bodies)]:
        motion.place_m, motion.sway_m = motion.place_m * unit, motion.sway_m * unit
    for part in {id(part): part for body in bodies for part in body.parts}.values():
        part.half, part.place = part.half * unit, part.place * unit
        if part.kind == furniture.FRUSTUM:
            part.form = part.form * np.array([unit, unit, 1, 1, 1])
        part.material = part.material.copy()
        part.material[materials.SCALE] /= unit
