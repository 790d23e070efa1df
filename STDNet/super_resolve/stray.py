"""A Stray Scanner capture of an iPhone or iPad: rgb.mp4, depth/ (256 x 192, mm), confidence/, camera_matrix.csv."""

from __future__ import annotations

from pathlib import Path

from STDNet.datasets import reading
from STDNet.datasets.layout import files
from STDNet.errors import InputError
from STDNet.super_resolve.capture import MILLIMETRE, Camera, Capture, Frame, lines_of, numbers_of, rate

LOOKED_FOR = "rgb.mp4 and depth/, with camera_matrix.csv or odometry.csv"


def recognised(folder: Path) -> bool:
    """Whether the folder looks like this format."""
    named = any((folder / name).is_file() for name in ("camera_matrix.csv", "odometry.csv"))
    return named and (folder / "rgb.mp4").is_file() and (folder / "depth").is_dir()


def capture(folder: Path) -> Capture:
    """The frames: depth/000012.png belongs to picture 12 of rgb.mp4."""
    video = folder / "rgb.mp4"
    depth = files(folder / "depth", "*.png", "*.npy")  # early versions of the app wrote npy, in millimetres too
    length = reading.video_length(video)
    confidence = folder / "confidence" if (folder / "confidence").is_dir() else None
    frames = tuple(
        Frame(path.stem, video, path, confidence and confidence / f"{path.stem}.png", number)
        for path in depth
        if (number := _number(path)) < length
    )
    camera = _camera(folder / "camera_matrix.csv", video)
    left_out = len(depth) + length - 2 * len(frames)
    return Capture("stray", folder, frames, MILLIMETRE, lambda t: camera, _rate(folder / "odometry.csv"), left_out)


def _number(path: Path) -> int:
    if not path.stem.isdecimal():
        raise InputError(f"{path}: expected the number of the video frame as its name, such as 000012{path.suffix}")
    return int(path.stem)


def _camera(path: Path, video: Path) -> Camera | None:
    """The 3 x 3 matrix of camera_matrix.csv, which is for the pictures of the video."""
    if not path.is_file():
        return None
    lines = lines_of(path)
    if len(lines) != 3:
        raise InputError(f"{path}: {len(lines)} lines; expected the three rows of the camera matrix")
    (fx, _, cx), (_, fy, cy), _ = (numbers_of(path, line, 3, ",") for line in lines)
    return Camera(fx, fy, cx, cy, *reading.image_size(video))


def _rate(path: Path) -> float | None:
    """Frames a second, by the timestamps of odometry.csv, whose first line names the columns."""
    return rate([numbers_of(path, line, 1, ",")[0] for line in lines_of(path)[1:]]) if path.is_file() else None
