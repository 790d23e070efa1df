"""The dToF sensor: RGB and HR depth in, a histogram for every LR pixel, LR depth out."""

from __future__ import annotations

from STDNet.simulator.sensor import SensorEffects, simulate

__all__ = ["SensorEffects", "simulate"]
