"""Checkpoints: by name, path or address; read, write, and rename to and from the official form."""

from STDNet.checkpoint.download import checksum, fetch
from STDNet.checkpoint.official import from_official, official_names, to_official
from STDNet.checkpoint.store import (
    Checkpoint,
    build,
    build_colour,
    check_names,
    fill,
    load,
    of_model,
    read,
    save,
    write_official,
    write_safetensors,
)
from STDNet.checkpoint.table import WEIGHTS, Weights, locate, shipped

__all__ = [
    "WEIGHTS",
    "Checkpoint",
    "Weights",
    "build",
    "build_colour",
    "check_names",
    "checksum",
    "fetch",
    "fill",
    "from_official",
    "load",
    "locate",
    "of_model",
    "official_names",
    "read",
    "save",
    "shipped",
    "to_official",
    "write_official",
    "write_safetensors",
]
