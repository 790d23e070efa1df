"""Super-resolve a capture: python -m STDNet.super_resolve CAPTURE --out DIR; --help lists the flags."""

from __future__ import annotations

import sys

from STDNet.command_line import parse, run
from STDNet.super_resolve.config import SuperResolveConfig
from STDNet.super_resolve.run import run_config

DESCRIPTION = (
    "Super-resolve the depth of a capture: python -m STDNet.super_resolve CAPTURE --out DIR. CAPTURE is a folder with "
    "rgb/ or rgb.mp4 and lr/, a Stray Scanner capture, an ARKitScenes sequence, or a TUM RGB-D sequence."
)


def main(argv: list[str] | None = None) -> None:
    """Parse the flags and run."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and not argv[0].startswith("-"):
        argv = ["--capture", *argv]
    run_config(parse(SuperResolveConfig, argv, description=DESCRIPTION))


if __name__ == "__main__":
    run(main)
