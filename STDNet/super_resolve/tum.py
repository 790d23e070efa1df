"""A TUM RGB-D sequence: rgb.txt and depth.txt, or associations.txt; depth PNG in 1/5000 metre, as fine as RGB."""

from __future__ import annotations

from pathlib import Path

from STDNet.datasets import reading
from STDNet.errors import InputError
from STDNet.super_resolve.capture import Camera, Capture, Frame, lines_of, match_times, numbers_of, rate

METRES_PER_UNIT = 1 / 5000
WITHIN_S = 0.02  # as the data set's own associate.py
# What the data set's own tools use for its depth, which is registered to RGB: (525, 525, 319.5, 239.5), where pixel
# centres are whole numbers.
CAMERA = Camera(525.0, 525.0, 320.0, 240.0, 480, 640)
LOOKED_FOR = "associations.txt, or rgb.txt and depth.txt"


def recognised(folder: Path) -> bool:
    """Whether the folder looks like this format."""
    listed = (folder / "rgb.txt").is_file() and (folder / "depth.txt").is_file()
    return listed or (folder / "associations.txt").is_file()


def capture(folder: Path) -> Capture:
    """The frames, as associated by associations.txt, else by the nearest timestamps."""
    associations = folder / "associations.txt"
    if associations.is_file():
        pairs, count = [_associated(associations, line) for line in lines_of(associations)], 0
    else:
        rgb, depth = _listed(folder / "rgb.txt"), _listed(folder / "depth.txt")
        matches = match_times([time for time, _ in rgb], [time for time, _ in depth], WITHIN_S)
        pairs, count = [(*rgb[i], depth[j][1]) for i, j in matches], len(rgb) - len(matches)
    frames = tuple(Frame(Path(rgb).stem, folder / rgb, folder / depth) for _, rgb, depth in pairs)

    def camera(t: int) -> Camera | None:
        """The data set's, where the pictures have its size."""
        return CAMERA if reading.image_size(frames[t].rgb) == (CAMERA.height, CAMERA.width) else None

    return Capture("tum", folder, frames, METRES_PER_UNIT, camera, rate([time for time, _, _ in pairs]), count)


def _listed(path: Path) -> list[tuple[float, str]]:
    """(seconds, file) of every line, ascending."""
    return sorted((numbers_of(path, line, 1)[0], _cells(path, line, 2)[1]) for line in lines_of(path))


def _associated(path: Path, line: str) -> tuple[float, str, str]:
    """(seconds, RGB file, depth file) of "time file time file"; either of the two may come first."""
    time, first, _, second = _cells(path, line, 4)
    return numbers_of(path, time, 1)[0], *((second, first) if first.startswith("depth") else (first, second))


def _cells(path: Path, line: str, count: int) -> list[str]:
    cells = line.split()
    if len(cells) != count:
        raise InputError(f"{path}: {line.strip()!r} has {len(cells)} columns, expected {count}: times and file names")
    # A list may come from anywhere; what it names is read.
    if any(Path(cell).is_absolute() or ".." in Path(cell).parts for cell in cells):
        raise InputError(f"{path}: {line.strip()!r} names a file outside of the sequence; name those in its folders")
    return cells
