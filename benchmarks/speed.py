"""How fast is STDNet? python benchmarks/speed.py prints markdown tables; --help lists the flags.

(The other systems' speed is in the table of costs of benchmarks/compare.py.)

The baseline is a plain formulation, equal in output: frame by frame, neighbour by neighbour, depth and RGB aligned one
after the other by torchvision's kernel, per-pixel filtering by unfolding. Every row is measured in the same run, fp32
without TF32. The floor is the counted FLOP at the rate of a large bf16 matrix product.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from timing import full_precision, matrix_rate, median_seconds, now, peak_memory, processor
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
from STDNet.ops import available_backends, deform_conv2d


@dataclass(frozen=True)
class Options:
    """The flags."""

    sizes: tuple[str, ...] = option(("256x256", "480x640"), "height x width of the frames")
    frames: int = option(8, "frames of the clip")
    channels: int = option(64, "width of the network")
    scale: int = option(4, "RGB pixels per depth pixel")
    repeats: int = option(3, "timed runs after one to warm up; the median counts")
    compile: bool = option(torch.cuda.is_available(), "also torch.compile (takes minutes on a CPU)")
    device: str = option("cuda" if torch.cuda.is_available() else "cpu", "cpu or cuda")


@dataclass(frozen=True)
class Variant:
    """One row: how the network, or the plain formulation, is run."""

    label: str
    plain: bool = False
    amp: str = "none"
    tf32: bool = False
    channels_last: bool = False
    backend: str = "auto"
    compile: bool = False
    graph: bool = False
    keep_memory: bool = False


def variants(options: Options, device: torch.device) -> list[Variant]:
    """The rows of the table; the baseline comes first."""
    rows = [Variant("frame by frame (baseline), fp32", plain=True), Variant("STDNet, fp32")]
    if device.type == "cpu":
        kept = Variant("STDNet, fp32, freed memory kept", keep_memory=True)
        rows += [kept, replace(kept, label=f"{kept.label}, channels_last", channels_last=True)]
    else:
        rows.append(Variant("STDNet, TF32", tf32=True))
    rows.append(Variant("STDNet, bf16 autocast", amp="bf16"))
    rows.append(Variant("STDNet, bf16, channels_last", amp="bf16", channels_last=True))
    backends = ("auto", "triton") if "triton" in available_backends(device) else ("auto",)
    for backend in backends:
        best = Variant(f"STDNet, bf16, channels_last, {backend}", amp="bf16", channels_last=True, backend=backend)
        if backend != "auto":
            rows.append(best)
        if options.compile:
            rows.append(replace(best, label=f"{best.label}, compiled", compile=True))
        if device.type == "cuda":
            rows.append(replace(best, label=f"{best.label}, CUDA graph", graph=True))
            if options.compile:
                rows.append(replace(best, label=f"{best.label}, compiled, CUDA graph", compile=True, graph=True))
    return rows


def main() -> None:
    options = parse(Options, description=__doc__ or "")
    device = torch.device(options.device)
    print(f"{processor(device)}, torch {torch.__version__}, {options.channels} channels, {options.frames} frames")
    for size in options.sizes:
        height, width = map(int, size.split("x"))
        print(f"\n### {height} x {width}, x{options.scale}\n")
        with full_precision(tf32=False), torch.inference_mode():
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
    rate = matrix_rate(device, torch.bfloat16)
    print("| formulation | ms a frame | frames/s | over baseline | largest difference / std | TFLOP/s | ", end="")
    print("of conv2d's | over the floor | MiB |\n|---|---|---|---|---|---|---|---|---|")
    exact: Tensor | None = None
    base = 0.0
    for variant in variants(options, device):
        try:
            found, seconds, memory = timed_run(net, lr, rgb, variant, options.repeats)
        except Exception as error:  # one formulation that fails here shall not cost the rest of the table
            print(f"| {variant.label} | {type(error).__name__}: {str(error).splitlines()[:1]} |" + " |" * 7, flush=True)
            continue
        seconds /= t
        exact = found if exact is None else exact
        base = base or seconds
        with full_precision(variant.tf32):
            conv = ceiling(height // 4, width // 4, 3 * options.channels, device, variant)
        cells = [
            f"{1e3 * seconds:.1f}",
            f"{1 / seconds:.2f}",
            f"{base / seconds:.2f}x",
            f"{float((found - exact).abs().max() / exact.std()):.1e}",
            f"{flops / seconds / 1e12:.3f}",
            f"{flops / seconds / conv:.0%}",
            f"{seconds * rate / flops:.1f}x",
            memory,
        ]
        print(f"| {variant.label} | {' | '.join(cells)} |", flush=True)
    print(
        f"\n{flops / 1e12:.3f} TFLOP a frame (1 MAC = 2 FLOP, deformable convolutions included). A large bf16 matrix "
        f"product runs at {rate / 1e12:.2f} TFLOP/s here: the floor is {1e3 * flops / rate:.2f} ms a frame.\n"
    )
    parts(net, lr, rgb, device)


def timed_run(net: STDNet, lr: Tensor, rgb: Tensor, variant: Variant, repeats: int) -> tuple[Tensor, float, str]:
    """Depth, seconds of a clip, and memory of one row."""
    if variant.keep_memory:
        keep_freed_memory()
    own = copy.deepcopy(net)
    if variant.channels_last:
        own = own.to(memory_format=torch.channels_last)
    for module in own.modules():
        if isinstance(module, TemporalDifference):
            module.deform_backend = variant.backend
    if variant.compile:
        torch._dynamo.reset()
    called = torch.compile(own) if variant.compile else own

    def run() -> Tensor:
        with autocast(lr.device, variant.amp):
            return frame_by_frame(own, lr, rgb) if variant.plain else called(lr, rgb).depth

    with full_precision(variant.tf32):
        made = captured(run) if variant.graph else run
        found = made().clone()
        # The memory of a graph is its own and does not show in a replay.
        memory = "" if variant.graph else peak_memory(made, lr.device)
        return found, median_seconds(made, lr.device, repeats), memory


def captured(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The call as a CUDA graph: all kernels of a clip in one launch."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = run()

    def replay() -> Tensor:
        graph.replay()
        return out

    return replay


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


def ceiling(height: int, width: int, channels: int, device: torch.device, variant: Variant) -> float:
    """FLOP/s of a large 3x3 convolution here, in the row's precision and layout."""
    layout = torch.channels_last if variant.channels_last else torch.contiguous_format
    conv = nn.Conv2d(channels, channels, 3, padding=1).to(device, memory_format=layout)
    x = torch.randn(8, channels, height, width, device=device).contiguous(memory_format=layout)
    with autocast(device, variant.amp):
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
    # A CUDA graph must not depend on casts that were cached outside of it.
    cached = device.type != "cuda"
    dtype = torch.bfloat16
    return torch.autocast(device.type, dtype, cache_enabled=cached) if amp == "bf16" else contextlib.nullcontext()


if __name__ == "__main__":
    main()
