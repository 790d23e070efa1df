"""How fast are the back-ends of the deformable convolution? python benchmarks/deform_conv.py prints a markdown table.

The network's own use: two feature maps of C channels share one sampling; forward alone, and forward with backward.
"""

from __future__ import annotations

import torch
from timing import median_seconds, processor
from torch import Tensor

from STDNet.ops import available_backends, deform_conv2d

CASES = ((16, 11, 24), (64, 11, 32), (64, 4, 64))  # channels, frames, height = width of the grid
REPEATS = 5


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{processor()}, torch {torch.__version__}, fp32, median of {REPEATS}; in brackets: speed over torchvision\n")
    print("| channels, frames, grid | back-end | forward ms | forward + backward ms |\n|---|---|---|---|")
    for channels, frames, size in CASES:
        rows = measure(channels, frames, size, device)
        for backend, times in rows.items():
            ratios = [base / own for base, own in zip(rows["torchvision"], times, strict=True)]
            cells = [f"{1e3 * t:.1f} ({r:.1f}x)" for t, r in zip(times, ratios, strict=True)]
            print(f"| {channels}, {frames}, {size} x {size} | {backend} | {cells[0]} | {cells[1]} |")


def measure(channels: int, frames: int, size: int, device: torch.device) -> dict[str, tuple[float, float]]:
    """Back-end -> seconds of a forward, and of a forward with backward."""

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, device=device, requires_grad=True)

    x, offset = random(frames, 2 * channels, size, size), random(frames, 18, size, size)
    mask, weight = random(frames, 9, size, size), random(2 * channels, channels, 3, 3)

    def forward(backend: str) -> Tensor:
        return deform_conv2d(x, offset, mask, weight, None, backend)

    rows = {}
    for backend in available_backends():
        with torch.no_grad():
            alone = median_seconds(lambda b=backend: forward(b), device, REPEATS)
        rows[backend] = (alone, median_seconds(lambda b=backend: forward(b).sum().backward(), device, REPEATS))
    return rows


if __name__ == "__main__":
    main()
