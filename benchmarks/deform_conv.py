"""How fast are the back-ends of the deformable convolution? python benchmarks/deform_conv.py prints markdown tables.

The network's own use: two feature maps of C channels share one sampling; forward alone, and forward with backward.
Every row says how far it is from the definition in fp64. --tune tries other tiles for the Triton kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from timing import full_precision, median_seconds, peak_memory, processor
from torch import Tensor

from STDNet.command_line import option, parse
from STDNet.ops import available_backends, deform_conv2d

TUNED = (
    (64, 64, 4, 2),
    (64, 64, 8, 2),
    (64, 64, 4, 1),
    (64, 64, 4, 3),
    (64, 32, 4, 2),
    (32, 64, 4, 2),
    (128, 64, 8, 1),
)


@dataclass(frozen=True)
class Options:
    """The flags."""

    device: str = option("cuda" if torch.cuda.is_available() else "cpu", "cpu or cuda")
    cases: tuple[str, ...] = option(
        ("16x11x24x24", "64x11x32x32", "64x4x64x64"), "channels x pairs of frames x height x width of the grid"
    )
    repeats: int = option(5, "timed runs after one to warm up; the median counts")
    tune: bool = option(False, "also a table of tile sizes of the Triton kernels, bf16")


class Inputs(NamedTuple):
    """What one call takes; `gradient` is that of its output."""

    x: Tensor
    offset: Tensor
    mask: Tensor
    weight: Tensor
    gradient: Tensor

    def to(self, dtype: torch.dtype, channels_last: bool) -> Inputs:
        """Leaves that want gradients; offsets and masks stay as exact as the network has them under autocast."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        x, gradient = (value.to(dtype).contiguous(memory_format=layout) for value in (self.x, self.gradient))
        others = (value.to(dtype) for value in (self.offset, self.mask, self.weight))
        return Inputs(*(value.detach().requires_grad_() for value in (x, *others)), gradient)


def main() -> None:
    options = parse(Options, description=__doc__ or "")
    device = torch.device(options.device)
    print(f"{processor(device)}, torch {torch.__version__}, median of {options.repeats}; in brackets: speed over")
    print("torchvision in fp32. Difference: norm of the error over the norm, of value / worst of the gradients.\n")
    with full_precision(tf32=False):
        tables(options, device)


def tables(options: Options, device: torch.device) -> None:
    """One table of back-ends, and where asked, tables of tiles."""
    print("| channels, pairs, grid | back-end | forward ms | forward + backward ms | difference | more memory, MiB |")
    print("|---|---|---|---|---|---|")
    for case in options.cases:
        channels, pairs, height, width = map(int, case.split("x"))
        base: tuple[float, ...] | None = None
        inputs = random(channels, pairs, height, width, device)
        exact = evaluate("plain", inputs.to(torch.float64, False))
        for label, backend, own in rows(inputs, device):
            times = seconds(backend, own, options, device)
            base = base or times
            cells = [f"{1e3 * t:.2f} ({b / t:.1f}x)" for t, b in zip(times, base, strict=True)]
            found = evaluate(backend, own)
            errors = "{:.0e} / {:.0e}".format(*(distance(found[part], exact[part]) for part in (slice(1), slice(1, 5))))
            memory = peak_memory(lambda b=backend, o=own: evaluate(b, o), device)
            shape = f"{channels}, {pairs}, {height} x {width}"
            print(f"| {shape} | {label} | {cells[0]} | {cells[1]} | {errors} | {memory} |", flush=True)
        if options.tune:
            tune(inputs.to(torch.bfloat16, True), options, device)


def random(channels: int, pairs: int, height: int, width: int, device: torch.device) -> Inputs:
    """Normal numbers; offsets of a cell and a half, as trained networks have them."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    weight = normal(2 * channels, channels, 3, 3) / (9 * channels) ** 0.5
    mask = torch.sigmoid(normal(pairs, 9, height, width))
    features = [normal(pairs, 2 * channels, height, width) for _ in range(2)]
    return Inputs(features[0], 1.5 * normal(pairs, 18, height, width), mask, weight, features[1])


def rows(inputs: Inputs, device: torch.device) -> Iterator[tuple[str, str, Inputs]]:
    """(label, back-end, inputs); torchvision in fp32 comes first."""
    names = available_backends(device)
    for name in ("torchvision", *(name for name in names if name != "torchvision")):
        yield f"{name}, fp32", name, inputs.to(torch.float32, False)
    for name in names if device.type == "cuda" else ("gather",):
        yield f"{name}, bf16", name, inputs.to(torch.bfloat16, False)
        yield f"{name}, bf16, channels_last", name, inputs.to(torch.bfloat16, True)


def evaluate(backend: str, inputs: Inputs) -> list[Tensor]:
    """Value and gradients."""
    out = deform_conv2d(*inputs[:4], None, backend)
    return [out.detach(), *torch.autograd.grad(out, inputs[:4], inputs.gradient)]


def seconds(backend: str, inputs: Inputs, options: Options, device: torch.device) -> tuple[float, float]:
    """Of a forward, and of a forward with backward."""
    with torch.no_grad():
        alone = median_seconds(lambda: deform_conv2d(*inputs[:4], None, backend), device, options.repeats)
    return alone, median_seconds(lambda: evaluate(backend, inputs), device, options.repeats)


def distance(found: list[Tensor], exact: list[Tensor]) -> float:
    """The largest relative error of several tensors, each as a whole."""
    return max(float((a.double() - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True))


def tune(inputs: Inputs, options: Options, device: torch.device) -> None:
    """One table: tiles of the Triton kernels in half precision."""
    if "triton" not in available_backends(device):
        print("\n--tune: the Triton back-end does not run here\n")
        return
    from STDNet.ops import triton_deform_conv as module

    print("\n| pixels, channels, warps, stages | forward ms | forward + backward ms |\n|---|---|---|")
    before = dict(module.TILES)
    for tiles in TUNED:
        module.TILES[2] = module.Tiles(*tiles)
        try:
            cells = [f"{1e3 * t:.2f}" for t in seconds("triton", inputs, options, device)]
        except Exception as error:  # what does not fit into shared memory is a type of Triton's own
            cells = [f"{type(error).__name__}", ""]
        print(f"| {', '.join(map(str, tiles))} | {' | '.join(cells)} |", flush=True)
    module.TILES.update(before)
    print()


if __name__ == "__main__":
    main()
