"""Frames of a scene: colour, depth and optical flow."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from STDNet.datasets.synthetic import casting, lens, shading
from STDNet.datasets.synthetic.casting import View
from STDNet.datasets.synthetic.plan import compose
from STDNet.datasets.synthetic.scene import SyntheticScene
from STDNet.datasets.synthetic.shading import Light
from STDNet.datasets.synthetic.stage import Pose, Seen, Stage, one_thread
from STDNet.errors import InputError

FRAMES_A_SECOND = 25.0
# Where a point goes that is not in front of the next camera: far outside of every frame, but finite.
NOWHERE = 1e6
_SHADOW_MAP = View(160, 160, 160 / 2 / 2.2)
# The light's camera looks straight down.
_DOWN = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])


@dataclass(frozen=True)
class Look:
    """What the camera adds to the scene.

    Attributes:
        shadows: Whether the main light casts shadows.
        soft_edges: Whether depth edges are smoothed in colour, as the pixels of a lens and sensor do.
        noise: Standard deviation of the image noise at middle grey, of 1; the seed scales it by 0.3 to 1.7.
        flicker: Standard deviation of the exposure over time, in stops.
        samples: Rays a pixel of colour; more smooth all edges. Motion blur and defocus need 8 or more.
        shutter: Share of the time between two frames that the shutter is open, 0 to 1: motion blur.
        aperture: Diameter of the lens as a share of the focused distance, such as 0.02: defocus.
    """

    shadows: bool = True
    soft_edges: bool = True
    noise: float = 0.012
    flicker: float = 0.1
    samples: int = 1
    shutter: float = 0.0
    aperture: float = 0.0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError(f"samples {self.samples}: expected 1 or more")
        if not (0 <= self.shutter <= 1 and 0 <= self.aperture <= 1):
            raise InputError(f"shutter {self.shutter} and aperture {self.aperture}: expected 0 to 1")
        if self.samples == 1 and (self.shutter or self.aperture):
            raise InputError("shutter and aperture need several samples: give 8 or more")


@dataclass(frozen=True)
class SyntheticClip:
    """T consecutive frames of a synthetic video.

    Attributes:
        rgb: [T, 3, H, W] float32, every value a k / 255.
        depth: [T, H, W] float32, metres along the optical axis, of the middle of each pixel.
        flow: [T - 1, H, W, 2] float32, pixels to the right and down that the surface point in the middle of each pixel
            moves until the next frame, whether or not it is seen there; 1e6 where it is not in front of the camera.
        poses: [T, 4, 4] float64 camera-to-world: camera axes are x right, y down, z forward, world axes have z up; m.
        intrinsics: (fx, fy, cx, cy) in pixels; the middle of the top left pixel is at (0.5, 0.5).
        seed: What the scene was made from.
        place: "desk", "room" or "hall".
        first_frame: Number of the first frame in the endless video.
    """

    rgb: Tensor
    depth: Tensor
    flow: Tensor
    poses: Tensor
    intrinsics: tuple[float, float, float, float]
    seed: int
    place: str
    first_frame: int = 0

    def __len__(self) -> int:
        return self.rgb.shape[0]


def render(
    seed: int,
    frames: int = 16,
    height: int = 256,
    width: int = 256,
    *,
    first_frame: int = 0,
    place: str | None = None,
    look: Look | None = None,
    device: torch.device | str = "cpu",
) -> SyntheticClip:
    """Frames `first_frame` to `first_frame + frames` of the endless video that belongs to a seed.

    A frame depends on the seed, its number, its size and the options alone: clips that overlap agree in every bit,
    in whichever process they are rendered (on one kind of device).

    Args:
        seed: 0 or more; another seed is another room, light, camera and look.
        frames: 1 or more.
        height: Pixels.
        width: Pixels.
        first_frame: 0 or more.
        place: "desk" (0.3 to 3 m), "room" (1 to 10 m), "hall" (2 to 40 m); None lets the seed choose.
        look: Shadows, noise, blur; None is the usual look.
        device: Where to compute, and where the clip is.

    Raises:
        InputError: An argument out of its range.
    """
    least = {"frames": (frames, 1), "height": (height, 2), "width": (width, 2), "first_frame": (first_frame, 0)}
    for what, (value, lowest) in least.items():
        if value < lowest:
            raise InputError(f"{what} {value}: expected {lowest} or more")
    times = range(first_frame, first_frame + frames)
    with one_thread():
        renderer = Renderer(compose(seed, place), height, width, look=look, device=device)
        pictures = [renderer.frame(t) for t in times]
    poses = np.stack([renderer.pose(t) for t in times])
    flow = [picture[2] for picture in pictures[:-1]]
    focal = renderer.view.focal
    return SyntheticClip(
        rgb=torch.stack([picture[0] for picture in pictures]),
        depth=torch.stack([picture[1] for picture in pictures]),
        flow=torch.stack(flow) if flow else pictures[0][2].new_zeros(0, height, width, 2),
        poses=torch.from_numpy(poses),
        intrinsics=(focal, focal, width / 2, height / 2),
        seed=seed,
        place=renderer.scene.place,
        first_frame=first_frame,
    )


class Renderer:
    """Renders single frames of one scene at one size."""

    def __init__(
        self,
        scene: SyntheticScene,
        height: int,
        width: int,
        *,
        look: Look | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.scene, self.look, self.device = scene, look or Look(), torch.device(device)
        self.view = View(height, width, max(height, width) / 2 / scene.field)
        self.stage = Stage(scene, self.device)
        random = np.random.default_rng([scene.seed, 2])
        self._sun = torch.from_numpy(scene.sun).float().to(self.device)
        self._noise = self.look.noise * random.uniform(0.3, 1.7)
        self._bright = random.uniform(0.34, 0.55)
        self._flicker = random.uniform(0.5, 4, 3), random.uniform(0, 2 * np.pi, 3)
        self._gain = self._exposure()

    def pose(self, t: int) -> np.ndarray:
        """[4, 4] camera-to-world of frame `t`."""
        turn, place = self.scene.camera.pose(t / FRAMES_A_SECOND)
        return np.block([[turn, place[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]])

    def frame(self, t: int) -> tuple[Tensor, Tensor, Tensor]:
        """Frame `t`: rgb [3, H, W], depth [H, W] in metres, flow [H, W, 2] to frame `t + 1` in pixels."""
        seconds = t / FRAMES_A_SECOND
        seen = self.stage.seen(self.scene.camera.pose(seconds), seconds)
        nearest = self._cast(self.view, seen)
        depth = casting.depth_of(nearest)
        later = (t + 1) / FRAMES_A_SECOND
        flow = self._flow(seen, self.stage.seen(self.scene.camera.pose(later), later), nearest)
        if self.look.samples == 1:
            light = self.view.untile(self._colours(self.view, seen, nearest, seconds))
        else:
            light = self._many(seconds)
        if self.look.soft_edges and self.look.samples < 4:
            light = lens.soften(light, self.view.untile(casting.surface_of(nearest)))
        return self._develop(light, t), self.view.untile(depth), self.view.untile(flow).permute(1, 2, 0).contiguous()

    def _many(self, seconds: float) -> Tensor:
        """[3, H, W] linear light, the mean over several rays a pixel."""
        total: Tensor | float = 0.0
        for ray in lens.rays(self.look.samples, self.look.shutter, self.look.aperture):
            time = seconds + ray.delay / FRAMES_A_SECOND
            turn, place = self.scene.camera.pose(time)
            focus = float(np.linalg.norm(self.scene.camera.target.pose(seconds)[1] - place))
            seen = self.stage.seen((turn, place + turn @ np.array([*ray.lens, 0.0]) * focus), time)
            # Rays from all over the lens meet at the focused distance.
            shift = (ray.shift[0] - self.view.focal * ray.lens[0], ray.shift[1] - self.view.focal * ray.lens[1])
            view = replace(self.view, shift=shift)
            total = total + view.untile(self._colours(view, seen, self._cast(view, seen), time))
        return torch.as_tensor(total) / self.look.samples

    def _cast(self, view: View, seen: Seen) -> Tensor:
        """Keys of all pixels, [N]."""
        count = len(self.stage.shapes.half)
        room = (seen.room_turn[None], seen.room_origin[None])
        return casting.cast(self.stage.shapes, view, seen.turn[None, :count], seen.origin[None, :count], room)[0]

    def _flow(self, seen: Seen, later: Seen, nearest: Tensor) -> Tensor:
        """[2, N]: every point stays where it is on its surface."""
        x, y = self.view.directions(self.device)
        depth, surface = casting.depth_of(nearest), casting.surface_of(nearest)
        # From this camera's axes to the surface's, and on to the next camera's; a rotation's inverse is its transpose.
        back = later.turn.transpose(1, 2)
        shift = (back @ (seen.origin - later.origin)[..., None])[..., 0]
        table = torch.cat([(back @ seen.turn).flatten(1), shift], dim=1)
        row = shading.pick(table, surface)
        point = [depth * (row[3 * i] * x + row[3 * i + 1] * y + row[3 * i + 2]) + row[9 + i] for i in range(3)]
        ahead = point[2] > casting.NEAR_M
        deep = torch.where(ahead, point[2], 1.0)
        flow = self.view.focal * torch.stack([point[0] / deep - x, point[1] / deep - y])
        return torch.where(ahead, flow, NOWHERE)

    def _colours(self, view: View, seen: Seen, nearest: Tensor, seconds: float) -> Tensor:
        """[3, N] linear light."""
        x, y = view.directions(self.device)
        depth, surface = casting.depth_of(nearest), casting.surface_of(nearest)
        point = torch.stack([x * depth, y * depth, depth])
        normal, colour, row = self._surface(view, seen, surface, point)
        shadow = self._shadow(seen, seconds, point, normal) if self.look.shadows else torch.ones_like(depth)
        room = self.stage.shapes.room[0]
        world = _moved(seen.room_turn, seen.room_origin, point)
        sun = shading.sunlit(world, self._sun, room, self.scene.openings)
        # What surrounds the room is outdoors.
        sun = torch.where(surface >= len(self.stage.surfaces.kind) - 6, 0.0, sun)
        reach = shading.Exposure(shadow, shading.openness(world, room), sun)
        return shading.shade(colour, row, normal, point, self._light(seen), reach)

    def _surface(self, view: View, seen: Seen, surface: Tensor, point: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normals [3, N] in camera axes, albedo [3, N] and materials of the points [3, N] of some surfaces [N]."""
        surfaces = self.stage.surfaces
        table = torch.cat([seen.turn.flatten(1), seen.origin, surfaces.half, surfaces.slope[:, None]], dim=1)
        pose = shading.pick(table, surface)
        kind, row = surfaces.kind[surface], shading.pick(surfaces.material, surface)
        local = _moved(pose[:9].reshape(3, 3, -1), pose[9:12], point)
        own, axis = shading.normals(kind, pose[12:15], pose[15], local)
        normal = torch.stack([pose[i] * own[0] + pose[3 + i] * own[1] + pose[6 + i] * own[2] for i in range(3)])
        facing = shading.dot(normal, point) / shading.length(point)
        normal = normal * -facing.sign()
        footprint = point[2] / view.focal / facing.abs().clamp(min=0.15).sqrt()
        return normal, shading.albedo(row, local, axis, footprint), row

    def _light(self, seen: Seen) -> Light:
        """The lights in camera axes."""
        place = (torch.from_numpy(self.scene.lights).to(seen.turn) - seen.room_origin) @ seen.room_turn
        reach = float(self.scene.room[0, 1, :2].mean())
        powers, sunshine = (torch.from_numpy(power).to(seen.turn) for power in (self.scene.powers, self.scene.sunshine))
        return Light(place, powers, seen.room_turn[2], reach, self._sun @ seen.room_turn, sunshine)

    def _shadow(self, seen: Seen, seconds: float, point: Tensor, normal: Tensor) -> Tensor:
        """[N] share of the main light at points with normals, [3, N] in camera axes."""
        lamp: Pose = (_DOWN, self.scene.lights[0])
        above, count = self.stage.seen(lamp, seconds), len(self.stage.shapes.half)
        turn, origin = above.turn[None, :count], above.origin[None, :count]
        nearest = casting.cast(self.stage.shapes, _SHADOW_MAP, turn, origin, None)
        turn = above.room_turn.T @ seen.room_turn
        shift = above.room_turn.T @ (seen.room_origin - above.room_origin)
        depth = _SHADOW_MAP.untile(casting.depth_of(nearest)[0])
        moved = _moved(turn, shift, point)
        # A pixel of the map away from the surface, else surfaces that the light grazes cast shadows on themselves.
        away = shading.length(moved) * (1.2 / _SHADOW_MAP.focal)
        return shading.shadows(depth, _SHADOW_MAP, _moved(turn, shift, point + normal * away))

    def _exposure(self) -> float:
        """Gain that makes the first frame as bright as it should be, whatever size is rendered."""
        view = View(48, 64, 32 / self.scene.field)
        seen = self.stage.seen(self.scene.camera.pose(0.0), 0.0)
        light = self._colours(view, seen, self._cast(view, seen), 0.0)
        # Summed by numpy: torch's sums depend on the number of threads.
        middle, bright = np.quantile(view.untile(light).cpu().numpy().astype(np.float64), (0.5, 0.9))
        return self._bright**2 / max(float(middle), 0.3 * float(bright), 1e-6)

    def _develop(self, light: Tensor, t: int) -> Tensor:
        """[3, H, W] linear light to 8-bit values k / 255: exposure, highlights, gamma, noise."""
        rates, phases = self._flicker
        stops = self.look.flicker * float(np.sin(rates * t / FRAMES_A_SECOND + phases).sum())
        value = light * (self._gain * 2**stops)
        value = (value * (1 + value / 6) / (1 + value * 0.6)).clamp(min=0).sqrt()
        if self._noise > 0:
            random = torch.Generator().manual_seed((self.scene.seed * 1_000_003 + t) % 2**63)
            grain = torch.randn(value.shape, generator=random).to(value.device)
            value = value + self._noise * grain
        return (value.clamp(0, 1) * 255).round() / 255


def _moved(turn: Tensor, shift: Tensor, point: Tensor) -> Tensor:
    """Points [3, N] turned by [3, 3(, N)] and shifted by [3(, N)].

    The sum has a fixed order, unlike a product of matrices: a pixel does not depend on how many there are.
    """
    return torch.stack([shading.dot(turn[axis], point) + shift[axis] for axis in range(3)])
