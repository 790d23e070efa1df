"""Writes synthetic clips as the data sets lay out their files, so that every loader and script can be tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from STDNet.datasets.index import read_index
from STDNet.datasets.layout import PROTOCOLS
from STDNet.datasets.synthetic.rendering import SyntheticClip
from STDNet.datasets.video import videos
from STDNet.errors import InputError
from STDNet.files import atomic_write, write_image, write_npy

INDEX = "index.txt"
LAYOUTS = ("TarTanAir", "DyDToF", "DynamicReplica", "folder", "colour")
JPEG_QUALITY = 95
# Camera axes (x right, y down, z forward) from TarTanAir's (x forward, y right, z down), and the same for the world
# (x, y horizontal, z up) from (x, y horizontal, z down).
_BODY = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
_WORLD = np.diag([1.0, -1, -1])


def write(clip: SyntheticClip, layout: str, out: Path | str, name: str, scales: Iterable[int] = (4, 8, 16)) -> Path:
    """Write a clip as one sequence of a data set, and add it to the index file of the folder.

    Written are RGB, HR depth, LR depth simulated as the paper does (from the files, so that a loader that simulates
    it sees the same), flow and poses where the layout has a place for them. Files appear whole or not at all, the
    line in the index comes last. Flow files make the sequence independent of the intrinsics that a data set fixes.

    Args:
        clip: What to write.
        layout: "TarTanAir", "DyDToF", "DynamicReplica" or "folder", in any spelling of `LAYOUTS`; or "colour", the
            pictures alone for `STDNet.colour_video`, scene/sequence/hr.
        out: Root of the data set. `out`/index.txt lists its sequences.
        name: "scene/sequence", such as "synthetic/P000".
        scales: HR pixels per LR pixel of the LR files; they divide height and width.

    Returns:
        The index file.

    Raises:
        InputError: An unknown layout, a name of another form, or a scale that does not divide the picture.
    """
    kind, out, scales = layout_name(layout), Path(out), tuple(scales)
    scene, _, sequence = name.partition("/")
    if not scene or not sequence or any(letter in name for letter in ",#\n") or ".." in name:
        raise InputError(f"name {name!r}: expected scene/sequence, such as synthetic/P000")
    check_scales(scales, *clip.rgb.shape[-2:])
    _WRITERS[kind](clip, out, scene, sequence)
    if kind == "colour":
        return _listed(out, name, f"{name}\n", head="# scene/sequence")
    line = f"{scene}, {sequence}, {len(clip)}"
    _write_lr(kind, out, line, scales)
    index = _listed(out, line, f"{scene}, {sequence},")
    read_index(index)
    return index


def layout_name(layout: str) -> str:
    """The key of `_WRITERS`, mostly a data set, for any spelling: "TarTanAir", "dynamic_replica"."""
    for kind in _WRITERS:
        if layout.lower().replace("_", "") == kind.replace("_", ""):
            return kind
    raise InputError(f"layout {layout!r} is unknown; known: {', '.join(LAYOUTS)}")


def check_scales(scales: Iterable[int], height: int, width: int) -> None:
    """Raises: InputError: A scale does not divide the picture."""
    for scale in scales:
        if scale < 1 or height % scale or width % scale:
            raise InputError(f"scale {scale} does not divide {height} x {width} pixels; give another size or scale")


def _write_lr(kind: str, out: Path, line: str, scales: tuple[int, ...]) -> None:
    """LR files, read and written through the data set's own layout."""
    alone = out / f".{line.replace('/', '_').replace(', ', '_')}.txt"
    try:
        with atomic_write(alone) as file:
            file.write(f"{line}\n".encode())
        # The protocols of most data sets share their LR files.
        for scale, protocol in product(scales, PROTOCOLS if kind == "dynamic_replica" else PROTOCOLS[:1]):
            for video in videos(kind, out, alone, scale=scale, protocol=protocol, lr="simulate"):
                for t in range(len(video)):
                    write_npy(video.lr_path(t), video.read_lr(t).numpy())
    finally:
        alone.unlink(missing_ok=True)


def _listed(out: Path, line: str, key: str, head: str = "# scene, sequence, frames") -> Path:
    """The index file with that line, in the place of one that begins with `key`."""
    index = out / INDEX
    old = index.read_text().splitlines() if index.is_file() else [head]
    kept = [before for before in old if not f"{before}\n".startswith(key)]
    with atomic_write(index) as file:
        file.write("\n".join([*kept, line, ""]).encode())
    return index


def _tartanair(clip: SyntheticClip, out: Path, scene: str, sequence: str) -> None:
    """The paper's folders, with pose_left.txt and the flow files of the release."""
    folder = out / "HR_RGB" / scene / sequence
    for t in range(len(clip)):
        _picture(folder / "image_left" / f"{t:06d}_left.png", clip, t)
        write_npy(folder / "depth_left" / f"{t:06d}_left_depth.npy", clip.depth[t].cpu().numpy())
    for t, flow in enumerate(clip.flow.cpu().numpy()):
        write_npy(folder / "flow" / f"{t:06d}_{t + 1:06d}_flow.npy", flow)
    with atomic_write(folder / "pose_left.txt") as file:
        np.savetxt(file, ned_poses(clip), fmt="%.9f")


def _dydtof(clip: SyntheticClip, out: Path, scene: str, sequence: str) -> None:
    folder = out / "DyDToF_HR_RGB" / scene / sequence
    for t in range(len(clip)):
        _picture(folder / "color" / f"{sequence}.{t:04d}.jpeg", clip, t)
        write_npy(folder / "depth" / f"{sequence}.{t:04d}.npy", clip.depth[t].cpu().numpy())


def _dynamic_replica(clip: SyntheticClip, out: Path, scene: str, sequence: str) -> None:
    """The released names; depth and flow are bit patterns of float16 in 16-bit PNG files."""
    folder = out / sequence
    for t in range(len(clip)):
        _picture(folder / "images" / f"{sequence}-{t:04d}.png", clip, t)
        _half_floats(folder / "depths" / f"{sequence}_{t:04d}.geometric.png", clip.depth[t].cpu().numpy())
    for t, flow in enumerate(clip.flow.cpu().numpy()):
        flow = np.concatenate([flow[..., 0], flow[..., 1]], axis=1).clip(-60000, 60000)
        _half_floats(folder / "flow_forward" / f"{sequence}-{t:04d}.png", flow)


def _folder(clip: SyntheticClip, out: Path, scene: str, sequence: str) -> None:
    folder = out / scene / sequence
    for t in range(len(clip)):
        _picture(folder / "rgb" / f"{t:06d}.png", clip, t)
        write_npy(folder / "depth" / f"{t:06d}.npy", clip.depth[t].cpu().numpy())


def _colour(clip: SyntheticClip, out: Path, scene: str, sequence: str) -> None:
    for t in range(len(clip)):
        _picture(out / scene / sequence / "hr" / f"{t:06d}.png", clip, t)


def ned_poses(clip: SyntheticClip) -> np.ndarray:
    """[T, 7] x y z qx qy qz qw, camera-to-world in TarTanAir's axes (north, east, down; forward, right, down)."""
    poses = clip.poses.cpu().numpy()
    turns = Rotation.from_matrix(_WORLD @ poses[:, :3, :3] @ _BODY)
    return np.concatenate([poses[:, :3, 3] @ _WORLD.T, turns.as_quat()], axis=1)


def _picture(path: Path, clip: SyntheticClip, t: int) -> None:
    """RGB as PNG or JPEG."""
    pixels = (clip.rgb[t] * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    _image(path, Image.fromarray(np.ascontiguousarray(pixels)))


def _half_floats(path: Path, values: np.ndarray) -> None:
    """Bit patterns of float16 in a 16-bit PNG."""
    _image(path, Image.fromarray(np.ascontiguousarray(values.astype(np.float16)).view(np.uint16)))


def _image(path: Path, image: Image.Image) -> None:
    """PNG that is quick to write, or JPEG with its colours in full."""
    if path.suffix == ".png":
        write_image(path, image, compress_level=3)
    else:
        write_image(path, image, quality=JPEG_QUALITY, subsampling=0)


_WRITERS: dict[str, Callable[[SyntheticClip, Path, str, str], None]] = {
    "tartanair": _tartanair,
    "dydtof": _dydtof,
    "dynamic_replica": _dynamic_replica,
    "folder": _folder,
    "colour": _colour,
}
