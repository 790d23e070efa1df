"""TarTanAir: photo-realistic simulated flights. Depth in metres, camera poses, optical flow where downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from STDNet.datasets import reading
from STDNet.datasets.index import Entry
from STDNet.datasets.layout import DepthRule, Frame, Layout, SensorRange, first_folder

ADVICE = (
    "Download image_left and depth_left of the scene's Hard trajectories from https://theairlab.org/tartanair-dataset/ "
    "and put them there: <root>/HR_RGB/<scene>/<sequence>/ (the paper's layout) or <root>/<scene>/Hard/<sequence>/ "
    "(as released), with image_left/, depth_left/ and pose_left.txt inside"
)
MAX_DEPTH_M = 30.0


def layout(root: Path, entry: Entry, scale: int, protocol: str) -> Layout:
    """One sequence, from the paper's layout or the released one ("Easy/P003" as the sequence chooses Easy)."""
    scene, sequence = entry.scene, entry.sequence
    released = root / scene / sequence if "/" in sequence else root / scene / "Hard" / sequence
    folder = first_folder(f"TarTanAir {entry.name}", [root / "HR_RGB" / scene / sequence, released], ADVICE)
    lr = root / "LR" / f"X{scale}" / scene / sequence / "depth_left"
    has_flow = (folder / "flow").is_dir()
    frames = tuple(
        Frame(
            rgb=folder / "image_left" / f"{t:06d}_left.png",
            depth=folder / "depth_left" / f"{t:06d}_left_depth.npy",
            lr=lr / f"{t:06d}_left_depth.npy",
            flow=folder / "flow" / f"{t:06d}_{t + 1:06d}_flow.npy" if has_flow and t + 1 < entry.frames else None,
        )
        for t in range(entry.frames)
    )
    poses = folder / "pose_left.txt"
    sensor = SensorRange(100.0)
    return Layout(
        name=entry.name,
        frames=frames,
        max_depth_m=MAX_DEPTH_M,
        sensor=sensor,
        rule=DepthRule() if protocol == "paper" else DepthRule(masked=True, below_m=sensor.max_range_m),
        poses=poses if poses.is_file() else None,
        flow=_flow,
    )


def _flow(path: Path) -> np.ndarray:
    return np.asarray(reading.read_npy(path))
