"""Checkpoints: read, write, and rename to and from the official form."""

from STDNet.checkpoint.official import from_official, official_names, to_official
from STDNet.checkpoint.store import Checkpoint, check_names, fill, load, read, save, write_official

__all__ = [
    "Checkpoint",
    "check_names",
    "fill",
    "from_official",
    "load",
    "official_names",
    "read",
    "save",
    "to_official",
    "write_official",
]
