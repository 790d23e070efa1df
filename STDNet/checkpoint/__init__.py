"""Checkpoints: read, write, and rename to and from the official form."""

from STDNet.checkpoint.official import from_official, official_names, to_official
from STDNet.checkpoint.shipped import locate, shipped, write_safetensors
from STDNet.checkpoint.store import Checkpoint, build, check_names, fill, load, of_model, read, save, write_official

__all__ = [
    "Checkpoint",
    "build",
    "check_names",
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
