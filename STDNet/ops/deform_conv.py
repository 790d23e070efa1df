"""Modulated deformable convolution (Zhu et al., "Deformable ConvNets v2", CVPR 2019), stride 1, same size out as in.

Five back-ends with one signature. `plain` is the definition, in a few lines of PyTorch that run on any device and in
any floating-point type; the others are faster and are tested against it in value and gradient.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from STDNet.ops.precision import without_autocast


def deform_conv2d(
    x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None = None, backend: str = "auto"
) -> Tensor:
    """Convolve `x` where every tap of the kernel samples at its own, fractional position.

    At pixel p, tap k with grid position p_k contributes weight_k * x(p + p_k + offset_k) * mask_k, sampled bilinearly,
    zero outside the image.

    Args:
        x: [N, G * C, H, W] features. G convolution groups share offsets and masks (G = 2: depth and RGB feature).
        offset: [N, 2 * D * K, H, W] for K = kernel height * width taps and D offset groups, in pixels; for each group
            and tap first dy, then dx (torchvision's order).
        mask: [N, D * K, H, W], usually after a sigmoid; None means 1 (version 1 of the operator).
        weight: [O, C, kernel height, kernel width], odd kernel sizes.
        bias: [O] or None.
        backend: "auto" or a name in `BACKENDS`. auto takes what `AUTO` names: torchvision on CPU and CUDA, on a CPU
            without gradients gather, which is faster; plain elsewhere. (Gradients of bilinear sampling jump at whole
            positions; one rounding more or less changes a network's by 1e-3. With torchvision they are the official
            ones.)

    Returns:
        [N, O, H, W] in the type and the memory format of `x`. Under autocast nothing inside is cast: the
        sampling positions stay in fp32.

    Raises:
        ValueError: Shapes that do not belong together, or a backend that is unknown or not installed.
    """
    _check(x, offset, mask, weight)
    if backend == "auto":
        backend = AUTO.get((x.device.type, torch.is_grad_enabled()), "plain")
    if backend not in BACKENDS:
        raise ValueError(f"deform_conv2d: unknown backend {backend!r}, choose auto or one of {', '.join(BACKENDS)}")
    with without_autocast(x.device):
        out = BACKENDS[backend](x, offset, mask, weight, bias)
    channels_last = not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return out.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def available_backends(device: torch.device | str = "cpu") -> list[str]:
    """The names of the back-ends that can run on `device`; triton on a CPU in its interpreter alone."""
    runs = {"mmcv": _mmcv_operator() is not None, "triton": _triton_runs(torch.device(device))}
    return [name for name in BACKENDS if runs.get(name, True)]


def _check(x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor) -> None:
    """Refuse shapes that do not belong together."""
    taps = weight.shape[2] * weight.shape[3]
    n, channels, height, width = x.shape
    problems = []
    if channels % weight.shape[1] or weight.shape[0] % (channels // weight.shape[1] or 1):
        problems.append(f"x has {channels} channels and weight is {tuple(weight.shape)}")
    if weight.shape[2] % 2 == 0 or weight.shape[3] % 2 == 0:
        problems.append(f"kernel sizes must be odd, weight is {tuple(weight.shape)}")
    groups = offset.shape[1] // (2 * taps)
    if groups < 1 or tuple(offset.shape) != (n, 2 * groups * taps, height, width) or channels % groups:
        problems.append(f"offset is {tuple(offset.shape)}, expected [{n}, 2 * groups * {taps}, {height}, {width}]")
    elif mask is not None and tuple(mask.shape) != (n, groups * taps, height, width):
        problems.append(f"mask is {tuple(mask.shape)}, expected [{n}, {groups * taps}, {height}, {width}]")
    if problems:
        raise ValueError("deform_conv2d: " + "; ".join(problems))


def _plain(x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The definition: sample every tap bilinearly, scale by the mask, multiply with the kernel."""
    n, channels, height, width = x.shape
    out_channels, in_channels, kernel_height, kernel_width = weight.shape
    taps = kernel_height * kernel_width
    offset_groups = offset.shape[1] // (2 * taps)
    per_group = channels // offset_groups
    flat = x.reshape(n, offset_groups, per_group, height * width)
    sampled = x.new_zeros(())
    for index, share in _corners(offset, weight):
        index = index.reshape(n, offset_groups, 1, -1).expand(-1, -1, per_group, -1)
        corner = flat.gather(3, index).reshape(n, offset_groups, per_group, taps, height, width)
        sampled = sampled + corner * share.to(x.dtype).unsqueeze(2)
    if mask is not None:
        sampled = sampled * mask.to(x.dtype).reshape(n, offset_groups, 1, taps, height, width)

    groups = channels // in_channels
    columns = sampled.reshape(n, groups, in_channels * taps, height * width)
    kernel = weight.to(x.dtype).reshape(1, groups, out_channels // groups, in_channels * taps)
    out = _product(kernel, columns).reshape(n, out_channels, height, width)
    return out if bias is None else out + bias.to(x.dtype).reshape(1, -1, 1, 1)


def _corners(offset: Tensor, weight: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The four pixels around every sampling position, and their bilinear shares (0 outside the image).

    Yields:
        Index y * W + x and share, each [N, D, K, H, W]. Positions are fp32 or better: at column 100 the step of bf16 is
        half a pixel.
    """
    n, _, height, width = offset.shape
    kernel_height, kernel_width = weight.shape[2:]
    taps = kernel_height * kernel_width
    exact = torch.promote_types(offset.dtype, torch.float32)
    offset = offset.to(exact).reshape(n, -1, taps, 2, height, width)

    def axis(size: int, *shape: int) -> Tensor:
        return torch.arange(size, device=offset.device, dtype=exact).reshape(shape)

    tap = axis(taps, taps, 1, 1)
    y = axis(height, height, 1) + tap.div(kernel_width, rounding_mode="floor") - kernel_height // 2 + offset[:, :, :, 0]
    x = axis(width, 1, width) + tap.remainder(kernel_width) - kernel_width // 2 + offset[:, :, :, 1]
    top, left = y.floor(), x.floor()
    for corner_y, share_y in ((top, top + 1 - y), (top + 1, y - top)):
        for corner_x, share_x in ((left, left + 1 - x), (left + 1, x - left)):
            inside = (corner_y >= 0) & (corner_y < height) & (corner_x >= 0) & (corner_x < width)
            # Outside (or NaN, in a training that diverged) any index will do: the share is 0 (or NaN).
            row, column = torch.where(inside, corner_y, 0).long(), torch.where(inside, corner_x, 0).long()
            yield row * width + column, share_y * share_x * inside


def _gather(x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Pixels as rows: every sample is a bag of four rows, weighted and summed by one fused call.

    On a CPU this is several times faster than torchvision's kernel, and ten times in the backward pass.
    """
    n, channels, height, width = x.shape
    out_channels, in_channels, kernel_height, kernel_width = weight.shape
    taps = kernel_height * kernel_width
    offset_groups, groups = offset.shape[1] // (2 * taps), channels // in_channels
    indices, shares = zip(*_corners(offset, weight), strict=True)
    image = torch.arange(n, device=x.device).reshape(n, 1, 1, 1, 1, 1) * (height * width)
    # Bags in the order offset group, image, row, column, tap.
    bags = (torch.stack(indices, -1) + image).permute(1, 0, 3, 4, 2, 5).reshape(offset_groups, -1, 4)
    share = torch.stack(shares, -1)
    if mask is not None:
        share = share * mask.to(share.dtype).reshape(n, offset_groups, taps, height, width, 1)
    share = share.to(x.dtype).permute(1, 0, 3, 4, 2, 5).reshape(offset_groups, -1, 4)

    # A block is a run of channels that has one offset group and one convolution group.
    blocks = math.lcm(offset_groups, groups)
    size, share_out = channels // blocks, out_channels // groups
    rows = x.permute(0, 2, 3, 1).reshape(-1, blocks, size)
    kernel = weight.to(x.dtype).reshape(groups, share_out, blocks // groups, size, taps)
    kernel = kernel.permute(0, 2, 4, 3, 1).reshape(blocks, taps * size, share_out)
    made: list[Tensor] = []  # one a convolution group
    for block in range(blocks):
        offset_group = block * offset_groups // blocks
        sampled = F.embedding_bag(
            bags[offset_group], rows[:, block].contiguous(), mode="sum", per_sample_weights=share[offset_group]
        )
        part = _product(sampled.reshape(-1, taps * size), kernel[block])
        if block * groups % blocks == 0:  # the first block of its convolution group
            made.append(part)
        else:
            made[-1] = made[-1] + part
    out = torch.cat(made, 1)
    if bias is not None:
        out = out + bias.to(x.dtype)
    return out.reshape(n, height, width, out_channels).permute(0, 3, 1, 2)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product a @ b; older versions of torch have none for fp16 on a CPU."""
    if a.dtype == torch.float16 and a.device.type == "cpu":
        return (a.float() @ b.float()).half()
    return a @ b


def _torchvision(x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The kernel of torchvision; its CPU version knows no half precision, so that runs as an fp32 island."""
    from torchvision.ops import deform_conv2d as kernel

    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    x_, offset, mask, weight, bias = _in_full_precision(x, offset, mask, weight, bias)
    return kernel(x_, offset, weight, bias, padding=padding, mask=mask).to(x.dtype)


def _mmcv(x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The kernel of mmcv, the one of the paper's environment."""
    kernel = _mmcv_operator()
    if kernel is None:
        raise ValueError("deform_conv2d: backend mmcv needs mmcv with compiled operators (requirements-paper.txt)")
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    taps = weight.shape[2] * weight.shape[3]
    offset_groups = offset.shape[1] // (2 * taps)
    x_, offset, mask, weight, bias = _in_full_precision(x, offset, mask, weight, bias)
    if mask is None:
        mask = offset.new_ones(offset.shape[0], offset_groups * taps, *offset.shape[2:])
    groups = x.shape[1] // weight.shape[1]
    return kernel(x_, offset, mask, weight, bias, 1, padding, 1, groups, offset_groups).to(x.dtype)


def _in_full_precision(x: Tensor, *others: Tensor | None) -> tuple:
    """All tensors in fp32, or in fp64 where `x` is; None stays None. Contiguous, as the kernels ask."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    return tuple(None if tensor is None else tensor.to(dtype).contiguous() for tensor in (x, *others))


@functools.cache
def _mmcv_operator():  # noqa: ANN202  (an operator of a package that is rarely installed)
    """The operator of mmcv, or None."""
    try:
        from mmcv.ops import modulated_deform_conv2d
    except (ImportError, AttributeError):
        return None
    return modulated_deform_conv2d


def _triton(x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Our kernels: no columns in memory, half precision on the tensor cores; the result in the memory format of `x`."""
    if not _triton_runs(x.device):
        raise ValueError(
            f"deform_conv2d: backend triton needs Triton 3, PyTorch 2.4 and a CUDA device, the input is on {x.device}; "
            f"choose one of {', '.join(available_backends(x.device))}"
        )
    from STDNet.ops.triton_deform_conv import deform_conv2d as kernel

    return kernel(x, offset, mask, weight, bias)


def _triton_runs(device: torch.device) -> bool:
    """Whether the Triton back-end can run on `device`."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    return (device.type == "cuda" or (device.type == "cpu" and interpreted)) and _triton_is_there()


@functools.cache
def _triton_is_there() -> bool:
    """Whether Triton can be imported, and PyTorch can take its kernels as an operator; both since 2024."""
    try:
        import triton
    except ImportError:
        return False
    return int(triton.__version__.split(".")[0]) >= 3 and hasattr(torch.library, "custom_op")


BACKENDS = {"plain": _plain, "gather": _gather, "torchvision": _torchvision, "mmcv": _mmcv, "triton": _triton}

# What auto takes, by kind of device and whether gradients are on; plain where nothing is named. triton is written for
# CUDA and not yet measured there: benchmarks/deform_conv.py --device cuda says whether its lines should change.
AUTO = {
    ("cpu", True): "torchvision",
    ("cpu", False): "gather",
    ("cuda", True): "torchvision",
    ("cuda", False): "torchvision",
}
