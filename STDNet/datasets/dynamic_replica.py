"""DynamicReplica: synthetic rooms with moving people and animals. Depth is stored as bit patterns of float16 metres.

The paper reads those 16-bit patterns ("codes") as if they were depths. Its protocol is kept by calling 1e-4 of a code
a "metre", so that 100 times an error in "metres" is the paper's error, codes / 100. The metric protocol reads the
patterns as what they are, float16 metres.
"""

from __future__ import annotations

import gzip
import json
from functools import partial
from pathlib import Path

import numpy as np

from STDNet.datasets import reading
from STDNet.datasets.index import Entry
from STDNet.datasets.layout import DepthRule, Frame, Layout, SensorRange, files, first_folder, take
from STDNet.errors import InputError

ADVICE = (
    "Download the test split of DynamicReplica from https://github.com/facebookresearch/dynamic_stereo and put it "
    "there: <root>/<sequence>/ or <root>/test/<sequence>/ with images/ and depths/ inside"
)
METRES_PER_CODE = 1e-4
MAX_CODE = 17700
# The smallest valid depth, 1e-5 m, has code 168; a stored number below 168 was therefore never a code.
SMALLEST_CODE = 168
# 1280 x 720 frames are cropped to their centre, 640 x 480.
CENTRE = (720, 1280, 480, 640)


def layout(root: Path, entry: Entry, scale: int, protocol: str) -> Layout:
    """One sequence, from the released 16-bit PNGs or from processed_*.npy files with the same numbers."""
    name = entry.sequence
    folder = first_folder(
        f"DynamicReplica {name}", [root / name, root / entry.scene / name, root / "test" / name], ADVICE
    )
    rgb = take(files(folder / "images", "*.png", "*.jpg"), entry.frames, "pictures", folder / "images")
    depth_folder = folder / "depths"
    stored = files(depth_folder, "processed_*.geometric.npy") or files(depth_folder, "*.geometric.png")
    depth = take(stored, entry.frames, "depth files (*.geometric.png, processed_*.geometric.npy)", depth_folder)
    lr = _lr_paths(root, folder, protocol, scale, depth)
    flow = files(folder / "flow_forward", "*.png")
    codes = protocol == "paper"
    return Layout(
        name=name,
        frames=tuple(
            Frame(rgb=rgb[t], depth=depth[t], lr=lr[t], flow=flow[t] if t < min(len(flow), entry.frames - 1) else None)
            for t in range(entry.frames)
        ),
        max_depth_m=MAX_CODE * METRES_PER_CODE if codes else 30.0,
        sensor=SensorRange(MAX_CODE * METRES_PER_CODE if codes else 10.0),
        rule=DepthRule() if codes else DepthRule(masked=True, above_m=1e-5),
        metres=_pseudo_metres if codes else partial(_metres, adjustments=_adjustments(folder)),
        lr_metres=_lr_pseudo_metres if codes else _lr_metres,
        centre=CENTRE,
        flow=_flow,
    )


def _lr_paths(root: Path, folder: Path, protocol: str, scale: int, depth: list[Path]) -> list[Path]:
    """The LR files that are there, under whatever names, else the places where they should be.

    LR depth of the two protocols differs, so each has a tree of its own.
    """
    tree = root / ("LR" if protocol == "paper" else "LR_metric") / f"X{scale}" / folder.name
    found = files(tree, "*.npy", "*/*.npy")
    return found[: len(depth)] if len(found) >= len(depth) else [tree / "depths" / f"{path.stem}.npy" for path in depth]


def _codes(values: np.ndarray, path: Path) -> np.ndarray:
    """Stored HR depth as integers; a file of metres in the place of codes is noticed by its size."""
    largest = float(values.max())
    if values.dtype.kind == "f" and (not 0 <= largest < 2**16 or 0 < largest < SMALLEST_CODE):
        raise InputError(f"{path}: depth up to {largest:g}; expected the 16-bit codes of DynamicReplica, such as 17408")
    return values.astype(np.uint16)


def _pseudo_metres(values: np.ndarray, path: Path) -> np.ndarray:
    return _codes(values, path).astype(np.float32) * np.float32(METRES_PER_CODE)


def _metres(values: np.ndarray, path: Path, *, adjustments: dict[str, float]) -> np.ndarray:
    depth = _codes(values, path).view(np.float16).astype(np.float32)
    name = path.stem.removeprefix("processed_") + ".png"
    return depth * np.float32(adjustments.get(name, 1.0))


def _lr_pseudo_metres(values: np.ndarray, path: Path) -> np.ndarray:
    """LR files hold codes (the authors') or 1e-4 of codes (ours); only codes are large."""
    values = values.astype(np.float32)
    return values * np.float32(METRES_PER_CODE) if float(values.max()) >= SMALLEST_CODE else values


def _lr_metres(values: np.ndarray, path: Path) -> np.ndarray:
    if float(values.max()) >= SMALLEST_CODE:
        raise InputError(
            f"{path}: LR depth up to {float(values.max()):g} are codes; the metric protocol needs metres: "
            f"simulate them (python -m STDNet.simulator, or lr='simulate')"
        )
    return values.astype(np.float32)


def _adjustments(folder: Path) -> dict[str, float]:
    """File name -> `scale_adjustment`, from the released annotations of this sequence; empty without annotations."""
    for path in sorted(folder.parent.glob("frame_annotations_*.jgz")):
        try:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                annotations = json.load(file)
            return {
                Path(item["depth"]["path"]).name: float(item["depth"]["scale_adjustment"])
                for item in annotations
                if folder.name in Path(item["depth"]["path"]).parts
            }
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not a readable annotation file ({error!r}); copy it again") from None
    return {}


def _flow(path: Path) -> np.ndarray:
    """A 16-bit PNG of float16 bit patterns: u in the left half, v in the right half."""
    halves = reading.read_image(path, "16-bit").view(np.float16).astype(np.float32)
    if halves.shape[1] % 2:
        raise InputError(f"{path}: {halves.shape[1]} columns do not split into u and v; expected optical flow")
    return np.stack(np.split(halves, 2, axis=1), axis=-1)
