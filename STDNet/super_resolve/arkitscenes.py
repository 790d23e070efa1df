"""An ARKitScenes raw sequence: lowres_depth/ (256 x 192, mm), confidence/, and the finest RGB folder there is."""

from __future__ import annotations

from pathlib import Path

from STDNet.datasets.layout import files
from STDNet.errors import InputError
from STDNet.super_resolve.capture import MILLIMETRE, Camera, Capture, Frame, lines_of, match_times, numbers_of, rate

# The same camera at 1920 x 1440, 640 x 480 and 256 x 192: the finest that was downloaded guides best.
RGB_FOLDERS = ("wide", "vga_wide", "lowres_wide")
WITHIN_S = 0.02  # the sensor runs at 60 Hz: further apart is another frame
LOOKED_FOR = f"lowres_depth/, with {'/ or '.join(RGB_FOLDERS)}/"


def recognised(folder: Path) -> bool:
    """Whether the folder looks like this format."""
    return (folder / "lowres_depth").is_dir() and any((folder / name).is_dir() for name in RGB_FOLDERS)


def capture(folder: Path) -> Capture:
    """The frames <video>_<timestamp>.png, each picture with the depth of the nearest time."""
    source = next((folder / name for name in RGB_FOLDERS if (folder / name).is_dir()), folder / RGB_FOLDERS[-1])
    rgb, depth = _by_time(source, "*.png"), _by_time(folder / "lowres_depth", "*.png")
    times, depth_times = list(rgb), list(depth)
    pairs = match_times(times, depth_times, WITHIN_S)
    confidence = folder / "confidence" if (folder / "confidence").is_dir() else None
    frames = []
    for i, j in pairs:
        picture, path = rgb[times[i]], depth[depth_times[j]]
        frames.append(Frame(picture.stem, picture, path, confidence and confidence / path.name))
    pincams = _by_time(folder / f"{source.name}_intrinsics", "*.pincam")
    chosen = [times[i] for i, _ in pairs]

    def camera(t: int) -> Camera | None:
        """The one of the nearest time."""
        return _camera(pincams[min(pincams, key=lambda time: abs(time - chosen[t]))]) if pincams else None

    left_out = len(rgb) - len(frames)
    return Capture("arkitscenes", folder, tuple(frames), MILLIMETRE, camera, rate(chosen), left_out)


def _by_time(folder: Path, pattern: str) -> dict[float, Path]:
    """Seconds -> file, ascending."""
    found = {}
    for path in files(folder, pattern):
        try:
            found[float(path.stem.rsplit("_", 1)[-1])] = path
        except ValueError:
            raise InputError(f"{path}: expected a name such as 40753679_6855.218{path.suffix}: video, time") from None
    return dict(sorted(found.items()))


def _camera(path: Path) -> Camera:
    """A .pincam file: width, height, fx, fy, cx, cy in one line."""
    lines = lines_of(path)
    if not lines:
        raise InputError(f"{path}: empty; expected width height fx fy cx cy")
    width, height, fx, fy, cx, cy = numbers_of(path, lines[0], 6)
    return Camera(fx, fy, cx, cy, int(height), int(width))
