"""Check a data set before a long run: python -m STDNet.datasets <name> --root ... --list ... --scale ..."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from STDNet.command_line import option, parse, progress, run
from STDNet.datasets.check import Report, check_video, table
from STDNet.datasets.index import read_index
from STDNet.datasets.layout import PROTOCOLS
from STDNet.datasets.synthetic.__main__ import main as synthesise
from STDNet.datasets.video import LAYOUTS, LR_SOURCES, Video, videos
from STDNet.errors import InputError
from STDNet.files import atomic_write
from STDNet.visualize import frame_strip, stack

DESCRIPTION = f"""Check a data set: read every frame and report all that is wrong: missing and broken files, shapes,
ranges, units. NAME is one of {", ".join(LAYOUTS)}. With NAME synthetic the command makes procedural videos in the
layout of a data set instead: python -m STDNet.datasets synthetic --help."""


@dataclass(frozen=True)
class CheckConfig:
    """The flags of the command line."""

    root: Path = option(Path("dataset"), "folder of the data set")
    list: Path | None = option(None, "index file, such as data/TarTanAir_train.txt; folder data sets need none")
    scale: int = option(4, "HR pixels per LR pixel")
    protocol: str = option("paper", "which depth is allowed", choices=PROTOCOLS)
    lr: str = option("auto", "LR depth from files, simulated, or files where they are present", choices=LR_SOURCES)
    every: int = option(1, "read every n-th frame only (missing files are found all the same)")
    limit: int = option(50, "problems to print")
    picture: Path | None = option(None, "write a sample sheet to this PNG file: RGB, LR depth and ground truth")
    rows: int = option(4, "frames of the sample sheet")


def main(argv: list[str] | None = None) -> None:
    """Check one data set, print a table and all problems.

    Raises:
        InputError: There are problems.
    """
    arguments = sys.argv[1:] if argv is None else argv
    name = arguments[0] if arguments and not arguments[0].startswith("-") else None
    if name == "synthetic":
        synthesise(arguments[1:], command="synthetic")
        return
    config = parse(CheckConfig, arguments[1:] if name else arguments, description=DESCRIPTION, command="NAME")
    if name not in LAYOUTS:
        known = ", ".join([*LAYOUTS, "synthetic"])
        problem = "no data set is named" if name is None else f"data set {name!r} is unknown"
        raise InputError(f"{problem}; the first argument is one of {known}")
    if config.every < 1 or config.rows < 1:
        raise InputError("--every and --rows are 1 or more")
    found, reports = _open(name, config)
    for video in found:
        times = range(0, len(video), config.every)
        reports.append(check_video(video, progress(times, total=len(times), desc=video.name, unit="frames")))
    print(table(reports))
    problems = [problem for report in reports for problem in report.problems]
    print("".join(f"warning: {warning}\n" for report in reports for warning in report.warnings), end="")
    print("".join(f"problem: {problem}\n" for problem in problems[: config.limit]), end="")
    if config.picture is not None:
        sound = {report.name for report in reports if not report.problems}
        _draw([video for video in found if video.name in sound], name, config, config.picture)
    if problems:
        more = f", {len(problems) - config.limit} more than printed" if len(problems) > config.limit else ""
        raise InputError(f"{name} at {config.root}: {len(problems)} problem(s){more}; see the lines above")
    print(f"{name}: {len(found)} sequence(s), {sum(map(len, found))} frames, no problems")


def _open(name: str, config: CheckConfig) -> tuple[list[Video], list[Report]]:
    """The sequences that can be opened, and a report for each that cannot."""
    opened = partial(videos, name, config.root, scale=config.scale, protocol=config.protocol, lr=config.lr, check=False)
    if config.list is None:
        return opened(), []
    found: list[Video] = []
    reports: list[Report] = []
    for entry in read_index(config.list):
        try:
            found += opened([entry])
        except InputError as error:
            reports.append(Report(entry.name, entry.frames, problems=[str(error)]))
    return found, reports


def _draw(sound: list[Video], name: str, config: CheckConfig, path: Path) -> None:
    """The sample sheet, of the sequences without problems."""
    if not sound:
        print("no picture: no sequence is without problems")
        return
    places = [(video, t) for video in sound for t in range(len(video))]
    count = min(config.rows, len(places))
    chosen = [places[i * (len(places) - 1) // max(count - 1, 1)] for i in range(count)]
    strips = [frame_strip(video.read(t, t + 1), f"{video.name}, frame {t}") for video, t in chosen]
    with atomic_write(path) as file:
        stack(strips, f"{name}, x{config.scale}, protocol {config.protocol}").save(file, format="PNG")
    print(f"samples: {path}")


if __name__ == "__main__":
    run(main)
