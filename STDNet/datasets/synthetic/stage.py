"""A scene as tensors: its shapes, and where they are as seen from a camera at some time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from STDNet.datasets.synthetic import materials
from STDNet.datasets.synthetic.casting import BOX, FRUSTUM, Shapes
from STDNet.datasets.synthetic.scene import SyntheticScene
from STDNet.datasets.synthetic.shading import Surfaces

Pose = tuple[np.ndarray, np.ndarray]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: of thousands of small operations, threads only wait for each other.

    A process that renders shares the cores with others, such as the workers of a loader.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Seen:
    """Where everything is, from one camera at one time.

    Attributes:
        turn: [S, 3, 3] camera axes to the axes of each surface.
        origin: [S, 3] the camera in the axes of each surface, metres.
        room_turn: [3, 3] camera axes to world axes.
        room_origin: [3] the camera in the world, metres.
    """

    turn: Tensor
    origin: Tensor
    room_turn: Tensor
    room_origin: Tensor


class Stage:
    """The shapes of a scene on one device, in the order of `Shapes`, and their poses.

    Attributes:
        shapes: For casting.
        surfaces: For shading: the shapes, then the twelve walls.
    """

    def __init__(self, scene: SyntheticScene, device: torch.device) -> None:
        self.scene, self.device = scene, device
        parts = [(part, number) for number, body in enumerate(scene.bodies) for part in body.parts]
        parts.sort(key=lambda pair: pair[0].kind)
        self._body = np.array([number for _, number in parts], int)
        self._turn = np.stack([part.turn for part, _ in parts])
        self._place = np.stack([part.place for part, _ in parts])
        kind = np.array([part.kind for part, _ in parts] + [BOX] * 12)
        half = np.stack([part.half for part, _ in parts] + [scene.room[0, 1]] * 6 + [scene.room[1, 1]] * 6)
        form = np.stack([part.form for part, _ in parts])
        slope = np.where(kind[:-12] == FRUSTUM, (form[:, 1] - form[:, 0]) / (2 * half[:-12, 2]), 0)
        material = np.concatenate([np.stack([part.material for part, _ in parts]), scene.walls])
        assert material.shape[1] == materials.LENGTH
        counts = tuple(int((kind[:-12] == number).sum()) for number in range(4))
        self.shapes = Shapes(
            counts, self._tensor(half[:-12]), self._tensor(form), self._tensor(scene.room), scene.openings
        )
        self.surfaces = Surfaces(
            torch.from_numpy(kind).to(device),
            self._tensor(half),
            self._tensor(np.concatenate([slope, np.zeros(12)])),
            self._tensor(material),
        )

    def seen(self, camera: Pose, seconds: float) -> Seen:
        """All surfaces from a camera pose (camera-to-world rotation and position) at a time."""
        bodies = [body.motion.pose(seconds) for body in self.scene.bodies]
        turns = np.stack([turn for turn, _ in bodies])[self._body]
        places = np.stack([place for _, place in bodies])[self._body]
        place = (turns @ self._place[..., None])[..., 0] + places
        # The transpose of axes-to-world is world-to-axes.
        inverse = np.concatenate([(turns @ self._turn).transpose(0, 2, 1), np.tile(np.eye(3), (12, 1, 1))])
        place = np.concatenate([place, np.repeat(self.scene.room[:, 0], 6, axis=0)])
        origin = (inverse @ (camera[1] - place)[..., None])[..., 0]
        return Seen(
            self._tensor(inverse @ camera[0]), self._tensor(origin), self._tensor(camera[0]), self._tensor(camera[1])
        )

    def _tensor(self, values: np.ndarray) -> Tensor:
        """Float32 on the device; poses are multiplied in float64 before."""
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self.device)
