"""What the benchmarks share: the machine's name and the median time of a call."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch


def now(device: torch.device) -> float:
    """Seconds, when all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def median_seconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median of `repeats` calls after one to warm up."""
    run()
    times = []
    for _ in range(repeats):
        started = now(device)
        run()
        times.append(now(device) - started)
    return statistics.median(times)


def processor() -> str:
    """The machine's name for the table."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"
