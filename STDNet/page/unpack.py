"""Uploaded archives to folders: nothing lands outside, nothing is run, and the sizes are bounded."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from STDNet.errors import InputError
from STDNet.super_resolve import FORMATS

# What captures are made of; anything else stays in the archive.
KEPT = {".png", ".jpg", ".jpeg", ".npy", ".exr", ".mp4", ".mov", ".mkv", ".avi", ".txt", ".csv", ".pincam"}
# FFmpeg goes by the content: under the name of a film, a playlist could have it open any file of the machine.
VIDEO_STARTS = {
    ".mp4": (4, (b"ftyp",)),
    ".mov": (4, (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),
    ".mkv": (0, (b"\x1aE\xdf\xa3",)),
    ".avi": (0, (b"RIFF",)),
}
CHUNK = 1 << 20
ENTRY = b"PK\x01\x02"  # how an archive's list of contents begins each of its entries
LEVELS = 3  # folders around a capture
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


class Limits(NamedTuple):
    """Of an upload: bytes of the archive, bytes of what is in it, files in it."""

    upload: int
    unpacked: int
    files: int


def unpack(archive: Path, folder: Path, limits: Limits) -> Path:
    """Unpack the files of a capture from a zip archive that may come from anyone.

    Args:
        archive: The file.
        folder: Where its contents go; made here, and removed again when something is refused.
        limits: What is refused.

    Returns:
        The folder in it that looks like a capture, else `folder`.

    Raises:
        InputError: No zip archive, a damaged or encrypted one, one with absolute paths, "..", links or names that
            collide, or with more than the limits allow.
    """
    _refuse_long_lists(archive, limits)
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [entry for entry in opened.infolist() if _wanted(entry)]
            _refuse_sizes(members, limits)
            left = limits.unpacked
            for entry in members:
                left -= _extract(opened, entry, folder, left, limits)
    except BROKEN as error:
        shutil.rmtree(folder)
        if isinstance(error, InputError):
            raise
        raise InputError(f"the upload is not a whole zip archive ({error}); pack the capture's folder again") from None
    except BaseException:
        shutil.rmtree(folder)
        raise
    return _capture_in(folder)


def _refuse_long_lists(archive: Path, limits: Limits) -> None:
    """Count the entries without a list of them: a list of millions would fill the memory before it is looked at."""
    with archive.open("rb") as file:
        entries = sum(chunk.count(ENTRY) for chunk in iter(lambda: file.read(CHUNK), b""))
    if entries > 2 * limits.files:  # folders are entries too
        raise InputError(f"the upload holds more than {limits.files} files; upload fewer frames")


def _wanted(entry: zipfile.ZipInfo) -> bool:
    """Whether a member is a file of a capture; one that would go elsewhere is refused, wanted or not."""
    # The name as it was stored: zipfile itself cuts it at a NUL and turns some separators.
    name = entry.orig_filename.replace("\\", "/")
    if "\0" in name or name.startswith("/") or ":" in name.split("/")[0] or ".." in name.split("/"):
        raise InputError(f"the upload holds {name!r}, a path outside of its folder; pack the capture's folder again")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(f"the upload holds {name!r}, a link or special file; pack the files themselves")
    if entry.flag_bits & 1:
        raise InputError("the upload is encrypted; pack the capture's folder without a password")
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return not name.endswith("/") and not hidden and path.suffix.lower() in KEPT


def _refuse_sizes(members: list[zipfile.ZipInfo], limits: Limits) -> None:
    """By what the archive says of itself, before anything is written."""
    if not members:
        raise InputError("the upload holds no picture, video or depth file; pack the capture's folder as a zip archive")
    if len(members) > limits.files:
        raise InputError(f"the upload holds {len(members)} files, at most {limits.files} are taken; use fewer frames")
    if (size := sum(entry.file_size for entry in members)) > limits.unpacked:
        raise _too_large(limits, f"{size / 1e6:.0f} MB")


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, left: int, limits: Limits) -> int:
    """Write one member; how many bytes it really had."""
    name = entry.orig_filename.replace("\\", "/")
    path, size = folder / PurePosixPath(name), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(entry) as source, path.open("xb") as target:
            while chunk := source.read(CHUNK):
                size += len(chunk)
                if size > left:
                    raise _too_large(limits, "more than it says")
                target.write(chunk)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"the upload holds {name!r} twice; pack the capture's folder again") from None
    except OSError as error:
        raise InputError(f"{name!r} of the upload cannot be written ({error.strerror})") from None
    if (suffix := path.suffix.lower()) in VIDEO_STARTS:
        _refuse_disguise(path, name, *VIDEO_STARTS[suffix])
    return size


def _refuse_disguise(path: Path, name: str, offset: int, starts: tuple[bytes, ...]) -> None:
    with path.open("rb") as file:
        head = file.read(16)[offset:]
    if not head.startswith(starts):
        raise InputError(f"{name!r} of the upload is not a whole video file; export it again")


def _too_large(limits: Limits, size: str) -> InputError:
    return InputError(
        f"the upload unpacks to {size}, at most {limits.unpacked / 1e6:.0f} MB are taken; upload fewer frames"
    )


def _capture_in(folder: Path) -> Path:
    """The outermost folder that a format recognises: archives mostly hold the folder, not its contents."""
    level = [folder]
    for _ in range(LEVELS):
        for path in level:
            if any(module.recognised(path) for module in FORMATS.values()):
                return path
        level = [inner for path in level for inner in sorted(path.iterdir()) if inner.is_dir()]
    return folder
