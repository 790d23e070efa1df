"""Synthetic videos: endless, seeded RGB-D clips of cluttered rooms with exact depth, flow and poses."""

from __future__ import annotations

from STDNet.datasets.synthetic.plan import PLACES, compose
from STDNet.datasets.synthetic.rendering import Look, Renderer, SyntheticClip, render
from STDNet.datasets.synthetic.scene import SyntheticScene
from STDNet.datasets.synthetic.writing import LAYOUTS, check_scales, layout_name, write

__all__ = [
    "LAYOUTS",
    "PLACES",
    "Look",
    "Renderer",
    "SyntheticClip",
    "SyntheticScene",
    "check_scales",
    "compose",
    "layout_name",
    "render",
    "write",
]
