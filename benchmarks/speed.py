"""How fast is the network? python benchmarks/speed.py prints markdown tables; --help lists the flags.

The baseline is a plain formulation, equal in output: frame by frame, neighbour by neighbour, depth and RGB aligned one
after the other by torchvision's kernel, per-pixel filtering by unfolding. Every row is measured in the same run.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from timing import median_seconds, now, processor
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from STDNet import STDNet, STDNetConfig
from STDNet.command_line import keep_freed_memory, option, parse
from STDNet.models.layers import LEAK
from STDNet.models.reconstruction import blend
from STDNet.models.spatial_difference import spatial_difference
from STDNet.models.stdnet import Stage
from STDNet.models.temporal_difference import TemporalDifference
from STDNet.ops import deform_conv2d


@dataclass(frozen=True)
class Options:
    """The flags."""

    sizes: tuple[str, ...] = option(("256x256", "480x640"), "height x width of the frames")
    frames: int = option(8, "frames of the clip")
    channels: int = option(64, "width of the network")
    scale: int = option(4, "RGB pixels per depth pixel")
    repeats: int = option(3, "timed runs after one to warm up; the median counts")
    compile: bool = option(False, "also torch.compile (takes minutes)")
    device: str = option("cuda" if torch.cuda.is_available() else "cpu", "cpu or cuda")


def main() -> None:
    options = parse(Options, description=__doc__ or "")
    device = torch.device(options.device)
    print(f"{processor()}, torch {torch.__version__}, {options.channels} channels, {options.frames} frames")
    for size in options.sizes:
        height, width = map(int, size.split("x"))
        print(f"\n### {height} x {width}, x{options.scale}\n")
        measure(options, height, width, device)


def measure(options: Options, height: int, width: int, device: torch.device) -> None:
    """One table of speeds, one of parts."""
    torch.manual_seed(0)
    net = STDNet(STDNetConfig(options.scale, options.channels)).to(device).eval()
    for value in net.parameters():
        value.data.add_(0.01 * torch.randn_like(value))
    s, t = options.scale, options.frames
    lr = 0.3 + 0.02 * torch.rand(1, t, 1, height // s, width // s, device=device)
    rgb = torch.rand(1, t, 3, height, width, device=device)
    flops = count_flops(net, lr, rgb) / t
    print("| formulation | ms a frame | frames/s | over baseline | largest difference / std | TFLOP/s | of conv2d's |")
    print("|---|---|---|---|---|---|---|")
    runs: list[tuple[str, Callable[[], Tensor], str]] = [
        ("frame by frame (baseline), fp32", lambda: frame_by_frame(net, lr, rgb), "none"),
        ("STDNet, fp32", lambda: net(lr, rgb).depth, "none"),
        ("STDNet, fp32, freed memory kept", lambda: net(lr, rgb).depth, "none"),
        ("STDNet, bf16 autocast", lambda: net(lr, rgb).depth, "bf16"),
    ]
    if options.compile:
        compiled = torch.compile(net)
        runs.append(("STDNet, fp32, compiled", lambda: compiled(lr, rgb).depth, "none"))
    with torch.inference_mode():
        ceilings = {
            amp: ceiling(height // 4, width // 4, 3 * options.channels, device, amp) for amp in ("none", "bf16")
        }
        exact: Tensor | None = None
        base = 0.0
        for label, run, amp in runs:
            if "kept" in label:
                keep_freed_memory()
            with autocast(device, amp):
                found = run()
                seconds = median_seconds(run, device, options.repeats) / t
            exact = found if exact is None else exact
            base = base or seconds
            difference = float((found - exact).abs().max() / exact.std())
            rate = flops / seconds
            cells = [f"{1e3 * seconds:.1f}", f"{1 / seconds:.2f}", f"{base / seconds:.2f}x", f"{difference:.1e}"]
            print(f"| {label} | {' | '.join(cells)} | {rate / 1e12:.3f} | {rate / ceilings[amp]:.0%} |", flush=True)
        print(
            f"\n{flops / 1e12:.3f} TFLOP a frame (1 MAC = 2 FLOP, deformable convolutions included); {memory(device)}\n"
        )
        parts(net, lr, rgb, device)


def frame_by_frame(net: STDNet, lr: Tensor, rgb: Tensor) -> Tensor:
    """The plain formulation; [1, T, 1, H, W]."""
    grid = net.to_grid(lr)[0]
    guides, previous = list(rgb[0]), [None] * len(grid)
    stages = []
    for stage in net.stages:
        depth, confidence, previous = plain_stage(stage, guides, grid, previous)
        stages.append((depth, confidence))
        guides = [torch.cat(pair) for pair in zip(depth, confidence, strict=True)]
    depths, confidences = zip(*((torch.stack(d), torch.stack(c)) for d, c in stages), strict=True)
    return blend(list(depths), list(confidences))[0][None]


def plain_stage(stage: Stage, guides: list, grid: Tensor, previous: list) -> tuple[list, list, list]:
    """One stage; lists have one entry a frame."""
    encoded = [plain_encode(stage, g[None], d[None], p) for g, d, p in zip(guides, grid, previous, strict=True)]
    spatial = [e[0] for e in encoded]
    levels = [spatial]
    for name, fusion in stage.passes.items():
        step = 1 if name.startswith("backward") else -1
        source, made = levels[-1], []
        for t, current in enumerate(source):
            fused = [
                plain_fusion(fusion, current, source[u], encoded[u][1], encoded[t][2], (spatial[t] - spatial[u]).abs())
                for u in (t + step, t + 2 * step)
                if 0 <= u < len(source)
            ]
            made.append(sum(fused[1:], fused[0]) if fused else current)
        levels.append(made)
    out = [stage.reconstruction([level[t] for level in levels], grid[t][None]) for t in range(len(spatial))]
    return [o[1][0] for o in out], [o[2][0] for o in out], [o[0] for o in out]


def plain_encode(stage: Stage, guide: Tensor, grid: Tensor, previous: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """S, the RGB feature and w of one frame; the per-pixel filters act on an unfolded feature."""
    rgb, depth = stage.guide_encoder(guide), stage.depth_encoder(grid)
    branch = stage.spatial_difference
    sigma = spatial_difference(depth)
    kernels = branch.kernel_generator(branch.difference_conv(sigma))
    weight = torch.sigmoid(branch.weight_conv(torch.cat((sigma.mean(1, keepdim=True), sigma.amax(1, keepdim=True)), 1)))
    patches = F.unfold(rgb, 3, padding=1).reshape(kernels.shape)
    guided = weight * rgb + branch.beta * (patches * kernels).sum(2)
    fused = branch.fusion_conv(branch.fusion(torch.cat((depth, guided), 1)))
    return stage.features(fused if previous is None else torch.cat((fused, previous), 1)), rgb, weight


def plain_fusion(
    fusion: TemporalDifference, current: Tensor, depth: Tensor, rgb: Tensor, weight: Tensor, difference: Tensor
) -> Tensor:
    """One neighbour into one frame."""
    offset, mask = fusion.offsets(current, difference)
    weights = fusion.align_weight, fusion.align_bias
    aligned = fusion.aligned_conv(F.leaky_relu(deform_conv2d(depth, offset, mask, *weights, "torchvision"), LEAK))
    guide = deform_conv2d(rgb, offset, mask, *weights, "torchvision") * weight
    return fusion.fusion_conv(fusion.fusion(torch.cat((current, aligned, guide), 1)))


def count_flops(net: STDNet, lr: Tensor, rgb: Tensor) -> float:
    """FLOP of the network on a clip; the deformable convolutions are added by formula."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        frame_by_frame(net, lr, rgb)
    frames, channels = lr.shape[1], net.config.channels
    cells = (rgb.shape[-2] // 4) * (rgb.shape[-1] // 4)
    calls = 2 * 4 * (max(0, frames - 1) + max(0, frames - 2))
    counted = counter.get_flop_counts()["Global"]
    plain = sum(value for name, value in counted.items() if "deform" not in str(name))
    return plain + calls * 2 * 2 * 9 * channels * channels * cells


def ceiling(height: int, width: int, channels: int, device: torch.device, amp: str) -> float:
    """FLOP/s of a large 3x3 convolution here."""
    conv = nn.Conv2d(channels, channels, 3, padding=1).to(device)
    x = torch.randn(8, channels, height, width, device=device)
    with autocast(device, amp):
        seconds = median_seconds(lambda: conv(x), device, 5)
    return 2 * 9 * channels * channels * x.numel() / channels / seconds


def parts(net: STDNet, lr: Tensor, rgb: Tensor, device: torch.device) -> None:
    """Seconds by part, by hooks."""
    spent: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        for stage in net.stages:
            for label, modules in {
                "encoders": [stage.guide_encoder, stage.depth_encoder],
                "spatial difference": [stage.spatial_difference],
                "features after it": [stage.features],
                "temporal: residual groups": [fusion.fusion for fusion in stage.passes.values()],
                "temporal: all": list(stage.passes.values()),
                "reconstruction": [stage.reconstruction],
            }.items():
                for module in modules:
                    stack.enter_context(timed(module, label, spent, device))
        started = now(device)
        net(lr, rgb)
        total = now(device) - started
    print("| part | share of the time |\n|---|---|")
    for label, seconds in spent.items():
        print(f"| {label} | {seconds / total:.0%} |")


@contextlib.contextmanager
def timed(module: nn.Module, label: str, spent: dict[str, float], device: torch.device) -> Iterator[None]:
    """Add a module's time to `spent`."""
    started: list[float] = []
    before = module.register_forward_pre_hook(lambda *_: started.append(now(device)))

    def stop(*_: object) -> None:
        spent[label] = spent.get(label, 0.0) + now(device) - started.pop()

    after = module.register_forward_hook(stop)
    yield
    before.remove()
    after.remove()


def autocast(device: torch.device, amp: str) -> contextlib.AbstractContextManager:
    return torch.autocast(device.type, torch.bfloat16) if amp == "bf16" else contextlib.nullcontext()


def memory(device: torch.device) -> str:
    """Peak memory of the process so far."""
    if device.type == "cuda":
        return f"peak memory {torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB"
    return f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB"


if __name__ == "__main__":
    main()
