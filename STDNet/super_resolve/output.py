"""The files of a result: one set a frame, each whole or not there, and the settings that they were made with."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from STDNet.datasets import reading
from STDNet.datasets.layout import absent
from STDNet.errors import InputError
from STDNet.files import atomic_write, write_image, write_json, write_npy

FOLDERS = {"npy": "depth_m", "png": "depth_mm", "exr": "depth_exr"}
VALID = "valid"
SETTINGS = "settings.json"
OTHER_OUT = "give another --out, or empty it"
UNITS = {
    "depth_m/*.npy": "metres, float32",
    "depth_mm/*.png": "millimetres, 16 bit, 0: no value",
    "depth_exr/*.exr": "metres, float32, channel Z",
    "valid/*.png": "255: the sensor measured here, 0: a hole that was filled",
    "ply/*.ply": "metres; x right, y down, z forward",
}


@dataclass(frozen=True)
class Output:
    """Where the results of a capture go.

    Attributes:
        folder: Above all of them.
        kinds: Which depth files are written, keys of `FOLDERS`.
    """

    folder: Path
    kinds: tuple[str, ...]

    def paths(self, name: str) -> dict[str, Path]:
        """Kind -> file of the frame called `name`."""
        depth = {kind: self.folder / FOLDERS[kind] / f"{name}.{kind}" for kind in FOLDERS if kind in self.kinds}
        return {**depth, VALID: self.folder / VALID / f"{name}.png"}

    def unfinished(self, names: Sequence[str]) -> list[int]:
        """The frames that lack a file."""
        lacking = set(absent(path for name in names for path in self.paths(name).values()))
        return [t for t, name in enumerate(names) if not lacking.isdisjoint(self.paths(name).values())]

    def write(self, name: str, depth_m: Tensor, valid: Tensor) -> None:
        """The files of one frame: depth [H, W] in metres and its validity map [H, W] bool."""
        writers = {"npy": write_npy, "png": _write_mm, "exr": _write_exr}
        for kind, path in self.paths(name).items():
            if kind == VALID:
                write_image(path, Image.fromarray(valid.numpy().astype(np.uint8) * np.uint8(255)))
            else:
                writers[kind](path, depth_m.numpy())

    def read(self, name: str) -> np.ndarray:
        """[H, W] float32 metres as written, from the most exact kind."""
        kind, path = next(iter(self.paths(name).items()))
        return reading.read_depth(path).astype(np.float32) * np.float32(1e-3 if kind == "png" else 1)

    def claim(self, settings: dict[str, Any]) -> None:
        """Note the settings of a new result; refuse to go on with one that was made with others."""
        path = self.folder / SETTINGS
        if not path.is_file():
            if any((self.folder / name).exists() for name in (*FOLDERS.values(), VALID)):
                raise InputError(f"{self.folder}: holds results but no {SETTINGS}; {OTHER_OUT}")
            write_json(path, settings)
            return
        try:
            before = json.loads(path.read_text())
        except ValueError as error:
            raise InputError(f"{path}: not the settings of a result ({error}); {OTHER_OUT}") from None
        for key, value in settings.items():
            if before.get(key) != value:
                was = f"made with {key} {before.get(key)}, this run has {value}"
                raise InputError(f"{self.folder}: its frames were {was}; {OTHER_OUT}")


def millimetres(depth_m: np.ndarray) -> np.ndarray:
    """uint16; 0, which means no value, for what does not fit: not finite, below 0.5 mm or above 65.535 m."""
    rounded = np.round(depth_m.astype(np.float64) * 1000)
    fits = (rounded >= 1) & (rounded <= np.iinfo(np.uint16).max)
    return np.where(fits, rounded, 0).astype(np.uint16)


def refuse_kinds(kinds: Sequence[str]) -> None:
    """An `InputError` for kinds of depth files that do not exist or cannot be written here."""
    unknown = [kind for kind in kinds if kind not in FOLDERS]
    if unknown or not kinds:
        raise InputError(f"--save {' '.join(unknown)}: choose from {', '.join(FOLDERS)}")
    if "exr" in kinds:
        _openexr()


def _write_mm(path: Path, depth_m: np.ndarray) -> None:
    write_image(path, Image.fromarray(millimetres(depth_m)))


def _write_exr(path: Path, depth_m: np.ndarray) -> None:
    """The package writes to a name of its own choice only, so the bytes are moved."""
    openexr = _openexr()
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "depth.exr"
        openexr.File(header, {"Z": depth_m}).write(str(made))
        with atomic_write(path) as file:
            file.write(made.read_bytes())


def _openexr() -> Any:
    try:
        import OpenEXR
    except ImportError:
        raise InputError("--save exr needs OpenEXR: pip install 'STDNet[exr]', or leave exr out") from None
    return OpenEXR


def write_ply(path: Path, points: np.ndarray, colours: np.ndarray) -> None:
    """A binary PLY file of a coloured point cloud.

    Args:
        path: Where.
        points: [N, 3] metres.
        colours: [N, 3] uint8 RGB.
    """
    kinds = [(axis, "<f4") for axis in "xyz"] + [(name, "u1") for name in ("red", "green", "blue")]
    vertices = np.empty(len(points), np.dtype(kinds))
    for column, axis in enumerate("xyz"):
        vertices[axis] = points[:, column]
    for column, name in enumerate(("red", "green", "blue")):
        vertices[name] = colours[:, column]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    header += [f"property {'float' if kind == '<f4' else 'uchar'} {name}" for name, kind in kinds]
    content = io.BytesIO()
    content.write(("\n".join([*header, "end_header"]) + "\n").encode())
    content.write(vertices.tobytes())
    with atomic_write(path) as file:
        file.write(content.getvalue())
