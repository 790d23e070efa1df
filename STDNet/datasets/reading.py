"""File formats: one function each, from a path to numbers, and one clear line for a file that cannot be read."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from STDNet.errors import InputError
from STDNet.files import write_npy

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi")
IMAGE_PATTERNS = ("*.png", "*.jpg", "*.jpeg", "*.PNG", "*.JPG", "*.JPEG")
DEPTH_PATTERNS = ("*.npy", "*.png", "*.exr")


class MissingFile(InputError):
    """A file that is not there."""


def missing(path: Path) -> MissingFile:
    """The error for a file that is not there."""
    return MissingFile(f"{path}: no such file; a frame is missing, or the data set is not complete")


def read_depth(path: Path) -> np.ndarray:
    """The stored values of a depth file, [H, W], in the file's own type and unit.

    An .npy file stays on disk (memory-mapped): slicing it reads the slice alone. Leading axes of length 1 are dropped.

    Raises:
        InputError: The file is missing, truncated, of another format, or no single picture.
    """
    readers = {".npy": read_npy, ".png": _png16, ".exr": _exr}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path}: unknown kind of depth file; known: {', '.join(readers)}")
    values = readers[path.suffix.lower()](path)
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or values.size == 0 or values.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: holds {values.dtype} of shape {values.shape}; expected one depth map, "
            f"[H, W], [1, H, W] or [1, 1, H, W]"
        )
    return values


def read_npy(path: Path) -> np.ndarray:
    """An .npy file of any shape, memory-mapped; `InputError` where it is missing or broken."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a whole .npy file ({error}); copy it again") from None
    if not isinstance(values, np.ndarray):
        raise InputError(f"{path}: an .npz archive under the name of an .npy file; save a single array")
    return values


def _png16(path: Path) -> np.ndarray:
    return read_image(path, "16-bit")


def _exr(path: Path) -> np.ndarray:
    try:
        import OpenEXR
    except ImportError:
        raise InputError(f"{path}: reading EXR needs OpenEXR: pip install 'STDNet[exr]'") from None
    if not path.is_file():
        raise missing(path)
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = {name: np.array(channel.pixels) for name, channel in file.channels().items()}
    except Exception as error:  # OpenEXR raises types of its own, and RuntimeError
        raise InputError(f"{path}: not a readable EXR file ({str(error).strip()}); copy it again") from None
    for name in ("Z", "Y", "V", "R", *(channels if len(channels) == 1 else ())):
        if name in channels:
            return channels[name]
    raise InputError(f"{path}: no depth among the channels {', '.join(channels)}; name it Z")


def read_image(path: Path, kind: str = "RGB") -> np.ndarray:
    """A picture: [H, W, 3] uint8 for kind "RGB", [H, W] uint16 for kind "16-bit".

    Raises:
        InputError: The file is missing, truncated, no picture, or of the other kind.
    """
    try:
        with Image.open(path) as image:
            mode = image.mode
            if kind == "RGB" and mode in ("RGB", "RGBA", "L", "P"):
                return np.asarray(image.convert("RGB"))
            if kind == "16-bit" and mode in ("I;16", "I;16B", "I;16L", "I"):
                return np.asarray(image).astype(np.uint16)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a whole picture ({error}); copy it again") from None
    raise InputError(f"{path}: a picture of mode {mode}; expected {'8-bit RGB' if kind == 'RGB' else '16-bit grey'}")


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of a picture or of a video's frames, from the header."""
    if path.suffix.lower() in VIDEO_SUFFIXES:
        with _opened(path) as container:
            stream = container.streams.video[0]
            return stream.height, stream.width
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a picture ({error}); copy it again") from None


def decoded_image(path: Path, cache: Path) -> np.ndarray:
    """`read_image`, memory-mapped from `cache`, where it is decoded to on first use; [H, W, 3] uint8, read-only.

    A picture that changes in size or time is decoded anew. Several processes may share the folder.
    """
    try:
        facts = path.stat()
    except FileNotFoundError:
        raise missing(path) from None
    key = hashlib.sha256(f"{path.absolute()}:{facts.st_size}:{facts.st_mtime_ns}".encode()).hexdigest()[:32]
    kept = cache / key[:2] / f"{key}.npy"
    if not kept.exists():
        write_npy(kept, read_image(path))
    return read_npy(kept)


def rgb_frames(
    paths: Sequence[Path], start: int, stop: int, step: int = 1, cache: Path | None = None
) -> Iterator[np.ndarray]:
    """The pictures `start`, `start + step`, ... before `stop`, [H, W, 3] uint8, one at a time.

    `paths` holds one picture a frame, or the same video file for every frame. `cache`: see `decoded_image`; not for
    video files.
    """
    if paths[start].suffix.lower() in VIDEO_SUFFIXES:
        yield from _video_frames(paths[start], start, stop, step)
    else:
        for t in range(start, stop, step):
            yield read_image(paths[t]) if cache is None else decoded_image(paths[t], cache)


def video_length(path: Path) -> int:
    """How many frames a video file holds, counted without decoding them."""
    return len(_packets(path))


def _video_frames(path: Path, start: int, stop: int, step: int) -> Iterator[np.ndarray]:
    """Decoding begins at the key frame before `start`; frames are as stored, without the container's rotation."""
    packets = _packets(path)
    wanted = [packet.shown for packet in packets[start:stop:step]]
    if len(wanted) < len(range(start, stop, step)):
        raise InputError(f"{path}: frames {start} to {stop} asked for, the video has {len(packets)}")
    key = max((packet for packet in packets[: start + 1] if packet.key), default=packets[0])
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        container.seek(key.decoded, stream=stream)  # containers differ in which of the two times they seek by
        count = 0
        for frame in container.decode(stream):
            if frame.pts == wanted[count]:
                yield frame.to_ndarray(format="rgb24")
                count += 1
                if count == len(wanted):
                    return
    raise InputError(f"{path}: frame {start + count * step} cannot be decoded; the file is damaged, copy it again")


class _Packet(NamedTuple):
    """One frame as it lies in a video file: when it is shown, when decoded, whether decoding may begin there."""

    shown: int
    decoded: int
    key: bool


def _packets(path: Path) -> list[_Packet]:
    """All frames in the order in which they are shown, so that the place in the list is the frame number."""
    with _opened(path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.pts is not None]
        return sorted(
            _Packet(packet.pts, packet.pts if packet.dts is None else packet.dts, packet.is_keyframe)
            for packet in packets
            if not getattr(packet, "is_discard", False)
        )


class _opened:  # noqa: N801 - used like a function
    """A video file as a context manager; a broken one is an `InputError`, wherever in the block it shows."""

    def __init__(self, path: Path) -> None:
        try:
            import av
        except ImportError:
            raise InputError(f"{path}: reading videos needs PyAV: pip install 'STDNet[video]'") from None
        if not path.is_file():
            raise missing(path)
        self.path, self.av = path, av

    def __enter__(self) -> Any:
        try:
            self.container = self.av.open(str(self.path))
        except self.av.FFmpegError as error:
            raise self._broken(error) from None
        if not self.container.streams.video:
            self.container.close()
            raise InputError(f"{self.path}: holds no video")
        return self.container

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self.container.close()
        if isinstance(error, self.av.FFmpegError):
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> InputError:
        return InputError(f"{self.path}: not a whole video file ({error}); copy it again")


def refuse_impossible(depth: np.ndarray, path: Path, advice: str) -> None:
    """NaN, infinite or negative depth is an error that says where it is, and `advice`."""
    bad = ~np.isfinite(depth) | (depth < 0)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise InputError(f"{path}: depth {depth[row, column]} m in {int(bad.sum())} pixel(s) of {bad.size}; {advice}")


def unit(picture: np.ndarray) -> Tensor:
    """[h, w, 3] uint8 to [3, h, w] float32 in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(picture, -1, 0))).float() / 255
