"""Which videos a command is about: the flags that the commands for figures share, and the videos they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from STDNet.command_line import option
from STDNet.datasets.layout import PROTOCOLS, SensorRange
from STDNet.datasets.synthetic import TEST_SEED, synthetic_videos
from STDNet.datasets.video import LR_SOURCES, Video, videos
from STDNet.errors import InputError

DEFAULT_ROOTS = {
    "tartanair": Path("dataset/TarTanAir"),
    "dydtof": Path("dataset/DyDToF"),
    "dynamic_replica": Path("dataset/DynamicReplica"),
    "folder": Path("dataset/folder"),
}
SAMPLE = Path("dataset/sample")
SYNTHETIC_CLIPS, SYNTHETIC_FRAMES, SYNTHETIC_SIZE = 8, 8, 256
NAMES = ("sample", "synthetic", *DEFAULT_ROOTS)


def sample_video(
    root: Path = SAMPLE, *, scale: int, sensor: SensorRange | None = None, max_depth_m: float | None = None
) -> Video:
    """The sample that ships, in metres, seen by a simulated sensor (None: the paper's); arguments as in `videos`."""
    found = videos(
        *("dynamic_replica", root, root / "index.txt"),
        scale=scale,
        protocol="metric",
        lr="simulate",
        sensor=sensor or SensorRange(),
        max_depth_m=max_depth_m,
    )
    return found[-1]


@dataclass(frozen=True)
class Source:
    """The flags that name videos: the sample, procedural videos of held-out seeds, or a data set on disk."""

    dataset: str = option("sample", f"which data set: {', '.join(NAMES)}")
    root: Path | None = option(None, "folder of the data set (None: dataset/<its name>)")
    list: Path | None = option(None, "index file of its sequences, such as data/DyDToF_test_subset.txt")
    scale: int = option(4, "RGB pixels per depth pixel", choices=(4, 8, 16))
    protocol: str = option(
        "metric", "metric: metres and a mask; paper: the paper's units and clipping", choices=PROTOCOLS
    )
    lr: str = option("auto", "LR depth: files, simulated, or files where there are", choices=LR_SOURCES)
    frames: int | None = option(None, "use only the first frames of each sequence (None: all)")

    def __post_init__(self) -> None:
        if self.dataset not in NAMES:
            raise InputError(f"--dataset {self.dataset} is unknown; known: {', '.join(NAMES)}")
        if self.frames is not None and self.frames < 1:
            raise InputError(f"--frames must be at least 1, got {self.frames}")

    def open(self, max_depth_m: float | None = None) -> Sequence[Video]:
        """The videos.

        Args:
            max_depth_m: The depth that the network sees as 1; None is the data set's own.

        Raises:
            InputError: A missing index file, root or frame.
        """
        if self.dataset == "synthetic":
            return synthetic_videos(
                TEST_SEED,
                SYNTHETIC_CLIPS,
                scale=self.scale,
                frames=self.frames or SYNTHETIC_FRAMES,
                size=SYNTHETIC_SIZE,
                max_depth_m=max_depth_m,
            )
        if self.dataset == "sample":
            return [sample_video(scale=self.scale, max_depth_m=max_depth_m)]
        if self.list is None and self.dataset != "folder":
            raise InputError(f"--list: name the index file of the {self.dataset} sequences, such as those in data/")
        root = self.root or DEFAULT_ROOTS[self.dataset]
        return videos(
            self.dataset,
            root,
            self.list,
            scale=self.scale,
            protocol=self.protocol,
            lr=self.lr,
            max_depth_m=max_depth_m,
        )
