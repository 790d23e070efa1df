"""List, show, download and convert weights: python -m STDNet.checkpoint --help."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from STDNet.checkpoint import WEIGHTS, checksum, locate, read, save, write_official, write_safetensors
from STDNet.command_line import argument, choose, option, parse, run
from STDNet.errors import InputError

log = logging.getLogger(__name__)

SOURCE = "a name of the list, a file, a folder of save_pretrained, or an http(s) address (with #sha256=... to check it)"
SCALE = "scale of official weights, which do not say theirs"


@dataclass(frozen=True)
class ListOptions:
    """The flags of `list`: none."""


@dataclass(frozen=True)
class ShowOptions:
    """The flags of `show`."""

    source: str = argument(SOURCE)
    scale: int | None = option(None, SCALE)


@dataclass(frozen=True)
class DownloadOptions:
    """The flags of `download`."""

    source: str = argument("a name of the list, or an http(s) address (with #sha256=... to check it)")


@dataclass(frozen=True)
class ConvertOptions:
    """The flags of `convert`."""

    source: str = argument(SOURCE)
    out: Path | None = option(None, "where to write: *.pth, or *.safetensors for ours in fp16")
    facts: Path | None = option(None, "JSON file with what the header of a *.safetensors file shall say, instead")
    scale: int | None = option(None, SCALE)


def main(argv: list[str] | None = None) -> None:
    """List, show, download or convert weights: `python -m STDNet.checkpoint --help`."""
    choose(COMMANDS, argv, description="Weights: what there is by name, what a file holds, downloads, official form.")


def list_weights(argv: list[str]) -> None:
    """Table of the weights that have a name."""
    parse(ListOptions, argv, description="Table of the weights that have a name.", command="list")
    print("| name | scale | channels | MB | validation RMSE / MAE (cm) | where |\n|---|---|---|---|---|---|")
    for name, row in WEIGHTS.items():
        size = f"{locate(name).stat().st_size / 1e6:.1f}" if row.url is None else ""
        scores = f"{row.validation['rmse_cm']:.2f} / {row.validation['mae_cm']:.2f}"
        where = row.url or "ships with the package"
        print(f"| {name} | x{row.config.scale} | {row.config.channels} | {size} | {scores} | {where} |")


def show(argv: list[str]) -> None:
    """Say what a checkpoint holds: scale, width, checksum, facts."""
    flags = parse(ShowOptions, argv, description="Say what a checkpoint holds.", command="show")
    found, path = read(flags.source, scale=flags.scale), locate(flags.source)
    count = sum(value.numel() for value in found.state.values())
    # Some systems have no width to choose.
    width = f", {found.config.channels} channels" if found.config.channels else ""
    print(f"{flags.source}: {found.config.name}, scale {found.config.scale}{width}, {count:,} numbers")
    print(f"  file: {path}, {path.stat().st_size:,} bytes, sha256 {checksum(path)}")
    for key, value in found.meta.items():
        print(f"  {key}: {value}")


def download(argv: list[str]) -> None:
    """Fetch weights into the cache folder and print the file's path."""
    description = (
        "Fetch weights into the cache folder ($STDNET_CACHE, else $XDG_CACHE_HOME/stdnet, else ~/.cache/stdnet) and "
        "print the file's path. A download that broke is resumed. Links to Google Drive need gdown (pip install gdown)."
    )
    flags = parse(DownloadOptions, argv, description=description, command="download")
    path = locate(flags.source)
    if flags.source not in WEIGHTS and path == Path(flags.source):
        raise InputError(f"{flags.source}: neither an http(s) address nor one of {', '.join(WEIGHTS)}")
    log.info("sha256 %s", checksum(path))
    print(path)


def convert(argv: list[str]) -> None:
    """Rewrite a checkpoint: ours as official, official as ours, ours as fp16 safetensors."""
    description = "Rewrite a checkpoint: ours becomes official, official ours; to --out *.safetensors, ours in fp16."
    flags = parse(ConvertOptions, argv, description=description, command="convert")
    if flags.out is None:
        raise InputError("--out is missing: give the file to write")
    checkpoint = read(flags.source, scale=flags.scale)
    if flags.out.suffix == ".safetensors":
        meta = _facts(flags.facts) if flags.facts else checkpoint.meta
        write_safetensors(flags.out, checkpoint.config, checkpoint.state, meta)
    elif checkpoint.official:
        save(flags.out, checkpoint)
    else:
        write_official(flags.out, checkpoint.config, checkpoint.state)
    log.info("wrote %s", flags.out)


def _facts(path: Path) -> dict[str, Any]:
    """What a JSON file says."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"--facts {path}: not a readable JSON file ({error})") from None
    if not isinstance(found, dict):
        raise InputError(f"--facts {path}: expected a JSON object, found a {type(found).__name__}")
    return found


COMMANDS = {"list": list_weights, "show": show, "download": download, "convert": convert}


if __name__ == "__main__":
    run(main)
