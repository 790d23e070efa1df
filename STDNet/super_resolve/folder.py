"""A folder of your own: rgb/ or rgb.mp4, and lr/ (or depth/): npy or EXR in metres, or 16-bit PNG in millimetres."""

from __future__ import annotations

from pathlib import Path

from STDNet.datasets import reading
from STDNet.datasets.layout import files
from STDNet.errors import InputError
from STDNet.super_resolve.capture import METRE, MILLIMETRE, Capture, Frame

LOOKED_FOR = "rgb/ or rgb.mp4|mov|mkv|avi, with lr/ or depth/"


def recognised(folder: Path) -> bool:
    """Whether the folder looks like this format."""
    return (bool(_video(folder)) or (folder / "rgb").is_dir()) and any((folder / d).is_dir() for d in ("lr", "depth"))


def capture(folder: Path) -> Capture:
    """The frames, paired in the order of their names."""
    source = next((folder / name for name in ("lr", "depth") if (folder / name).is_dir()), folder / "lr")
    depth = files(source, *reading.DEPTH_PATTERNS)
    if not depth:
        raise InputError(f"{source}: no depth in it; put one .npy or .exr (metres) or 16-bit .png (mm) a frame there")
    kinds = sorted({path.suffix for path in depth})
    if len(kinds) > 1:
        raise InputError(f"{source}: {' and '.join(kinds)} files, whose units differ; keep one kind")
    rgb = files(folder / "rgb", *reading.IMAGE_PATTERNS)
    video = None if rgb else _video(folder)
    if video is not None:
        rgb = [video] * reading.video_length(video)
    if not rgb:
        raise InputError(f"{folder}: no picture in rgb/ and no rgb.mp4|mov|mkv|avi; put the colour frames there")
    if len(rgb) != len(depth):
        raise InputError(f"{folder}: {len(rgb)} RGB frames but {len(depth)} files in {source.name}/: one a frame")
    names = [f"{t:06d}" if video is not None else path.stem for t, path in enumerate(rgb)]
    frames = tuple(Frame(names[t], rgb[t], depth[t], number=t) for t in range(len(rgb)))
    return Capture("folder", folder, frames, MILLIMETRE if kinds == [".png"] else METRE)


def _video(folder: Path) -> Path | None:
    return next((path for suffix in reading.VIDEO_SUFFIXES if (path := folder / f"rgb{suffix}").is_file()), None)
