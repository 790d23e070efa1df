"""Describe or convert a checkpoint: python -m STDNet.checkpoint --help."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from STDNet.checkpoint import read, save, write_official, write_safetensors
from STDNet.command_line import option, parse, run
from STDNet.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """The flags."""

    show: Path | None = option(None, "describe this checkpoint and stop")
    convert: Path | None = option(
        None, "read this checkpoint: ours becomes official, official becomes ours; to --out *.safetensors, ours in fp16"
    )
    out: Path | None = option(None, "where to write the converted file")
    facts: Path | None = option(None, "JSON file with what the header of a *.safetensors file shall say, instead")
    scale: int | None = option(None, "scale of official weights, which do not say it")


def main(argv: list[str] | None = None) -> None:
    """Describe or convert a checkpoint: `python -m STDNet.checkpoint --help`."""
    flags = parse(Options, argv, description="Describe a checkpoint, or convert to and from the official .pth form.")
    source = flags.show or flags.convert
    if source is None or (flags.convert and not flags.out):
        raise InputError("give --show FILE, or --convert FILE --out FILE")
    checkpoint = read(source, scale=flags.scale)
    if flags.show:
        count = sum(value.numel() for value in checkpoint.state.values())
        print(f"{source}: scale {checkpoint.config.scale}, {checkpoint.config.channels} channels, {count:,} numbers")
        for key, value in checkpoint.meta.items():
            print(f"  {key}: {value}")
        return
    assert flags.out is not None
    if flags.out.suffix == ".safetensors":
        meta = _facts(flags.facts) if flags.facts else checkpoint.meta
        write_safetensors(flags.out, checkpoint.config, checkpoint.state, meta)
    elif checkpoint.official:
        save(flags.out, checkpoint)
    else:
        write_official(flags.out, checkpoint.state)
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


if __name__ == "__main__":
    run(main)
