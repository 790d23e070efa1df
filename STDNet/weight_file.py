"""Weights as a safetensors file whose header says what they are: the network's configuration, and facts about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from STDNet.errors import InputError
from STDNet.files import atomic_write

SUFFIX = ".safetensors"
FILE = f"model{SUFFIX}"  # the name of such a file in a folder of the Hugging Face hub


def write_weights(
    path: Path | str, config: Mapping[str, Any], state: Mapping[str, Tensor], meta: Mapping[str, Any]
) -> None:
    """Write tensors as they are, with configuration and facts in the header, atomically.

    Args:
        path: The file.
        config: Arguments of `STDNetConfig`.
        state: The weights by name.
        meta: Facts, such as `max_depth_m`; what JSON does not know is written as text.
    """
    header = {"format": "pt", "config": json.dumps(dict(config)), "meta": json.dumps(dict(meta), default=str)}
    content = save({name: value.contiguous() for name, value in state.items()}, metadata=header)
    with atomic_write(path) as file:
        file.write(content)


def read_weights(path: Path | str) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """Configuration, weights and facts of such a file.

    Raises:
        InputError: The file is damaged or of another kind.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config, meta = json.loads(header["config"]), json.loads(header["meta"])
        if not isinstance(config, dict) or not isinstance(meta, dict):
            raise TypeError("the header's config and meta are not objects")
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not weights of this project ({type(error).__name__}: {error})") from None
    return config, state, meta
