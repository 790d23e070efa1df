"""Depth super-resolution of recordings: phones, TUM RGB-D, folders of your own; from files to files."""

from __future__ import annotations

from STDNet.super_resolve.config import SuperResolveConfig
from STDNet.super_resolve.formats import FORMATS, open_capture
from STDNet.super_resolve.run import super_resolve

__all__ = ["FORMATS", "SuperResolveConfig", "open_capture", "super_resolve"]
