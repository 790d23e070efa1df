"""Photo-real rooms, such as the sample video that ships: python -m STDNet.datasets.synthetic.photoreal --out DIR.

The furniture comes from Infinigen's factories (BSD-3), the pictures from Blender's path tracer: an optional tool with
packages of its own (Python 3.11, 2.8 GB), best in an environment of its own; nothing else needs them:

    pip install '.[blender]' && pip install --no-deps infinigen==1.15.5
"""

from __future__ import annotations

import importlib
import logging
import math
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from STDNet.command_line import option, parse, progress, run
from STDNet.datasets.synthetic.rendering import NOWHERE, SyntheticClip
from STDNet.datasets.synthetic.writing import write
from STDNet.errors import InputError
from STDNet.files import atomic_write, write_image

log = logging.getLogger(__name__)
SIDE, CEILING, FIELD = 6.0, 2.8, math.radians(65)  # of the room, m; the camera's horizontal field of view
JPEG_QUALITY = 92
AGAINST_THE_WALL = (
    *("shelves.SimpleBookcaseFactory", "shelves.LargeShelfFactory", "shelves.CellShelfFactory"),
    *("shelves.SingleCabinetFactory", "lamp.FloorLampFactory", "small_plants.SnakePlantFactory"),
    *("seating.ArmChairFactory", "seating.SofaFactory"),
)
IN_THE_ROOM = (
    *("seating.ChairFactory", "seating.OfficeChairFactory", "seating.BarChairFactory", "tables.SideTableFactory"),
    *("tables.CoffeeTableFactory", "tables.TableDiningFactory", "small_plants.SpiderPlantFactory"),
)
ON_A_TABLE = (
    *("table_decorations.BookStackFactory", "table_decorations.VaseFactory", "table_decorations.BookColumnFactory"),
    *("tableware.BottleFactory", "tableware.BowlFactory", "tableware.CupFactory", "tableware.PotFactory"),
    *("tableware.FoodBoxFactory", "tableware.JarFactory", "lamp.DeskLampFactory"),
)
MOVING = ("seating.OfficeChairFactory", "seating.ChairFactory", "table_decorations.VaseFactory")


@dataclass(frozen=True)
class Options:
    """The flags."""

    out: Path = option(Path("dataset/sample"), "where to write it, in the layout of DynamicReplica")
    seed: int = option(5, "of the room, its furniture and the camera's path")
    frames: int = option(16, "frames of the video")
    height: int = option(480, "rows of a picture")
    width: int = option(640, "columns of a picture")
    samples: int = option(16, "light paths a pixel; the rest of the noise is removed by Open Image Denoise")

    def __post_init__(self) -> None:
        for name in ("frames", "height", "width", "samples"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} must be positive, got {getattr(self, name)}")


def main(argv: list[str] | None = None) -> None:
    """Build a room, render it, and write it; pictures as JPEG, for size; poses and intrinsics beside them."""
    options = parse(Options, argv, description=__doc__)
    _blender()
    clip = render_room(options.seed, options.frames, options.height, options.width, samples=options.samples)
    write(clip, "DynamicReplica", options.out, "sample/room", scales=())
    for path in sorted((options.out / "room" / "images").glob("*.png")):
        with Image.open(path) as image:
            write_image(path.with_suffix(".jpg"), image, quality=JPEG_QUALITY)
        path.unlink()
    header = "camera-to-world, row by row, metres; x right, y down, z forward; fx fy cx cy = {} {} {} {} pixels"
    with atomic_write(options.out / "room" / "poses.txt") as file:
        np.savetxt(file, clip.poses.reshape(-1, 16).numpy(), fmt="%.9f", header=header.format(*clip.intrinsics))
    log.info("wrote %s", options.out)


def render_room(seed: int, frames: int, height: int, width: int, *, samples: int = 16) -> SyntheticClip:
    """A furnished room with a moving camera and two moving things.

    Args:
        seed: Which room.
        frames: T, one or more.
        height: H, pixels.
        width: W, pixels.
        samples: Light paths a pixel.

    Returns:
        The clip; depth and flow are those of the middle of each pixel, without noise.

    Raises:
        InputError: Blender or Infinigen is not installed.
    """
    bpy = _blender()
    rng = np.random.default_rng(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - Infinigen draws from it
    bpy.ops.wm.read_factory_settings(use_empty=True)
    _walls(bpy, rng)
    movers = _furnish(rng, seed)
    _lights(bpy)
    camera = _camera(bpy)
    _animate(camera, movers, rng, frames + 2)
    _prepare(bpy, height, width)
    rgb, depth, flow, poses = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for t in progress(range(frames), desc="rendering", unit="frame"):
            bpy.context.scene.frame_set(t)
            rgb.append(_colour(bpy, Path(folder) / "colour.png", samples))
            z, next_place = _geometry(bpy, Path(folder) / "geometry.exr")
            depth.append(z)
            flow.append(next_place)
            poses.append(np.array(camera.matrix_world) @ np.diag([1.0, -1, -1, 1]))
    focal = width / 2 / math.tan(FIELD / 2)
    return SyntheticClip(
        rgb=torch.from_numpy(np.stack(rgb)).permute(0, 3, 1, 2).float() / 255,
        depth=torch.from_numpy(np.stack(depth)),
        flow=torch.from_numpy(np.stack(flow[:-1]) if frames > 1 else np.zeros((0, height, width, 2), np.float32)),
        poses=torch.from_numpy(np.stack(poses)),
        intrinsics=(focal, focal, width / 2, height / 2),
        seed=seed,
        place="room",
    )


def _blender() -> Any:
    """The bpy module."""
    try:
        importlib.import_module("infinigen")
        return importlib.import_module("bpy")
    except ImportError as error:
        raise InputError(
            f"cannot import {error.name}: this tool needs Blender and Infinigen; with Python 3.11: "
            "pip install '.[blender]' && pip install --no-deps infinigen==1.15.5"
        ) from None


def _walls(bpy: Any, rng: np.random.Generator) -> None:
    """Floor, ceiling and four walls, each with one of Infinigen's materials."""
    materials = importlib.import_module("infinigen.assets.materials")
    wood, ceramic = (importlib.import_module(f"{materials.__name__}.{name}") for name in ("wood", "ceramic"))
    floors = (wood.HardwoodFloor, wood.StaggeredWoodTile, wood.SquareWoodTile, ceramic.Tile)
    papers = (ceramic.Plaster, ceramic.Brick, ceramic.Plaster, ceramic.Tile)

    def plane(size: tuple[float, float], place: tuple[float, ...], turn: tuple[float, ...], factory: Any) -> None:
        bpy.ops.mesh.primitive_plane_add(size=1, location=place, rotation=turn)
        made = bpy.context.object
        made.scale = (*size, 1)
        bpy.ops.object.transform_apply(location=False, rotation=False, scale=True)
        material = factory()()
        made.data.materials.append(getattr(material, "material", material))

    plane((SIDE, SIDE), (0, 0, 0), (0, 0, 0), floors[rng.integers(len(floors))])
    plane((SIDE, SIDE), (0, 0, CEILING), (math.pi, 0, 0), ceramic.Plaster)
    for angle in (0, math.pi / 2, math.pi, 3 * math.pi / 2):
        place = (SIDE / 2 * math.sin(angle), -SIDE / 2 * math.cos(angle), CEILING / 2)
        plane((SIDE, CEILING), place, (math.pi / 2, 0, angle), papers[rng.integers(len(papers))])


class _Shop:
    """Hands out pieces of furniture, each from the next seed."""

    def __init__(self, seed: int, rng: np.random.Generator) -> None:
        self.seed, self.rng = seed * 100, rng

    def buy(self, names: str | tuple[str, ...]) -> tuple[str, Any]:
        """One of the factories' assets."""
        name = names if isinstance(names, str) else names[self.rng.integers(len(names))]
        module, _, factory = name.rpartition(".")
        self.seed += 1
        fixed = importlib.import_module("infinigen.core.util.math").FixedSeed
        with fixed(self.seed):
            maker = getattr(importlib.import_module(f"infinigen.assets.objects.{module}"), factory)(self.seed)
        asset = maker.spawn_asset(0)
        try:
            maker.finalize_assets([asset])
        except Exception as error:  # some factories cannot finish outside of Infinigen's own scenes; their shape stands
            log.debug("%s: %s", name, error)
        return name, asset


def _furnish(rng: np.random.Generator, seed: int) -> list[Any]:
    """Fill the room; returns what shall move."""
    shop = _Shop(seed, rng)
    for i in range(5):
        piece = shop.buy(AGAINST_THE_WALL)[1]
        _put(piece, -2.2 + 1.1 * i, 2.45 + rng.uniform(-0.1, 0.1), 0, turn=-math.pi / 2, tall=2.2)
    for i in range(4):
        art = shop.buy("wall_decorations.WallArtFactory")[1]
        _put(art, -2 + 1.3 * i, 2.96, 1.2 + rng.uniform(0, 0.5), turn=-math.pi / 2, tall=0.9)
    rug = shop.buy("elements.RugFactory")[1]
    rug.scale *= 0.6
    _put(rug, 0, 0, 0.002, turn=0)
    for i in range(6):
        x, y = -1.8 + 1.8 * (i % 3) + rng.uniform(-0.3, 0.3), -0.4 + 1.3 * (i // 3) + rng.uniform(-0.3, 0.3)
        name, piece = shop.buy(IN_THE_ROOM)
        _put(piece, x, y, 0.01, turn=rng.uniform(0, 2 * math.pi), tall=1.2)
        if name.startswith("tables."):
            low, high = _box(piece)
            for _ in range(3):
                share = rng.uniform(0.3, 0.7, 2)
                x, y = low[:2] + share * (high[:2] - low[:2])
                _put(shop.buy(ON_A_TABLE)[1], x, y, high[2], turn=rng.uniform(0, 2 * math.pi), tall=0.45)
    movers = []
    for i in range(2):
        mover = shop.buy(MOVING)[1]
        movers.append(_put(mover, rng.uniform(-1.5, 1.5), -1.0 + 0.3 * i, 0.01, turn=rng.uniform(0, 6.3), tall=1.1))
    return movers


def _put(thing: Any, x: float, y: float, z: float, *, turn: float, tall: float | None = None) -> Any:
    """Stand something at a place, turned, and scaled down to a height where it is too tall."""
    low, high = _box(thing)
    if tall is not None and high[2] - low[2] > tall:
        thing.scale = thing.scale * (tall / (high[2] - low[2]))
    thing.rotation_euler[2] += turn
    low, high = _box(thing)
    move = np.array([x, y, z]) - np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    thing.location = tuple(np.array(thing.location) + move)
    return thing


def _box(thing: Any) -> tuple[np.ndarray, np.ndarray]:
    """Its lowest and highest corner in the room, m."""
    bpy, vector = importlib.import_module("bpy"), importlib.import_module("mathutils").Vector
    bpy.context.view_layer.update()
    corners = np.array([thing.matrix_world @ vector(corner) for corner in thing.bound_box])
    return corners.min(0), corners.max(0)


def _lights(bpy: Any) -> None:
    """A ceiling light, a cooler one as of a window, and a little from everywhere."""
    scene = bpy.context.scene
    scene.world = bpy.data.worlds.new("world")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs[1].default_value = 0.35
    for place, turn, size, watts, colour in (
        ((0, 0, 2.75), (0, 0, 0), 1.6, 170, (1, 0.93, 0.85)),
        ((-2.9, -0.5, 1.7), (0, -math.pi / 2, 0), 1.3, 110, (0.8, 0.9, 1)),
    ):
        light = bpy.data.lights.new("light", "AREA")
        light.energy, light.size, light.color = watts, size, colour
        lamp = bpy.data.objects.new("light", light)
        lamp.location, lamp.rotation_euler = place, turn
        scene.collection.objects.link(lamp)


def _camera(bpy: Any) -> Any:
    scene = bpy.context.scene
    data = bpy.data.cameras.new("camera")
    data.lens_unit, data.angle, data.clip_start, data.clip_end = "FOV", FIELD, 0.05, 50
    camera = bpy.data.objects.new("camera", data)
    scene.collection.objects.link(camera)
    scene.camera = camera
    return camera


def _animate(camera: Any, movers: list[Any], rng: np.random.Generator, frames: int) -> None:
    """Keyframes: the camera on an arc around the middle of the room, the movers along lines, turning."""
    vector = importlib.import_module("mathutils").Vector
    start, step = rng.uniform(-0.5, 0.1), rng.uniform(0.012, 0.02)
    moves = [(mover, np.array(mover.location), mover.rotation_euler[2], rng.uniform(-0.9, 0.9, 3)) for mover in movers]
    for t in range(frames):
        angle = start + t * step
        camera.location = (2.1 * math.sin(angle), -2.35 * math.cos(angle) + 0.002 * t, 1.45 + 0.15 * math.sin(0.1 * t))
        target = vector((0.1 * math.sin(0.07 * t), 0.6, 0.75))
        camera.rotation_euler = (target - camera.location).to_track_quat("-Z", "Y").to_euler()
        for mover, place, turn, (x, y, spin) in moves:
            mover.location = tuple(place + np.array([0.03 * x, 0.02 * y, 0]) * t)
            mover.rotation_euler[2] = turn + 0.05 * spin * t
        for thing in (camera, *movers):
            thing.keyframe_insert("location", frame=t)
            thing.keyframe_insert("rotation_euler", frame=t)


def _prepare(bpy: Any, height: int, width: int) -> None:
    """Cycles on the CPU, with the passes that we read."""
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.device = "CYCLES", "CPU"
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = width, height, 100
    scene.render.use_persistent_data = True
    scene.view_settings.view_transform = "AgX"
    scene.cycles.denoiser = "OPENIMAGEDENOISE"
    scene.cycles.diffuse_bounces = scene.cycles.glossy_bounces = 2
    scene.cycles.transmission_bounces, scene.cycles.transparent_max_bounces = 3, 4
    scene.cycles.caustics_reflective = scene.cycles.caustics_refractive = False
    scene.cycles.sample_clamp_indirect = 5
    layer = scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_vector = True


@contextmanager
def _settings(owner: Any, **values: Any) -> Iterator[None]:
    """Set attributes, and put the old ones back."""
    old = {name: getattr(owner, name) for name in values}
    for name, value in values.items():
        setattr(owner, name, value)
    yield
    for name, value in old.items():
        setattr(owner, name, value)


def _colour(bpy: Any, path: Path, samples: int) -> np.ndarray:
    """[H, W, 3] uint8."""
    render, cycles = bpy.context.scene.render, bpy.context.scene.cycles
    render.image_settings.file_format, render.image_settings.color_mode = "PNG", "RGB"
    render.filepath = str(path)
    with _settings(cycles, samples=samples, max_bounces=4, use_denoising=True):
        bpy.ops.render.render(write_still=True)
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def _geometry(bpy: Any, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Depth [H, W] in metres and forward flow [H, W, 2] in pixels, by one ray through the middle of every pixel."""
    exr = importlib.import_module("OpenEXR")
    render, cycles = bpy.context.scene.render, bpy.context.scene.cycles
    render.image_settings.file_format, render.image_settings.color_depth = "OPEN_EXR_MULTILAYER", "32"
    render.filepath = str(path)
    middle = {"pixel_filter_type": "BOX", "filter_width": 0.01}
    with _settings(cycles, samples=1, max_bounces=0, use_denoising=False, **middle):
        bpy.ops.render.render(write_still=True)
    window = exr.InputFile(str(path))
    size = window.header()["dataWindow"].max
    planes = {name.split(".", 1)[1]: name for name in window.header()["channels"] if "." in name}

    def plane(name: str) -> np.ndarray:
        values = np.frombuffer(window.channel(planes[name]), np.float32)
        return values.reshape(size.y + 1, size.x + 1).copy()

    # Blender's vectors point from the next frame to this one, and up.
    flow = np.stack([-plane("Vector.Z"), plane("Vector.W")], -1)
    return plane("Depth.Z"), flow.clip(-NOWHERE, NOWHERE)


if __name__ == "__main__":
    run(main)
