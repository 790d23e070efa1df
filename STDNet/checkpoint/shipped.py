"""Weights that ship with the package, as safetensors: half precision, with a header that says what they are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from STDNet.errors import InputError
from STDNet.files import atomic_write
from STDNet.systems import SystemConfig, from_plain

FOLDER = Path(__file__).resolve().parents[1] / "weights"
SUFFIX = ".safetensors"


def shipped() -> list[str]:
    """The names that `STDNet.load` and --model_dir take besides files, such as "stdnet-s-x4"."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def locate(name_or_path: Path | str) -> Path:
    """The file of a shipped name; anything else is a path already."""
    name = str(name_or_path)
    return FOLDER / f"{name}{SUFFIX}" if name in shipped() else Path(name_or_path)


def write_safetensors(
    path: Path | str, config: SystemConfig, state: Mapping[str, Tensor], meta: Mapping[str, Any]
) -> None:
    """Write the network without its training heads in fp16, with configuration and facts in the header."""
    halves = {name: value.half().contiguous() for name, value in state.items() if not name.startswith("heads.")}
    header = {"config": json.dumps(dataclasses.asdict(config)), "meta": json.dumps(dict(meta), default=str)}
    content = serialise(halves, metadata=header)
    with atomic_write(path) as file:
        file.write(content)


def read_safetensors(path: Path) -> tuple[SystemConfig, dict[str, Tensor], dict[str, Any]]:
    """Configuration, weights in fp32, and facts of such a file.

    Raises:
        InputError: The file is damaged or of another kind.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name).to(torch.float32) for name in file.keys()}  # noqa: SIM118
        return from_plain(json.loads(header["config"])), state, json.loads(header["meta"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not weights of this project ({type(error).__name__}: {error})") from None
