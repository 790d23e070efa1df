"""Pictures, films and figures of depth: colour maps, error maps, x-t slices, charts, what the network sees."""

from __future__ import annotations

from STDNet.visualize.maps import (
    ERROR_M,
    MAGMA_NEAR_BRIGHT,
    UNKNOWN,
    VIRIDIS,
    Panel,
    check_picture_path,
    colour,
    depth_range,
    picture,
    stack,
    strip,
    unknown_as_nan,
    write_picture,
)
from STDNet.visualize.sheets import View, busiest_row, comparison, frame_strip, over_time, slices, worst_views, zoomed
from STDNet.visualize.video import film

__all__ = [
    "ERROR_M",
    "MAGMA_NEAR_BRIGHT",
    "UNKNOWN",
    "VIRIDIS",
    "Panel",
    "View",
    "busiest_row",
    "check_picture_path",
    "colour",
    "comparison",
    "depth_range",
    "film",
    "frame_strip",
    "over_time",
    "picture",
    "slices",
    "stack",
    "strip",
    "unknown_as_nan",
    "worst_views",
    "write_picture",
    "zoomed",
]
