"""Ray casting: for every pixel the nearest surface of a room full of analytic shapes, and its depth.

Pixels are kept tile by tile: [B, N] with N = tiles * TILE_H * TILE_W. Whole tiles are tested against the bounding box
of every shape first; the pairs of tile and shape that are left are intersected all at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TILE_H, TILE_W = 8, 8
BOX, ELLIPSOID, FRUSTUM, PANEL = range(4)
# What is nearer than this to the camera is not seen, metres.
NEAR_M = 0.02
_TINY = 1e-9


@dataclass(frozen=True)
class View:
    """A pinhole camera whose axis goes through the middle of the picture.

    Attributes:
        height: Pixels.
        width: Pixels.
        focal: Focal length in pixels.
        shift: (right, down) offset of all rays in pixels, for several samples a pixel.
    """

    height: int
    width: int
    focal: float
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles that cover the picture."""
        return -(-self.height // TILE_H), -(-self.width // TILE_W)

    def rays(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """X and y of the rays (x, y, 1): of the tiles' corners [tiles], and offsets within a tile [TILE_H * TILE_W]."""
        rows, columns = self.grid
        left = (torch.arange(columns, device=device) * TILE_W + 0.5 + self.shift[0] - self.width / 2) / self.focal
        top = (torch.arange(rows, device=device) * TILE_H + 0.5 + self.shift[1] - self.height / 2) / self.focal
        right = torch.arange(TILE_W, device=device) / self.focal
        down = torch.arange(TILE_H, device=device) / self.focal
        return left.repeat(rows), top.repeat_interleave(columns), right.repeat(TILE_H), down.repeat_interleave(TILE_W)

    def directions(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """X and y of all rays (x, y, 1), [N] each."""
        left, top, right, down = self.rays(device)
        return (left[:, None] + right).reshape(-1), (top[:, None] + down).reshape(-1)

    def untile(self, values: Tensor) -> Tensor:
        """[..., N] tile by tile to [..., H, W]."""
        rows, columns = self.grid
        tiled = values.reshape(*values.shape[:-1], rows, columns, TILE_H, TILE_W).transpose(-3, -2)
        return tiled.reshape(*values.shape[:-1], rows * TILE_H, columns * TILE_W)[..., : self.height, : self.width]


@dataclass(frozen=True)
class Shapes:
    """All shapes of a scene in their own axes, sorted by kind.

    Attributes:
        counts: How many shapes there are of each kind, in the order BOX, ELLIPSOID, FRUSTUM, PANEL.
        half: [P, 3] half sizes along the own axes, metres. A frustum is round about z; a panel lies in z = 0.
        form: [P, 5] frustum: radius at the bottom and at the top (m), 1 where it has no lids. Panel: holes along x and
            y, the open share of a hole along x and y, 1 where the outline is an ellipse.
        room: [2, 2, 3] centre and half size of the room and of what surrounds it, metres.
        openings: Rectangles of the walls that are open: the wall (0..5: -x, +x, -y, +y, -z, +z), low and high along the
            first of the wall's two axes, low and high along the second, in metres from the wall's centre.
    """

    counts: tuple[int, ...]
    half: Tensor
    form: Tensor
    room: Tensor
    openings: tuple[tuple[int, float, float, float, float], ...]


def cast(shapes: Shapes, view: View, turn: Tensor, origin: Tensor, room: tuple[Tensor, Tensor] | None) -> Tensor:
    """The nearest surface of every pixel.

    Args:
        shapes: What there is.
        view: The camera.
        turn: [B, P, 3, 3] camera axes to the axes of each shape, for B frames.
        origin: [B, P, 3] the camera's place in the axes of each shape, metres.
        room: The same of the room, [B, 3, 3] and [B, 3]; None leaves the room out.

    Returns:
        [B, N] int64: the bits of the depth along the optical axis as float32, times 2^32, plus the number of the
        surface: 0..P-1 the shapes, P..P+5 the walls of the room, P+6..P+11 those around. See `depth_of`, `surface_of`.
    """
    frames, count = turn.shape[:2]
    rays = view.rays(turn.device)
    tiles = len(rays[0])
    nothing = _key(torch.full((1, 1), torch.inf, device=turn.device), torch.zeros(1, 1, device=turn.device).long())
    if room is None:
        nearest = nothing.expand(frames * tiles, TILE_H * TILE_W).clone()
    else:
        nearest = _cast_room(shapes, view, *room, count).reshape(frames * tiles, -1)
    first = 0
    for kind, number in enumerate(shapes.counts):
        if number == 0:
            continue
        part = slice(first, first + number)
        frame, shape = _in_view(view, turn[:, part], origin[:, part], shapes.half[part]).nonzero(as_tuple=True)
        shape = shape + first
        pair, tile = _cull(rays, turn[frame, shape], origin[frame, shape], shapes.half[shape]).nonzero(as_tuple=True)
        frame, shape = frame[pair], shape[pair]
        local = _local_rays(rays, turn[frame, shape], tile)
        at, half, form = origin[frame, shape], shapes.half[shape], shapes.form[shape]
        depth = _INTERSECT[kind](local, at.T[..., None], half.T[..., None], form.T[..., None])
        where = (frame * tiles + tile)[:, None].expand_as(depth)
        nearest.scatter_reduce_(0, where, _key(depth, shape[:, None]), "amin")
        first += number
    return nearest.reshape(frames, -1)


def depth_of(nearest: Tensor) -> Tensor:
    """Depth in metres from what `cast` returns, infinite where there is nothing."""
    return (nearest >> 32).to(torch.int32).view(torch.float32)


def surface_of(nearest: Tensor) -> Tensor:
    """Number of the surface from what `cast` returns, int64."""
    return nearest & 0xFFFFFFFF


def _key(depth: Tensor, surface: Tensor) -> Tensor:
    """Bits of positive floats sort as the floats do, so the least key is the nearest surface, in any order."""
    return (depth.view(torch.int32).to(torch.int64) << 32) | surface


def _in_view(view: View, turn: Tensor, origin: Tensor, half: Tensor) -> Tensor:
    """[B, P] whether the ball around each shape reaches into the pyramid of all rays."""
    centre, radius = _centre(turn, origin), half.norm(dim=-1)
    seen = centre[..., 2] + radius > NEAR_M
    for axis, pixels in ((0, view.width), (1, view.height)):
        # Shifted rays of several samples leave the picture by less than this.
        slope = (pixels / 2 + TILE_W + abs(view.shift[axis])) / view.focal
        outside = (centre[..., axis].abs() - slope * centre[..., 2]) / (1 + slope * slope) ** 0.5
        seen &= outside < radius
    return seen


def _centre(turn: Tensor, origin: Tensor) -> Tensor:
    """[..., 3] the shapes' centres in camera axes."""
    return -(turn * origin[..., None]).sum(dim=-2)


def _cull(rays: tuple[Tensor, ...], turn: Tensor, origin: Tensor, half: Tensor) -> Tensor:
    """[V, tiles] whether a ray of the tile may hit the bounding box of each of V shapes.

    Rays of a tile leave its central ray by at most `spread` a metre of depth: so the central ray is tested against the
    box widened by that much at the farthest point of the box.
    """
    left, top, right, down = rays
    x, y = left + right[-1] / 2, top + down[-1] / 2
    spread = (right[-1] ** 2 + down[-1] ** 2).sqrt() / 2
    farthest = (_centre(turn, origin)[..., 2] + half.norm(dim=-1)).clamp(min=0)
    wide = half + (spread * farthest * 1.01 + 1e-4)[..., None]
    enter, leave = None, None
    for axis in range(3):
        a, b, c = (turn[..., axis, column, None] for column in range(3))
        inverse = 1 / _nonzero(a * x + b * y + c)
        middle = -origin[..., axis, None] * inverse
        reach = wide[..., axis, None] * inverse.abs()
        enter = middle - reach if enter is None else torch.maximum(enter, middle - reach)
        leave = middle + reach if leave is None else torch.minimum(leave, middle + reach)
    assert enter is not None and leave is not None
    return (enter <= leave) & (leave > 0)


def _nonzero(values: Tensor) -> Tensor:
    """Zero becomes tiny, so that it may divide."""
    return torch.where(values.abs() < _TINY, _TINY, values)


def _local_rays(rays: tuple[Tensor, ...], turn: Tensor, tile: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The rays of K tiles in the axes of K shapes: x, y and z, [K, TILE_H * TILE_W] each."""
    left, top, right, down = rays
    x, y = left[tile, None] + right, top[tile, None] + down
    a, b, c = (turn[..., axis, :, None].unbind(-2) for axis in range(3))
    return tuple(torch.addcmul(torch.addcmul(p[2], p[0], x), p[1], y) for p in (a, b, c))  # type: ignore[return-value]


Rays = tuple[Tensor, Tensor, Tensor]


def _box(ray: Rays, at: Tensor, half: Tensor, form: Tensor) -> Tensor:
    """Depth where rays enter boxes, infinite where they miss."""
    enter, leave = None, None
    for axis in range(3):
        inverse = 1 / _nonzero(ray[axis])
        middle = -at[axis] * inverse
        reach = half[axis] * inverse.abs()
        enter = middle - reach if enter is None else torch.maximum(enter, middle - reach)
        leave = middle + reach if leave is None else torch.minimum(leave, middle + reach)
    assert enter is not None and leave is not None
    return torch.where((enter <= leave) & (enter > NEAR_M), enter, torch.inf)


def _ellipsoid(ray: Rays, at: Tensor, half: Tensor, form: Tensor) -> Tensor:
    """Depth where rays enter ellipsoids."""
    (a, b, c), (x, y, z) = (ray[i] / half[i] for i in range(3)), at / half
    square = a * a + b * b + c * c
    middle = -(a * x + b * y + c * z) / square
    # The distance of the ray from the centre, not the textbook's difference of large squares.
    u, v, w = a * middle + x, b * middle + y, c * middle + z
    inside = 1 - (u * u + v * v + w * w)
    depth = middle - (inside.clamp(min=0) / square).sqrt()
    return torch.where((inside > 0) & (depth > NEAR_M), depth, torch.inf)


def _frustum(ray: Rays, at: Tensor, half: Tensor, form: Tensor) -> Tensor:
    """Depth where rays meet the side or the lids of cylinders and truncated cones."""
    (a, b, c), (x, y, z), tall = ray, at, half[2]
    # Depth counts from the point nearest to the centre: the squares below would lose digits of a far camera's place.
    start = -(a * x + b * y + c * z) / (a * a + b * b + c * c)
    x, y, z = x + start * a, y + start * b, z + start * c
    near = NEAR_M - start
    slope = (form[1] - form[0]) / (2 * tall)
    middle = (form[1] + form[0]) / 2
    # (x + ta)^2 + (y + tb)^2 = (middle + slope (z + tc))^2
    grow, radius = slope * c, middle + slope * z
    square = _nonzero(a * a + b * b - grow * grow)
    linear = a * x + b * y - grow * radius
    constant = x * x + y * y - radius * radius
    inside = linear * linear - square * constant
    root = inside.clamp(min=0).sqrt()
    best = torch.full_like(square, torch.inf)
    for sign in (-1, 1):
        depth = (-linear + sign * root) / square
        height = z + depth * c
        good = (inside > 0) & (height.abs() <= tall) & (depth > near) & (middle + slope * height > 0)
        best = torch.where(good & (depth < best), depth, best)
    for sign, rim in ((-1, form[0]), (1, form[1])):
        depth = (sign * tall - z) / _nonzero(c)
        u, v = x + depth * a, y + depth * b
        good = (u * u + v * v <= rim * rim) & (depth > near) & (form[2] < 0.5)
        best = torch.where(good & (depth < best), depth, best)
    return best + start


def _panel(ray: Rays, at: Tensor, half: Tensor, form: Tensor) -> Tensor:
    """Depth where rays meet flat sheets outside of their holes."""
    depth = -at[2] / _nonzero(ray[2])
    u, v = (at[0] + depth * ray[0]) / half[0], (at[1] + depth * ray[1]) / half[1]
    outline = torch.where(form[4] > 0.5, (u * u + v * v).sqrt(), torch.maximum(u.abs(), v.abs()))
    across, along = (u * 0.5 + 0.5) * form[0], (v * 0.5 + 0.5) * form[1]
    open_across = (across - across.floor() - 0.5).abs() * 2 < form[2]
    open_along = (along - along.floor() - 0.5).abs() * 2 < form[3]
    good = (outline <= 1) & (depth > NEAR_M) & ~(open_across & open_along)
    return torch.where(good, depth, torch.inf)


_INTERSECT = {BOX: _box, ELLIPSOID: _ellipsoid, FRUSTUM: _frustum, PANEL: _panel}


def _cast_room(shapes: Shapes, view: View, turn: Tensor, origin: Tensor, first: int) -> Tensor:
    """Keys of the walls, [B, N]: rays that leave the room by an opening end at what surrounds it."""
    x, y = view.directions(turn.device)
    ray = [turn[:, axis, 0, None] * x + turn[:, axis, 1, None] * y + turn[:, axis, 2, None] for axis in range(3)]
    inner, wall = _leave(ray, origin, shapes.room[0])
    outer, backdrop = _leave(ray, origin, shapes.room[1])
    at = torch.stack([origin[:, axis, None] + inner * ray[axis] - shapes.room[0, 0, axis] for axis in range(3)])
    axis = wall // 2
    u = torch.where(axis == 0, at[1], at[0])
    v = torch.where(axis == 2, at[1], at[2])
    through = torch.zeros_like(wall, dtype=torch.bool)
    for side, low_u, high_u, low_v, high_v in shapes.openings:
        through |= (wall == side) & (u > low_u) & (u < high_u) & (v > low_v) & (v < high_v)
    return _key(torch.where(through, outer, inner), torch.where(through, backdrop + 6, wall) + first)


def _leave(ray: list[Tensor], origin: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays from inside leave a box [2, 3] (centre, half size): depth and the number of the wall, [B, N] each."""
    # A ray along a wall gets a sign too, else it would be said to leave by the box's middle.
    safe = [_nonzero(part) for part in ray]
    away = [box[0, axis] - origin[:, axis, None] + box[1, axis] * safe[axis].sign() for axis in range(3)]
    depth, axis = torch.stack([away[axis] / safe[axis] for axis in range(3)]).min(dim=0)
    positive = torch.stack(safe).gather(0, axis[None])[0] > 0
    return depth, axis * 2 + positive.long()
