"""STDNet: depth video super-resolution (arXiv 2508.01259). The public door."""

from STDNet import checkpoint, losses, metrics, simulator
from STDNet.checkpoint import load
from STDNet.clip import Clip
from STDNet.errors import InputError
from STDNet.models import STDNet, STDNetConfig
from STDNet.streaming import stream
from STDNet.super_resolve import super_resolve
from STDNet.systems import build

__version__ = "0.1.0"
__all__ = [
    "Clip",
    "InputError",
    "STDNet",
    "STDNetConfig",
    "__version__",
    "build",
    "checkpoint",
    "load",
    "losses",
    "metrics",
    "simulator",
    "stream",
    "super_resolve",
]
