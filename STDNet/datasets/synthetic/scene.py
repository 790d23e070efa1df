"""SyntheticScene: a room, what stands, hangs and moves in it, its light and its camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from STDNet.datasets.synthetic.furniture import Part
from STDNet.datasets.synthetic.motion import CameraPath, Motion

# An open rectangle of a wall: the wall (0..5: -x, +x, -y, +y, -z, +z), low and high along the first of the wall's axes,
# low and high along the second, metres from the wall's centre.
Opening = tuple[int, float, float, float, float]


@dataclass
class Body:
    """Shapes that move as one."""

    motion: Motion
    parts: list[Part]


@dataclass
class SyntheticScene:
    """Everything that a picture depends on, except its size and the time.

    World axes: x and y horizontal, z up, metres; the room is centred at the origin.

    Attributes:
        seed: What it was made from.
        place: "desk", "room" or "hall".
        bodies: What stands and moves in the room.
        room: [2, 2, 3] centre and half size of the room and of what surrounds it.
        openings: Doors and windows.
        walls: [12, materials.LENGTH] materials of the room's walls (-x, +x, -y, +y, -z, +z) and of the surroundings.
        camera: Its path.
        lights: [2, 3] places of the main light, which casts shadows, and of a second one.
        powers: [2, 3] their linear colour at half a room's distance; the ambient light is 1 at most.
        sun: [3] towards the sun, which comes in by the openings, of length 1.
        sunshine: [3] its linear colour, 0 where it does not shine.
        field: Half the width of the picture at 1 m distance, m.
    """

    seed: int
    place: str
    bodies: list[Body]
    room: np.ndarray
    openings: tuple[Opening, ...]
    walls: np.ndarray
    camera: CameraPath
    lights: np.ndarray
    powers: np.ndarray
    sun: np.ndarray
    sunshine: np.ndarray
    field: float
