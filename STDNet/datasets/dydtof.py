"""DyDToF: synthetic indoor scenes with moving animals, 528 x 960. Depth in metres, windows at 50 m."""

from __future__ import annotations

from pathlib import Path

from STDNet.datasets.index import Entry
from STDNet.datasets.layout import DepthRule, Frame, Layout, SensorRange, first_folder

ADVICE = (
    "Download DyDToF from https://github.com/facebookresearch/DVSR (or the 30 frames that STDNet's authors ship) and "
    "put it there: <root>/DyDToF_HR_RGB/<scene>/<sequence>/ with color/<prefix>0000.jpeg and depth/<prefix>0000.npy in "
    "it; without the prefix as the index's fourth column, file names begin with the sequence's name and a dot"
)
MAX_DEPTH_M = 40.0
WINDOWS_M = 50.0


def layout(root: Path, entry: Entry, scale: int, protocol: str) -> Layout:
    """One sequence; the index's fourth column is what file names begin with."""
    folder = first_folder(f"DyDToF {entry.name}", [root / "DyDToF_HR_RGB" / entry.scene / entry.sequence], ADVICE)
    lr = root / "DyDToF_LR" / f"X{scale}" / entry.scene / entry.sequence / "depth"
    prefix = entry.prefix or f"{entry.sequence}."
    frames = tuple(
        Frame(
            rgb=folder / "color" / f"{prefix}{t:04d}.jpeg",
            depth=folder / "depth" / f"{prefix}{t:04d}.npy",
            lr=lr / f"{prefix}{t:04d}.npy",
        )
        for t in range(entry.frames)
    )
    paper, metric = DepthRule(clip_m=MAX_DEPTH_M), DepthRule(masked=True, below_m=WINDOWS_M)
    return Layout(
        name=entry.name,
        frames=frames,
        max_depth_m=MAX_DEPTH_M,
        sensor=SensorRange(100.0),
        rule=paper if protocol == "paper" else metric,
    )
