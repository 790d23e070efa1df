"""STDNet: depth video super-resolution (arXiv 2508.01259). The public door."""

from STDNet.errors import InputError
from STDNet.models import STDNet, STDNetConfig

__version__ = "0.1.0"
__all__ = ["InputError", "STDNet", "STDNetConfig", "__version__"]
