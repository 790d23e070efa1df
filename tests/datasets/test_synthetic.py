"""Synthetic videos: depth and flow against a slow plain ray caster in float64, determinism, and files that load."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from STDNet.datasets import Box, ClipDataset, read_index, videos
from STDNet.datasets.poses import read_poses
from STDNet.datasets.synthetic import (
    PLACES,
    Look,
    Renderer,
    SyntheticClip,
    SyntheticVideo,
    compose,
    render,
    synthetic_videos,
    write,
)
from STDNet.datasets.synthetic.__main__ import main
from STDNet.datasets.synthetic.casting import (
    BOX,
    ELLIPSOID,
    FRUSTUM,
    NEAR_M,
    PANEL,
    Shapes,
    View,
    cast,
    depth_of,
    surface_of,
)
from STDNet.datasets.synthetic.furniture import Part
from STDNet.datasets.synthetic.rendering import FRAMES_A_SECOND
from STDNet.datasets.synthetic.scene import SyntheticScene
from STDNet.datasets.synthetic.shading import normals
from STDNet.errors import InputError
from STDNet.simulator import simulate

PLAIN = Look(noise=0, flicker=0, soft_edges=False)
SEEDS = (1, 8, 9)  # a room, a desk, a hall


def hit(part: Part, start: np.ndarray, ray: np.ndarray) -> np.ndarray:
    """[N] where rays [N, 3] from a point meet a shape in its own axes; infinite where they miss."""
    found = [np.full(len(ray), np.inf)]
    if part.kind == BOX:
        found += [_if(t, (np.abs(p) <= part.half * (1 + 1e-9)).all(-1)) for t, p in _planes(part.half, start, ray)]
    if part.kind == ELLIPSOID:
        a, b, c = (
            ((x * y) / part.half**2).sum(-1) for x, y in ((ray, ray), (start * np.ones_like(ray), ray), (start, start))
        )
        found += [_if(t, True) for t in _roots(a, 2 * b, c - 1)]
    if part.kind == FRUSTUM:
        low, high, open_ended = part.form[:3]
        slope, mean = (high - low) / (2 * part.half[2]), (high + low) / 2
        wide, grow = mean + slope * start[2], slope * ray[:, 2]
        flat = (ray[:, :2] ** 2).sum(-1) - grow**2, 2 * (ray[:, :2] @ start[:2] - wide * grow)
        for t in _roots(*flat, np.full(len(ray), start[:2] @ start[:2] - wide**2)):
            z = start[2] + t * ray[:, 2]
            found.append(_if(t, (np.abs(z) <= part.half[2]) & (mean + slope * z > 0)))
        for sign, rim in ((-1, low), (1, high)):
            t = (sign * part.half[2] - start[2]) / ray[:, 2]
            found.append(_if(t, (np.hypot(*(start + t[:, None] * ray)[:, :2].T) <= rim) & (open_ended == 0)))
    if part.kind == PANEL:
        t = -start[2] / ray[:, 2]
        u, v = (start + t[:, None] * ray)[:, :2].T / part.half[:2, None]
        inside = np.hypot(u, v) <= 1 if part.form[4] else np.maximum(np.abs(u), np.abs(v)) <= 1
        cell = [(share / 2 + 0.5) * count % 1 for share, count in zip((u, v), part.form, strict=False)]
        hole = [np.abs(place - 0.5) < size / 2 for place, size in zip(cell, part.form[2:], strict=False)]
        found.append(_if(t, inside & ~(hole[0] & hole[1])))
    return np.min(found, axis=0)


def _if(t: np.ndarray, good: np.ndarray | bool) -> np.ndarray:
    return np.where(good & (t > NEAR_M), t, np.inf)


def _planes(half: np.ndarray, start: np.ndarray, ray: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Depth and place where rays meet the six planes of a box, the place exactly on the plane."""
    result = []
    for axis in range(3):
        for side in (-half[axis], half[axis]):
            t = (side - start[axis]) / ray[:, axis]
            place = start + t[:, None] * ray
            place[:, axis] = side
            result.append((t, place))
    return result


def _roots(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> list[np.ndarray]:
    inside = b * b - 4 * a * c
    with np.errstate(invalid="ignore", divide="ignore"):
        return [np.where(inside > 0, (-b + sign * np.sqrt(inside)) / (2 * a), -np.inf) for sign in (-1, 1)]


def trace(scene: SyntheticScene, t: int, pixel: np.ndarray, focal: float, size: tuple[int, int]) -> tuple:
    """Depth [N], number of the shape or wall [N] and place on it [N, 3] of what pixels [N, 2] (x, y) see in frame t."""
    seconds = t / FRAMES_A_SECOND
    turn, place = scene.camera.pose(seconds)
    ray = np.concatenate([(pixel - np.array(size)[::-1] / 2) / focal, np.ones((len(pixel), 1))], 1) @ turn.T
    depth, surface, local = _walls(scene, place, ray)
    number = 12
    for body in scene.bodies:
        body_turn, body_place = body.motion.pose(seconds)
        for part in body.parts:
            own = body_turn @ part.turn
            start, way = (place - body_place - body_turn @ part.place) @ own, ray @ own
            with np.errstate(divide="ignore", invalid="ignore"):
                found = hit(part, start, way)
            near = found < depth
            depth, surface = np.where(near, found, depth), np.where(near, number, surface)
            local[near] = start + found[near, None] * way[near]
            number += 1
    return depth, surface, local


def _walls(scene: SyntheticScene, place: np.ndarray, ray: np.ndarray) -> tuple:
    """What is seen of the room and, through its openings, of what surrounds it."""
    exits = []
    for centre, half in scene.room:
        away = (centre - place + half * np.sign(ray)) / ray
        axis = away.argmin(axis=1)
        wall = 2 * axis + (np.take_along_axis(ray, axis[:, None], 1)[:, 0] > 0)
        exits.append((away.min(axis=1), wall))
    (depth, wall), (far, backdrop) = exits
    point = place + depth[:, None] * ray - scene.room[0, 0]
    through = np.zeros(len(ray), bool)
    for side, low_u, high_u, low_v, high_v in scene.openings:
        u = point[:, 1 - side // 2]
        inside = (u > low_u) & (u < high_u) & (point[:, 2] > low_v) & (point[:, 2] < high_v)
        through |= (wall == side) & inside
    depth = np.where(through, far, depth)
    return depth, np.where(through, 6 + backdrop, wall), place + depth[:, None] * ray


def centres(height: int, width: int) -> np.ndarray:
    """[H * W, 2] x and y of the pixels' centres."""
    return np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1).reshape(-1, 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_depth_is_the_analytic_intersection(seed: int) -> None:
    clip = render(seed, 1, 36, 56, first_frame=7)
    exact = trace(compose(seed), 7, centres(36, 56), clip.intrinsics[0], (36, 56))[0].reshape(36, 56)
    error = np.abs(clip.depth[0].numpy() / exact - 1)
    # A pixel whose ray grazes an edge may fall to either side in float32.
    assert np.mean(error < 1e-5) > 0.995
    assert np.median(error) < 3e-7


@pytest.mark.parametrize("seed", SEEDS)
def test_flow_lands_on_the_same_point_of_the_same_surface(seed: int) -> None:
    height, width, t = 36, 56, 11
    clip = render(seed, 2, height, width, first_frame=t, look=PLAIN)
    scene, pixel, focal = compose(seed), centres(height, width), clip.intrinsics[0]
    landing = pixel + clip.flow[0].reshape(-1, 2).numpy().astype(float)
    inside = ((landing > 0) & (landing < (width, height))).all(axis=1)
    depth, surface, local = trace(scene, t, pixel[inside], focal, (height, width))
    _, later_surface, later_local = trace(scene, t + 1, landing[inside], focal, (height, width))
    seen = surface == later_surface
    assert seen.mean() > 0.9
    away = np.linalg.norm(local - later_local, axis=1)[seen] / depth[seen]
    # Another part of the same shape may hide the point; everything else is within rounding.
    assert np.mean(away < 1e-4) > 0.97
    assert np.median(away) < 2e-6


def test_things_move_on_their_own_and_the_flow_knows() -> None:
    """Flow from poses alone is right for what stands still and wrong for what moves."""
    moved = 0
    for seed in range(6):
        clip = render(seed, 2, 48, 64, look=PLAIN)
        focal = clip.intrinsics[0]
        ray = torch.from_numpy((centres(48, 64) - (32, 24)) / focal)
        point = torch.cat([ray, torch.ones(len(ray), 1)], 1) * clip.depth[0].reshape(-1, 1)
        world = point @ clip.poses[0, :3, :3].T + clip.poses[0, :3, 3]
        later = (world - clip.poses[1, :3, 3]) @ clip.poses[1, :3, :3]
        flow = (later[:, :2] / later[:, 2:] - ray) * focal
        error = (flow - clip.flow[0].reshape(-1, 2)).norm(dim=1)
        assert (error < 1e-3).double().mean() > 0.6
        moved += int((error > 0.05).sum())
    assert moved > 50


def test_colour_and_depth_agree_along_the_flow() -> None:
    clip = render(23, 2, 120, 160, look=PLAIN)
    landing = torch.from_numpy(centres(120, 160)).float().reshape(120, 160, 2) + clip.flow[0]
    where = (landing / torch.tensor([80.0, 60.0]) - 1)[None]

    def warped(values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.grid_sample(values[None], where, align_corners=False, padding_mode="border")[0]

    smooth = (warped(clip.depth[1:2])[0] / clip.depth[0] - 1).abs() < 0.02
    assert smooth.double().mean() > 0.85
    difference = (warped(clip.rgb[1]) - clip.rgb[0]).abs().amax(dim=0)[smooth]
    assert difference.median() < 0.01
    assert difference.mean() < 0.02


def test_a_frame_depends_on_seed_and_number_alone() -> None:
    whole, part = render(3, 4, 40, 56), render(3, 2, 40, 56, first_frame=1)
    assert torch.equal(whole.rgb[1:3], part.rgb)
    assert torch.equal(whole.depth[1:3], part.depth)
    assert torch.equal(whole.flow[1:2], part.flow)
    assert torch.equal(whole.poses[1:3], part.poses)


def test_another_process_renders_the_same_bits() -> None:
    code = (
        "import torch; torch.set_num_threads(3)\n"
        "from tests.datasets.test_synthetic import digest, render\n"
        "print(digest(render(5, 2, 64, 96)))"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert result.stdout.strip() == digest(render(5, 2, 64, 96)), result.stderr


def digest(clip: SyntheticClip) -> str:
    """A hash of all values."""
    values = (clip.rgb, clip.depth, clip.flow, clip.poses)
    return hashlib.sha256(b"".join(value.numpy().tobytes() for value in values)).hexdigest()


def test_rays_along_the_axes_hit_walls_and_boxes() -> None:
    """Components of rays that are exactly 0 must not divide."""
    room = torch.tensor([[[0.0, 0, 0], [3, 4, 5]], [[0, 0, 0], [9, 9, 9]]])
    half = torch.tensor([[1.0, 1, 1]])
    shapes = Shapes((1, 0, 0, 0), half, torch.zeros(1, 5), room, ())
    centre = torch.tensor([[0.5, -0.5, -2.0]])
    keys = cast(shapes, View(1, 1, 1.0), torch.eye(3)[None, None], centre[None], (torch.eye(3)[None], centre))
    assert (depth_of(keys)[0, 0].item(), surface_of(keys)[0, 0].item()) == (1, 0)
    turned = torch.tensor([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
    keys = cast(shapes, View(1, 1, 1.0), turned[None, None], centre[None], (turned[None], centre))
    assert (depth_of(keys)[0, 0].item(), surface_of(keys)[0, 0].item()) == (3.5, 1)


def test_depth_never_leaves_the_surroundings() -> None:
    for seed in (1, 2, 3):
        scene = compose(seed)
        renderer = Renderer(scene, 60, 80)
        for t in range(0, 200, 20):
            depth = renderer.frame(t)[1]
            assert 0 < depth.min() <= depth.max() < 2 * np.linalg.norm(scene.room[1, 1])


@pytest.mark.parametrize("kind", [BOX, ELLIPSOID, FRUSTUM, PANEL])
def test_normals_are_those_of_the_shape(kind: int) -> None:
    half = torch.tensor([[0.5], [0.5], [0.3]]) if kind == FRUSTUM else torch.tensor([[0.5], [0.2], [0.3]])
    side = torch.tensor([[0.5], [0.1], [0.2]])
    ball = half * torch.nn.functional.normalize(torch.tensor([[1.0], [2.0], [3.0]]), dim=0)
    cone = torch.tensor([[0.24], [0.32], [-0.1]])
    sheet = torch.tensor([[0.1], [0.1], [-1e-9]])
    point = {BOX: side, ELLIPSOID: ball, FRUSTUM: cone, PANEL: sheet}[kind]
    normal, axis = normals(torch.tensor([kind]), half, torch.tensor([-0.5]), point)
    gradient = {
        BOX: torch.tensor([[1.0], [0.0], [0.0]]),
        ELLIPSOID: ball / half**2,
        FRUSTUM: torch.tensor([[0.6], [0.8], [0.5]]),  # the radius shrinks by 0.5 a metre of height
        PANEL: torch.tensor([[0.0], [0.0], [1.0]]),
    }[kind]
    torch.testing.assert_close(normal, gradient / gradient.norm())
    assert axis.item() == gradient.abs().argmax().item()


def test_seeds_and_places_differ() -> None:
    clips = [render(seed, 1, 32, 48) for seed in range(4)]
    assert all(not torch.allclose(a.depth, b.depth) for a in clips for b in clips if a is not b)
    middles = {place: [render(s, 1, 32, 48, place=place).depth.median() for s in range(4)] for place in PLACES}
    assert max(middles["desk"]) < min(middles["hall"])
    assert all(0.3 < value < 3 for value in middles["desk"])
    assert all(2 < value < 40 for value in middles["hall"])


def test_colour_has_8_bits_and_depth_is_positive() -> None:
    clip = render(2, 2, 33, 47)
    assert clip.rgb.shape == (2, 3, 33, 47)
    assert clip.flow.shape == (1, 33, 47, 2)
    assert torch.equal(clip.rgb, (clip.rgb * 255).round() / 255)
    assert clip.rgb.min() >= 0
    assert clip.rgb.max() <= 1
    assert clip.depth.isfinite().all()
    assert clip.depth.min() > 0


def test_edges_of_depth_and_colour_do_not_coincide() -> None:
    hidden = textured = 0.0
    for seed in range(6):
        clip = render(seed, 1, 96, 128, look=PLAIN)
        depth, rgb = clip.depth[0], clip.rgb[0]
        jump = (depth[:, 1:] / depth[:, :-1]).log().abs() > 0.05
        step = (rgb[..., 1:] - rgb[..., :-1]).abs().amax(dim=0)
        hidden += float((jump & (step <= 4 / 255)).sum() / jump.sum()) / 6
        textured += float(((step > 10 / 255) & ~jump).sum() / (step > 10 / 255).sum()) / 6
    assert hidden > 0.03, "some depth edges have no colour edge"
    assert textured > 0.4, "many colour edges have no depth edge"


def test_the_camera_moves_smoothly() -> None:
    for seed in range(8):
        camera = compose(seed, "room").camera
        turns, places = zip(*(camera.pose(t / FRAMES_A_SECOND) for t in range(40)), strict=True)
        angles = Rotation.from_matrix(np.stack(turns[1:]) @ np.stack(turns[:-1]).transpose(0, 2, 1)).magnitude()
        steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
        assert 1e-4 < np.median(angles) < 0.05
        assert angles.max() < 0.1
        assert 1e-4 < np.median(steps) < 0.15


def test_options_change_colour_alone() -> None:
    sharp = render(1, 2, 48, 64, look=PLAIN)
    for look in (Look(samples=4), Look(samples=8, shutter=0.8), Look(samples=8, aperture=0.05), Look(shadows=False)):
        other = render(1, 2, 48, 64, look=look)
        assert torch.equal(other.depth, sharp.depth)
        assert torch.equal(other.flow, sharp.flow)
        assert not torch.equal(other.rgb, sharp.rgb)
        assert (other.rgb - sharp.rgb).abs().mean() < 0.1


@pytest.mark.parametrize("layout", ["TarTanAir", "DyDToF", "DynamicReplica", "folder"])
def test_written_layouts_load(layout: str, tmp_path: Path) -> None:
    key = {"DynamicReplica": "dynamic_replica"}.get(layout, layout.lower())
    clip = render(4, 3, 32, 48)
    write(render(5, 2, 32, 48), layout, tmp_path, "synthetic/P000", (4, 8))
    index = write(clip, layout, tmp_path, "synthetic/P001", (4, 8))
    assert write(clip, layout, tmp_path, "synthetic/P001", (4, 8)) == index
    assert [entry.frames for entry in read_index(index)] == [2, 3]
    for protocol in ("paper", "metric"):
        video = videos(key, tmp_path, index, scale=8, protocol=protocol, lr="files")[1]
        read = video.read(0, 3)
        tolerance = 4e-2 if layout == "DyDToF" else 1e-6  # JPEG
        assert (read.rgb - clip.rgb).abs().mean() < tolerance
        assert torch.equal(
            video.read_lr(1), videos(key, tmp_path, index, scale=8, protocol=protocol, lr="simulate")[1].read_lr(1)
        )
    assert read.gt is not None
    half = layout == "DynamicReplica"
    torch.testing.assert_close(read.gt[:, 0], clip.depth, rtol=1e-3 if half else 0, atol=0)
    if layout in ("TarTanAir", "DynamicReplica"):
        torch.testing.assert_close(video.flow(1), clip.flow[1], rtol=1e-3 if half else 0, atol=1e-3 if half else 0)
    if layout == "TarTanAir":
        assert torch.equal(video.read_lr(0), simulate(clip.depth[0], clip.rgb[0], 8))


def test_tartanair_poses_are_camera_to_world_in_ned_axes(tmp_path: Path) -> None:
    clip = render(4, 2, 16, 16)
    write(clip, "tartanair", tmp_path, "s/P000", (4,))
    poses = read_poses(tmp_path / "HR_RGB/s/P000/pose_left.txt", 2)
    turns = Rotation.from_quat(poses[:, 3:]).as_matrix()
    pixel, depth = (3, 5), clip.depth[0, 3, 5].item()
    fx, fy, cx, cy = clip.intrinsics
    right, down = (pixel[1] + 0.5 - cx) / fx * depth, (pixel[0] + 0.5 - cy) / fy * depth
    point = turns[0] @ (depth, right, down) + poses[0, :3]
    ahead, right, down = turns[1].T @ (point - poses[1, :3])
    flow = np.array([fx * right / ahead + cx - pixel[1] - 0.5, fy * down / ahead + cy - pixel[0] - 0.5])
    assert np.abs(flow - clip.flow[0, 3, 5].numpy()).max() < 1e-3


def test_the_command_writes_clips(tmp_path: Path) -> None:
    flags = ["--layout", "DyDToF", "--seed", "7", "--clips", "2", "--frames", "2", "--height", "32", "--width", "48"]
    main([*flags, "--out", str(tmp_path), "--scales", "4"])
    found = videos("dydtof", tmp_path, tmp_path / "index.txt", scale=4, lr="files")
    assert [len(video) for video in found] == [2, 2]
    torch.testing.assert_close(found[0].read(0, 2).gt[:, 0], render(7, 2, 32, 48).depth, rtol=0, atol=0)  # type: ignore[index]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--layout", "KITTI"], "layout 'KITTI' is unknown"),
        (["--clips", "0"], "--clips 0"),
        (["--height", "30"], "scale 4 does not divide 30 x 320"),
        (["--seed", "-1"], "seed -1"),
        (["--device", "abacus"], "--device abacus: cannot be used"),
        (["--frames", "0"], "frames 0"),
    ],
)
def test_wrong_flags_are_one_line(flags: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        main(["--out", str(tmp_path), *flags])
    assert not list(tmp_path.rglob("*.png"))


def test_wrong_arguments_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="place 'moon'"):
        compose(0, "moon")
    with pytest.raises(InputError, match="samples 0"):
        Look(samples=0)
    clip = render(0, 1, 16, 16)
    for name in ("P000", "a/../b", "a/b,c"):
        with pytest.raises(InputError, match="scene/sequence"):
            write(clip, "folder", tmp_path, name, (4,))
    assert Renderer(compose(0), 16, 16).frame(0)[1].shape == (16, 16)


def test_a_synthetic_video_reads_like_the_clip_it_renders() -> None:
    video = SyntheticVideo(3, 4, frames=4, height=48, width=64)
    clip = render(3, 4, 48, 64)
    whole = video.read(0, 4)
    assert torch.equal(whole.rgb, clip.rgb) and torch.equal(whole.gt[:, 0], clip.depth)
    part = video.read(1, 4, step=2, box=Box(8, 16, 24, 32))
    assert torch.equal(part.rgb, whole.rgb[1::2, :, 8:32, 16:48])
    assert torch.equal(part.gt, whole.gt[1::2, :, 8:32, 16:48])
    assert torch.equal(part.lr, whole.lr[1::2, :, 2:8, 4:12])
    assert torch.equal(torch.cat([frame.lr for frame in video.frames()]), whole.lr)
    assert torch.equal(video.flow(2), clip.flow[2])
    assert torch.equal(video.read_lr(1), whole.lr[1, 0])
    with pytest.raises(InputError, match="no whole multiple of x16"):
        SyntheticVideo(0, 16, height=40)


def test_training_samples_come_from_synthetic_videos() -> None:
    clips = ClipDataset(synthetic_videos(0, 3, scale=8, frames=4, size=48, max_depth_m=10), frames=2, patch=32)
    sample = clips[1]
    assert len(clips) == 3 and sample["lr"].shape == (2, 1, 4, 4) and sample["gt"].max() < 4.0
