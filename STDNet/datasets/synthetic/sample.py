"""Make the sample video that ships: python -m STDNet.datasets.synthetic.sample --out dataset/sample."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from STDNet.command_line import option, parse, run
from STDNet.datasets.synthetic.rendering import Look, render
from STDNet.datasets.synthetic.writing import write
from STDNet.files import atomic_write, write_image

log = logging.getLogger(__name__)
SEED, FRAMES, HEIGHT, WIDTH = 510, 16, 480, 640
SAMPLES, JPEG_QUALITY = 8, 92
SEQUENCE = "room"


@dataclass(frozen=True)
class Options:
    """The flags."""

    out: Path = option(Path("dataset/sample"), "where to write it, in the layout of DynamicReplica")


def main(argv: list[str] | None = None) -> None:
    """Render with eight rays a pixel; pictures as JPEG, for size; poses and intrinsics beside them."""
    out = parse(Options, argv, description=__doc__).out
    clip = render(SEED, FRAMES, HEIGHT, WIDTH, place="room", look=Look(samples=SAMPLES))
    write(clip, "DynamicReplica", out, f"sample/{SEQUENCE}", scales=())
    for path in sorted((out / SEQUENCE / "images").glob("*.png")):
        with Image.open(path) as image:
            write_image(path.with_suffix(".jpg"), image, quality=JPEG_QUALITY)
        path.unlink()
    header = "camera-to-world, row by row, metres; x right, y down, z forward; fx fy cx cy = {} {} {} {} pixels"
    with atomic_write(out / SEQUENCE / "poses.txt") as file:
        np.savetxt(file, clip.poses.reshape(-1, 16).numpy(), fmt="%.9f", header=header.format(*clip.intrinsics))
    log.info("wrote %s", out)


if __name__ == "__main__":
    run(main)
