"""Which format a capture has: by what is in its folder, or by name."""

from __future__ import annotations

from pathlib import Path

from STDNet.errors import InputError
from STDNet.super_resolve import arkitscenes, folder, stray, tum
from STDNet.super_resolve.capture import Capture

FORMATS = {"folder": folder, "stray": stray, "arkitscenes": arkitscenes, "tum": tum}


def open_capture(path: Path, name: str = "auto") -> Capture:
    """The capture in a folder.

    Args:
        path: The folder.
        name: A key of `FORMATS`, or "auto": the one whose files are there. A folder of the general format is taken for
            that only where it is none of the others.

    Raises:
        InputError: No such folder, no format or more than one that fits, frames that do not belong together, a file
            that is missing or broken.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; CAPTURE is the folder of a recording")
    if name != "auto" and name not in FORMATS:
        raise InputError(f"--format {name}: unknown; known: auto, {', '.join(FORMATS)}")
    capture = FORMATS[_recognised(path) if name == "auto" else name].capture(path)
    capture.refuse_missing()
    return capture


def _recognised(path: Path) -> str:
    """The name of the one format that fits."""
    found = [name for name, module in FORMATS.items() if module.recognised(path)]
    special = [name for name in found if name != "folder"]
    if len(special) > 1:
        raise InputError(f"{path}: could be {' or '.join(special)}; name it with --format")
    if not found:
        looked = "; ".join(f"{name}: {module.LOOKED_FOR}" for name, module in FORMATS.items())
        raise InputError(f"{path}: no known kind of capture. Looked for {looked}")
    return (special or found)[0]
