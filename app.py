"""A page in the browser: pick the sample or upload a capture, super-resolve it, look at the result, download it."""

from __future__ import annotations

from pathlib import Path

from STDNet.command_line import parse, run
from STDNet.page.config import PageConfig


def main() -> None:
    """Serve the page."""
    config = parse(PageConfig, description=__doc__, sample=Path(__file__).resolve().parent / "dataset" / "sample")
    from STDNet.page.server import serve  # its libraries are an extra

    serve(config)


if __name__ == "__main__":
    run(main)
