"""A folder of your own: RGB pictures or a video file, LR depth, and HR depth where there is ground truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from STDNet.datasets import reading
from STDNet.datasets.index import Entry
from STDNet.datasets.layout import DepthRule, Frame, Layout, SensorRange, as_metres, files, first_folder
from STDNet.errors import InputError

ADVICE = (
    "A sequence is a folder with rgb/ (pictures) or rgb.mp4, lr/ (low-resolution depth) and, where there is ground "
    "truth, depth/; depth is .npy or .exr in metres, or 16-bit .png in millimetres"
)
# What the network was trained with.
MAX_DEPTH_M = 30.0


def entries(root: Path) -> list[tuple[str, Path]]:
    """(name, folder) of every sequence: `root` itself, or the folders in it.

    Raises:
        InputError: There is none.
    """
    first_folder("folder data set", [root], ADVICE)
    if _has_rgb(root):
        return [(root.resolve().name, root)]
    found = [(folder.name, folder) for folder in sorted(root.iterdir()) if folder.is_dir() and _has_rgb(folder)]
    if not found:
        raise InputError(
            f"{root}: no sequence in it; looked for rgb/ and rgb.mp4|mov|mkv|avi there and one level below. {ADVICE}"
        )
    return found


def layout_of_entry(root: Path, entry: Entry, scale: int, protocol: str) -> Layout:
    """The sequence <root>/<scene>/<sequence> of an index file."""
    folder = first_folder(f"sequence {entry.name}", [root / entry.scene / entry.sequence], ADVICE)
    return layout(entry.name, folder, scale, frames=entry.frames)


def layout(name: str, folder: Path, scale: int, *, frames: int | None = None) -> Layout:
    """One sequence.

    Args:
        name: What to call it.
        folder: Where it is.
        scale: HR pixels per LR pixel.
        frames: Use the first ones only; None uses all.

    Returns:
        Its layout, the same for every protocol: ground truth is valid where it is finite and above 0.

    Raises:
        InputError: No frames, fewer than `frames`, or different numbers of RGB, LR and depth files.
    """
    rgb = _rgb(folder)
    depth = files(folder / "depth", *reading.DEPTH_PATTERNS)
    # What STDNet.simulator makes goes to a folder of its own, which is preferred; its file names are known.
    made = folder / f"lr_x{scale}"
    lr = [] if made.is_dir() else files(folder / "lr", *reading.DEPTH_PATTERNS)
    if not (depth or lr or made.is_dir()):
        raise InputError(f"{folder}: neither LR depth (lr/) nor HR depth (depth/) to simulate it from. {ADVICE}")
    for what, found in (("depth", depth), ("lr", lr)):
        if found and len(found) != len(rgb):
            raise InputError(f"{folder}: {len(rgb)} RGB frames but {len(found)} files in {what}/: it takes one a frame")
    count = len(rgb) if frames is None else frames
    if count > len(rgb):
        raise InputError(f"{folder}: {len(rgb)} RGB frames, but the index counts {count}")
    stems = [f"{t:06d}" if rgb[t].suffix in reading.VIDEO_SUFFIXES else rgb[t].stem for t in range(count)]
    return Layout(
        name=name,
        frames=tuple(
            Frame(
                rgb=rgb[t],
                depth=depth[t] if depth else None,
                lr=lr[t] if lr else made / f"{stems[t]}.npy",
            )
            for t in range(count)
        ),
        max_depth_m=MAX_DEPTH_M,
        sensor=SensorRange(100.0),
        rule=DepthRule(masked=True),
        metres=_metres,
        lr_metres=_metres,
    )


def _video_file(folder: Path) -> Path | None:
    return next((path for suffix in reading.VIDEO_SUFFIXES if (path := folder / f"rgb{suffix}").is_file()), None)


def _has_rgb(folder: Path) -> bool:
    return (folder / "rgb").is_dir() or _video_file(folder) is not None


def _rgb(folder: Path) -> list[Path]:
    """One path a frame."""
    if pictures := files(folder / "rgb", *reading.IMAGE_PATTERNS):
        return pictures
    video = _video_file(folder)
    if video is None:
        raise InputError(f"{folder}: no picture in rgb/ and no rgb.mp4|mov|mkv|avi. {ADVICE}")
    return [video] * reading.video_length(video)


def _metres(values: np.ndarray, path: Path) -> np.ndarray:
    """PNG files hold millimetres, the others metres."""
    return values.astype(np.float32) * np.float32(1e-3) if path.suffix.lower() == ".png" else as_metres(values, path)
