"""The lens: where several rays a pixel go (within the pixel, over time, over the lens), and soft edges without them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from numpy import cos, pi, sin, sqrt
from torch import Tensor


@dataclass(frozen=True)
class Ray:
    """One of the rays of every pixel.

    Attributes:
        shift: (right, down) from the middle of the pixel, pixels.
        delay: From the middle of the time that the shutter is open, as a share of the time between frames.
        lens: (right, down) from the middle of the lens, as a share of the focused distance.
    """

    shift: tuple[float, float]
    delay: float
    lens: tuple[float, float]


def rays(samples: int, shutter: float, aperture: float) -> list[Ray]:
    """`samples` rays, evenly spread over pixel, time and lens."""
    if samples == 1:
        return [Ray((0.0, 0.0), 0.0, (0.0, 0.0))]
    found = []
    for number in range(samples):
        shift = (_halton(number + 1, 2) - 0.5, _halton(number + 1, 3) - 0.5)
        # The order over time must not go with the place in the pixel.
        delay = ((number * 5 % samples if samples % 5 else number) + 0.5) / samples - 0.5
        radius, angle = aperture / 2 * sqrt((number + 0.5) / samples), 2 * pi * number * 0.381966
        found.append(Ray(shift, delay * shutter, (float(radius * cos(angle)), float(radius * sin(angle)))))
    return found


def _halton(number: int, base: int) -> float:
    """The `number`-th of evenly spread values in 0..1."""
    value, share = 0.0, 1.0
    while number:
        share /= base
        value += share * (number % base)
        number //= base
    return value


def soften(light: Tensor, surface: Tensor) -> Tensor:
    """Mix neighbours where surfaces meet: [3, H, W] and the numbers of the surfaces [H, W]."""
    edge = torch.zeros_like(surface, dtype=torch.bool)
    across, down = surface[:, 1:] != surface[:, :-1], surface[1:] != surface[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    soft = torch.nn.functional.pad(light[None], (1, 1, 1, 1), mode="replicate")[0]
    soft = soft[:, :-2] + 2 * soft[:, 1:-1] + soft[:, 2:]
    soft = (soft[..., :-2] + 2 * soft[..., 1:-1] + soft[..., 2:]) / 16
    return torch.where(edge, soft, light)
