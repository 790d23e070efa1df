"""Files that appear whole or not at all: write beside, fsync, rename."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

IMAGE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@contextmanager
def atomic_write(path: Path | str) -> Iterator[BinaryIO]:
    """Open a binary file beside `path` that takes the name `path` only when the block ends without an exception.

    Args:
        path: Where the file shall appear. Missing folders are made.

    Yields:
        A writable binary file. On an exception it is removed and `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_npy(path: Path | str, array: np.ndarray) -> None:
    """Write `array` as an .npy file, atomically."""
    with atomic_write(path) as file:
        np.save(file, array)


def write_image(path: Path | str, image: Image.Image, **options: Any) -> None:
    """Write a .png, .jpg or .jpeg file, atomically; `options` are Pillow's for that format."""
    with atomic_write(path) as file:
        image.save(file, format=IMAGE_FORMATS[Path(path).suffix], **options)


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_write(path) as file:
        file.write((json.dumps(value, indent=2) + "\n").encode())


def _umask() -> int:
    """The process's umask; reading it means setting it, so it is put back at once."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
