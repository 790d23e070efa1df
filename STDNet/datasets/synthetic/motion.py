"""Smooth endless motion: sums of sines for places and turns, one call for the poses of all bodies at one time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation


@dataclass
class Motion:
    """How one rigid body moves; the pose is a function of time alone, so that any frame can be rendered first.

    Attributes:
        place_m: [3] mean position in the world (x, y horizontal, z up), metres.
        turn: [3, 3] body-to-world rotation at rest.
        sway_m: [n, 3] amplitudes of the sines that move the body, metres.
        rock: [n, 3] amplitudes of the sines that turn the body about the axes of the world, radians.
        rate: [n] angular rates of the sines, radians a second.
        phase: [n, 6] their phases: three for `sway_m`, three for `rock`.
        spin: [3] constant angular velocity about the axes of the body, radians a second.
    """

    place_m: np.ndarray
    turn: np.ndarray
    sway_m: np.ndarray
    rock: np.ndarray
    rate: np.ndarray
    phase: np.ndarray
    spin: np.ndarray

    @staticmethod
    def still(place_m: np.ndarray, turn: np.ndarray | None = None) -> Motion:
        """A body that does not move."""
        none = np.zeros((0, 3))
        rotation = np.eye(3) if turn is None else turn
        return Motion(np.asarray(place_m, float), rotation, none, none, np.zeros(0), np.zeros((0, 6)), np.zeros(3))

    @property
    def reach_m(self) -> float:
        """No point of time takes the body's centre farther than this from `place_m`."""
        return float(np.linalg.norm(np.abs(self.sway_m).sum(axis=0)))

    @property
    def moves(self) -> bool:
        """Whether the pose changes at all."""
        return bool(self.sway_m.any() or self.rock.any() or self.spin.any())

    def pose(self, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Body-to-world rotation [3, 3] and translation [3] in metres."""
        if not self.moves:
            return self.turn, self.place_m
        angle = self.rate[:, None] * seconds + self.phase
        wave = np.sin(angle)
        place = self.place_m + (self.sway_m * wave[:, :3]).sum(axis=0)
        rock = Rotation.from_rotvec((self.rock * wave[:, 3:]).sum(axis=0)).as_matrix()
        return rock @ self.turn @ Rotation.from_rotvec(self.spin * seconds).as_matrix(), place


def waves(
    random: np.random.Generator, sway_m: np.ndarray, rock: np.ndarray, rates: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Random sines: (sway, rock, rate, phase) for `Motion`, one a row of `rates`.

    Args:
        random: Source of phases and of the share of each sine.
        sway_m: [3] total amplitude of the movement, metres.
        rock: [3] total amplitude of the turn, radians.
        rates: [n] angular rates, radians a second; slow ones get the larger share, as hands and bodies do.
    """
    share = random.uniform(0.3, 1, (len(rates), 6)) / rates[:, None]
    share /= share.sum(axis=0)
    return share[:, :3] * sway_m, share[:, 3:] * rock, rates, random.uniform(0, 2 * np.pi, (len(rates), 6))


@dataclass
class CameraPath:
    """A camera that travels around, looks at a wandering target and is held by a hand.

    Attributes:
        body: Where the camera is; its rotation is not used.
        target: Where it looks.
        hand: Rotation and translation of the shake, in camera axes.
    """

    body: Motion
    target: Motion
    hand: Motion

    def pose(self, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Camera-to-world rotation [3, 3] (x right, y down, z forward) and the position [3] in metres."""
        place, target = self.body.pose(seconds)[1], self.target.pose(seconds)[1]
        forward = (target - place) / np.linalg.norm(target - place)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        look = np.stack([right, np.cross(forward, right), forward], axis=1)
        shake, shift = self.hand.pose(seconds)
        return look @ shake, place + look @ shift
