"""The long-tail statistics that motivate the paper: where in space and time the error of upsampled depth lies."""

from __future__ import annotations

from STDNet.statistics.long_tail import (
    DISTANCES,
    QUANTITIES,
    Bins,
    Distribution,
    Estimates,
    LongTail,
    changing,
    long_tail,
)
from STDNet.statistics.report import figure, from_json, table, to_json

__all__ = [
    "DISTANCES",
    "QUANTITIES",
    "Bins",
    "Distribution",
    "Estimates",
    "LongTail",
    "changing",
    "figure",
    "from_json",
    "long_tail",
    "table",
    "to_json",
]
