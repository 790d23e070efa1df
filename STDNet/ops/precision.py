"""Parts of a network that stay exact under autocast."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch


def without_autocast(device: torch.device) -> AbstractContextManager:
    """A context in which nothing is cast to half precision."""
    # Some versions of torch know no autocast on other devices, not even to switch it off.
    known = device.type in ("cpu", "cuda")
    return torch.autocast(device.type, enabled=False) if known else contextlib.nullcontext()
