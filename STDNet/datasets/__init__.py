"""Data sets: index files, sequences on disk as clips in metres, and training samples."""

from __future__ import annotations

from STDNet.datasets.crops import ClipDataset
from STDNet.datasets.index import Entry, read_index
from STDNet.datasets.layout import Box, Frame, SensorRange
from STDNet.datasets.video import Video, videos

__all__ = ["Box", "ClipDataset", "Entry", "Frame", "SensorRange", "Video", "read_index", "videos"]
