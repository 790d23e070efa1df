"""Write synthetic videos in the layout of a data set: python -m STDNet.datasets.synthetic --help lists the flags."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from STDNet import command_line
from STDNet.command_line import option
from STDNet.datasets.synthetic import LAYOUTS, PLACES, Look, check_scales, layout_name, render, write
from STDNet.errors import InputError

DESCRIPTION = "Render procedural videos with exact depth, flow and poses, and write them in the layout of a data set."

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """The flags of the command."""

    layout: str = option("TarTanAir", f"how to lay out the files: {', '.join(LAYOUTS)}")
    out: Path | None = option(None, "root of the data set, such as dataset/synthetic; index.txt there lists the clips")
    seed: int = option(0, "seed of the first clip; the others have the next ones")
    clips: int = option(1, "number of clips")
    frames: int = option(16, "frames of a clip")
    height: int = option(240, "HR pixels, a multiple of every scale")
    width: int = option(320, "HR pixels, a multiple of every scale")
    scales: tuple[int, ...] = option((4, 8, 16), "HR pixels per LR pixel; one tree of LR files each")
    place: str | None = option(None, "desk (0.3 to 3 m), room, hall (2 to 40 m); any by default", choices=tuple(PLACES))
    samples: int = option(1, "rays a pixel of colour; blur needs 8 or more")
    shutter: float = option(0.0, "motion blur: share of the time between frames that the shutter is open, 0 to 1")
    aperture: float = option(0.0, "defocus: diameter of the lens over the focused distance, such as 0.02")
    device: str = option("cpu", "where to render")


def main(argv: list[str] | None = None, command: str = "") -> None:
    """Render and write; `command` is the word behind the program's name, for --help.

    Raises:
        InputError: A wrong flag.
    """
    options = command_line.parse(Options, argv, description=DESCRIPTION, command=command)
    layout_name(options.layout)
    if options.out is None:
        raise InputError("--out is missing: give the folder to write to")
    if options.clips < 1:
        raise InputError(f"--clips {options.clips}: expected 1 or more")
    try:
        torch.zeros(1, device=options.device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {options.device}: cannot be used here ({reason}); give cpu") from None
    check_scales(options.scales, options.height, options.width)
    look = Look(samples=options.samples, shutter=options.shutter, aperture=options.aperture)
    seeds = range(options.seed, options.seed + options.clips)
    index = None
    for seed in command_line.progress(seeds, desc="synthetic", unit="clips"):
        size = options.frames, options.height, options.width
        clip = render(seed, *size, place=options.place, look=look, device=options.device)
        index = write(clip, options.layout, options.out, f"synthetic/S{seed:06d}", options.scales)
    log.info("%d clip(s) of %d frames; the index is %s", options.clips, options.frames, index)


if __name__ == "__main__":
    command_line.run(main)
