"""From the surface that each pixel sees to its colour: pattern, light, shadow, gloss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from STDNet.datasets.synthetic import materials, textures
from STDNet.datasets.synthetic.casting import BOX, ELLIPSOID, FRUSTUM, PANEL, View


@dataclass(frozen=True)
class Surfaces:
    """What shading knows of every surface, a row each: the shapes, the walls, the surroundings.

    Attributes:
        kind: [S] BOX, ELLIPSOID, FRUSTUM or PANEL.
        half: [S, 3] half sizes, metres.
        slope: [S] change of a frustum's radius with height.
        material: [S, materials.LENGTH].
    """

    kind: Tensor
    half: Tensor
    slope: Tensor
    material: Tensor


def pick(table: Tensor, surface: Tensor) -> Tensor:
    """Rows of a table [S, C] for every pixel, one channel after the other: [C, N]."""
    return table.T.contiguous().index_select(1, surface)


def length(vector: Tensor) -> Tensor:
    """[...] of [3, ...]; torch's norm along the first axis is many times slower."""
    return (vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]).sqrt()


def dot(one: Tensor, other: Tensor) -> Tensor:
    """[...] of two [3, ...]."""
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]


def _largest(vector: Tensor) -> Tensor:
    """The axis [...] of the component of [3, ...] that is largest in size."""
    a, b, c = vector.abs().unbind()
    return torch.where((a >= b) & (a >= c), 0, torch.where(b >= c, 1, 2))


def normals(kind: Tensor, half: Tensor, slope: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
    """Normals in the surface's own axes, [3, N], and the axis [N] that they are nearest to.

    Args:
        kind: [N].
        half: [3, N] half sizes.
        slope: [N] of frustums.
        point: [3, N] in the surface's own axes.
    """
    share = point / half
    side = _largest(share)
    box, ellipsoid, frustum, panel = (kind == number for number in (BOX, ELLIPSOID, FRUSTUM, PANEL))
    lid = frustum & ((half[2] - point[2].abs()) < 1e-4 * half[2])
    frustum = frustum & ~lid
    flat = torch.where(panel | lid, 2, torch.where(box, side, 3))
    radius = (point[0] * point[0] + point[1] * point[1]).sqrt()
    normal = []
    for axis in range(3):
        # Rounding leaves points of a sheet on either side of it, also exactly on it.
        face = torch.where(flat == axis, torch.where(panel | lid, 1.0, share[axis].sign()), 0.0)
        bulge = -slope * radius if axis == 2 else point[axis]
        normal.append(torch.where(ellipsoid, share[axis] / half[axis], torch.where(frustum, bulge, face)))
    stacked = torch.stack(normal)
    stacked = stacked / length(stacked).clamp(min=1e-12)
    return stacked, _largest(stacked)


def albedo(row: Tensor, point: Tensor, axis: Tensor, footprint_m: Tensor) -> Tensor:
    """[3, N] linear colour of the surfaces.

    Args:
        row: [materials.LENGTH, N] materials.
        point: [3, N] in the surface's own axes, metres.
        axis: [N] the axis that the normal is nearest to: the pattern is laid on along the other two, its rows go
            down along z where z is one of them.
        footprint_m: [N] what a pixel sees of the surface, metres.
    """
    u = torch.where(axis == 0, point[1], point[0])
    v = torch.where(axis == 2, point[1], -point[2])
    scale = row[materials.SCALE]
    s = (u * row[materials.COS] - v * row[materials.SIN]) * scale + row[materials.OFFSET_U]
    t = (u * row[materials.SIN] + v * row[materials.COS]) * scale + row[materials.OFFSET_V]
    colour = textures.sample(row[materials.PATTERN], s, t, footprint_m * scale)
    mix = row[materials.MIX].reshape(3, 3, -1)
    mixed = [mix[:, channel] * colour[channel] for channel in range(3)]
    return (row[materials.BASE] + mixed[0] + mixed[1] + mixed[2]).clamp(0.004, 1)


@dataclass(frozen=True)
class Light:
    """One frame's light in camera axes.

    Attributes:
        place: [2, 3] of the lights, metres.
        power: [2, 3] linear colour at `reach_m`.
        up: [3] where up is.
        reach_m: Distance at which `power` holds.
        sun: [3] towards the sun.
        sunshine: [3] its linear colour.
    """

    place: Tensor
    power: Tensor
    up: Tensor
    reach_m: float
    sun: Tensor
    sunshine: Tensor


@dataclass(frozen=True)
class Exposure:
    """How much light reaches each point, apart from its own slope, [N] each.

    Attributes:
        main: Share of the main light that arrives.
        open: How open the surroundings are: less in corners and close to the floor.
        sun: Share of the sun that arrives.
    """

    main: Tensor
    open: Tensor
    sun: Tensor


def shade(colour: Tensor, row: Tensor, normal: Tensor, point: Tensor, light: Light, reach: Exposure) -> Tensor:
    """[3, N] linear light that reaches the camera.

    Args:
        colour: [3, N] albedo.
        row: [materials.LENGTH, N] materials.
        normal: [3, N] in camera axes, towards the camera.
        point: [3, N] in camera axes, metres.
        light: The lights.
        reach: What arrives of the light.
    """
    upward = dot(light.up, normal)
    ambient = (0.26 + 0.12 * upward) * reach.open + row[materials.GLOW]
    sun = dot(light.sun, normal).clamp(min=0) * reach.sun
    total = colour * (ambient + light.sunshine[:, None] * sun)
    eye = -point / length(point)
    for number in range(2):
        towards = light.place[number, :, None] - point
        distance = length(towards)
        towards = towards / distance
        facing = dot(normal, towards).clamp(min=0)
        strength = 2 / (1 + (distance / light.reach_m) ** 2) * (0.5 + 0.5 * reach.open)
        if number == 0:
            strength = strength * reach.main
        half = towards + eye
        shine = (dot(normal, half) / length(half).clamp(min=1e-6)).clamp(min=1e-3) ** row[materials.GLOSS]
        gloss = shine * row[materials.SPECULAR] * (facing > 0)
        total = total + light.power[number, :, None] * strength * (colour * facing + gloss)
    return total


def shadows(depth: Tensor, view: View, point: Tensor) -> Tensor:
    """[N] share of the main light that reaches each point.

    Args:
        depth: [H, W] depth of the nearest shape as the light sees it.
        view: The light's camera.
        point: [3, N] in the axes of the light's camera, metres.
    """
    ahead = point[2].clamp(min=1e-3)
    x = view.focal * point[0] / ahead + view.width / 2 - 0.5
    y = view.focal * point[1] / ahead + view.height / 2 - 0.5
    inside = (point[2] > 0) & (x > 0) & (x < view.width - 1) & (y > 0) & (y < view.height - 1)
    limit = point[2] * 0.985 - 0.01
    left, top = x.floor().clamp(0, view.width - 2), y.floor().clamp(0, view.height - 2)
    flat, first = depth.reshape(-1), (top * view.width + left).long()
    lit = [(flat[first + step] > limit).float() for step in (0, 1, view.width, view.width + 1)]
    u, v = (x - left).clamp(0, 1), (y - top).clamp(0, 1)
    share = torch.lerp(torch.lerp(lit[0], lit[1], u), torch.lerp(lit[2], lit[3], u), v)
    return torch.where(inside, share, 1.0)


def openness(point: Tensor, room: Tensor) -> Tensor:
    """[N] 0..1: how far points [3, N] in world axes are from the walls, the floor and the ceiling, [2, 3] in metres."""
    share = torch.ones_like(point[0])
    fade = room[1, 2] * 0.15
    for axis in range(3):
        away = (room[1, axis] - (point[axis] - room[0, axis]).abs()).clamp(min=0)
        share = share * (1 - 0.4 * torch.exp(-away / fade))
    # A point of a wall is at no distance of one of them.
    return (share / 0.6).clamp(max=1)


def sunlit(
    point: Tensor, sun: Tensor, room: Tensor, openings: Sequence[tuple[int, float, float, float, float]]
) -> Tensor:
    """[N] 1 where the way from points [3, N] in the room to the sun, both in world axes, goes through an opening."""
    lit = torch.zeros_like(point[0])
    for side, low_u, high_u, low_v, high_v in openings:
        axis, sign = side // 2, 2 * (side % 2) - 1
        if float(sun[axis]) * sign <= 0.05:
            continue
        reach = (room[0, axis] + sign * room[1, axis] - point[axis]) / sun[axis]
        along = 1 - axis
        u = point[along] + reach * sun[along] - room[0, along]
        v = point[2] + reach * sun[2] - room[0, 2]
        # Soft by a share of the way, as the sun is no point.
        blur = reach.abs() * 0.01 + 1e-3
        inside = torch.minimum(torch.minimum(u - low_u, high_u - u), torch.minimum(v - low_v, high_v - v))
        lit = torch.maximum(lit, ((inside / blur) + 0.5).clamp(0, 1) * (reach > 0))
    return lit
