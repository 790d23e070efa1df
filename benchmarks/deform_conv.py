"""How fast are the back-ends of the deformable convolution? python benchmarks/deform_conv.py prints a markdown table.

The network's own use: two feature maps of C channels share one sampling; forward alone, and forward with backward.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from STDNet.ops import available_backends, deform_conv2d

CASES = ((16, 11, 24), (64, 4, 64), (64, 2, 120))  # channels, frames, height = width of the grid
REPEATS = 5


def median_seconds(function: Callable[[], object], device: torch.device) -> float:
    """Median of REPEATS calls after one to warm up."""
    times = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def processor() -> str:
    """The machine's name for the table."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{processor()}, torch {torch.__version__}, fp32, median of {REPEATS}; in brackets: speed over torchvision\n")
    print("| channels, frames, grid | back-end | forward ms | forward + backward ms |\n|---|---|---|---|")
    for channels, frames, size in CASES:
        x = torch.rand(frames, 2 * channels, size, size, device=device, requires_grad=True)
        offset = torch.randn(frames, 18, size, size, device=device, requires_grad=True)
        mask = torch.rand(frames, 9, size, size, device=device, requires_grad=True)
        weight = torch.rand(2 * channels, channels, 3, 3, device=device, requires_grad=True)
        rows = {}
        for backend in available_backends():

            def both(backend: str = backend) -> None:
                deform_conv2d(x, offset, mask, weight, None, backend).sum().backward()

            with torch.no_grad():
                forward = median_seconds(lambda b=backend: deform_conv2d(x, offset, mask, weight, None, b), device)
            rows[backend] = (forward, median_seconds(both, device))
        for backend, (forward, total) in rows.items():
            ratios = [base / own for base, own in zip(rows["torchvision"], (forward, total), strict=True)]
            cells = [f"{1e3 * t:.1f} ({r:.1f}x)" for t, r in zip((forward, total), ratios, strict=True)]
            print(f"| {channels}, {frames}, {size} x {size} | {backend} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main()
