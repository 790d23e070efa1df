"""Synthetic videos: endless, seeded RGB-D clips of cluttered rooms with exact depth, flow and poses."""

from __future__ import annotations

from STDNet.datasets.synthetic.plan import PLACES, compose
from STDNet.datasets.synthetic.rendering import Look, Renderer, SyntheticClip, render
from STDNet.datasets.synthetic.scene import SyntheticScene
from STDNet.datasets.synthetic.video import (
    TEST_SEED,
    TRAINING_SEED,
    VALIDATION_SEED,
    SyntheticVideo,
    synthetic_videos,
)
from STDNet.datasets.synthetic.writing import LAYOUTS, check_scales, layout_name, write

__all__ = [
    "LAYOUTS",
    "PLACES",
    "TEST_SEED",
    "TRAINING_SEED",
    "VALIDATION_SEED",
    "Look",
    "Renderer",
    "SyntheticClip",
    "SyntheticScene",
    "SyntheticVideo",
    "check_scales",
    "compose",
    "layout_name",
    "render",
    "synthetic_videos",
    "write",
]
