"""The Triton back-end of the deformable convolution: the kernels as one operator of PyTorch, with its gradient.

Registered as a custom operator, so that torch.compile takes it into its graph as it is. Runs on CUDA, and on a CPU in
Triton's interpreter (TRITON_INTERPRET=1 before the first import of Triton), which the tests use.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from triton import language as tl

from STDNet.ops.triton_gradients import sample_gradient_kernel, weight_gradient_kernel
from STDNet.ops.triton_kernels import forward_kernel


class Tiles(NamedTuple):
    """How the work is cut: pixels and most channels of a tile, warps and pipeline stages of a program."""

    pixels: int
    channels: int
    warps: int
    stages: int


# By the bytes of a number. Compiled for sm_90 at 64 channels these keep all in registers (TF32 spills 8 bytes), take
# 104 KiB of shared memory at most, and half precision becomes wgmma. Which are fastest is to be measured:
# benchmarks/deform_conv.py --tune.
TILES = {2: Tiles(64, 64, 8, 2), 4: Tiles(32, 32, 4, 2), 8: Tiles(16, 16, 4, 1)}
SPLITS = 256  # programs, if there are tiles enough, that share the sum over all pixels of the weights' gradient
INTERPRETED = not isinstance(forward_kernel, triton.runtime.JITFunction)
_TYPES = {
    torch.float64: tl.float64,
    torch.float32: tl.float32,
    torch.bfloat16: tl.bfloat16,
    torch.float16: tl.float16,
}


def deform_conv2d(x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None) -> Tensor:
    """See `STDNet.ops.deform_conv2d`; products in the type of `x`, sums and positions in fp32 (fp64 for fp64).

    fp32 products are exact unless torch.set_float32_matmul_precision allows TF32. The result has the memory format of
    `x`; channels_last spares a copy.
    """
    weight, bias = weight.to(x.dtype), None if bias is None else bias.to(x.dtype)
    return _operator(x, offset, mask, weight, bias)


@torch.library.custom_op(
    "stdnet::deform_conv2d",
    mutates_args=(),
    schema="(Tensor x, Tensor offset, Tensor? mask, Tensor weight, Tensor? bias) -> Tensor",
)
def _operator(x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None) -> Tensor:
    """One launch for the whole batch and both groups."""
    n, _, height, width = x.shape
    shape = _constants(x, offset, weight)
    out = _empty_output(x, offset, mask, weight, bias)
    # A pair is two accumulators in one program; with several groups of offsets there is nothing to share.
    shared = shape["GROUPS"] % 2 == 0 and shape["OFFSET_GROUPS"] == 1
    per_group = weight.shape[0] // shape["GROUPS"]
    grid = (
        n * triton.cdiv(height * width, shape["PIXELS"]),
        shape["GROUPS"] // (2 if shared else 1),
        triton.cdiv(per_group, shape["OUT"]),
    )
    forward_kernel[grid](
        *(_channels_last(x), offset.contiguous(), *_given(mask, x), _taps_first(weight), *_given(bias, x), out),
        *(height, width, out.stride(0), out.stride(1), out.stride(3)),
        **shape,
        SHARED=shared,
        HAS_MASK=mask is not None,
        HAS_BIAS=bias is not None,
        STORED=_TYPES[x.dtype],
        **_launch(x.dtype),
    )
    return out


@_operator.register_fake
def _empty_output(x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None) -> Tensor:
    """[N, O, H, W] without values, in the memory format of `x`."""
    kept = not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    shape = (x.shape[0], weight.shape[0], *x.shape[2:])
    return torch.empty(
        shape,
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last if kept else torch.contiguous_format,
    )


@torch.library.custom_op(
    "stdnet::deform_conv2d_backward",
    mutates_args=(),
    schema="(Tensor gradient, Tensor x, Tensor offset, Tensor? mask, Tensor weight) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
)
def _backward_operator(
    gradient: Tensor, x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, offset, mask (empty without one) and weight."""
    n, channels, height, width = x.shape
    shape = {**_constants(x, offset, weight), "HAS_MASK": mask is not None}
    gradient, rows = _channels_last(gradient), _channels_last(x)
    offset, kernel = offset.contiguous(), _taps_first(weight)
    exact = torch.promote_types(x.dtype, torch.float32)
    of_x = torch.zeros_like(rows, dtype=exact, memory_format=torch.channels_last)
    of_offset = torch.empty_like(offset, dtype=exact)
    of_mask = torch.empty_like(offset[:0] if mask is None else mask, dtype=exact, memory_format=torch.contiguous_format)
    planes = offset.shape[1] // 2
    tiles = n * triton.cdiv(height * width, shape["PIXELS"])
    sample_gradient_kernel[(tiles, planes)](
        *(gradient, rows, offset, *_given(mask, x), kernel, of_x, of_offset, of_mask, height, width),
        **shape,
        **_launch(x.dtype),
    )
    taps = weight.shape[2] * weight.shape[3]
    blocks = triton.cdiv(channels // shape["BLOCKS"], shape["IN"]) * triton.cdiv(
        weight.shape[0] // shape["GROUPS"], shape["OUT"]
    )
    splits = min(tiles, triton.cdiv(SPLITS, shape["BLOCKS"] * taps * blocks))
    partial = torch.empty((splits, *kernel.shape), dtype=exact, device=x.device)
    weight_gradient_kernel[(splits, shape["BLOCKS"] * taps, blocks)](
        *(gradient, rows, offset, *_given(mask, x), partial, n, height, width),
        **shape,
        STORED=_TYPES[x.dtype],
        **_launch(x.dtype),
    )
    of_weight = partial.sum(0).permute(2, 1, 0).reshape(weight.shape)
    return (
        of_x.to(x.dtype).contiguous(),
        of_offset.to(offset.dtype),
        of_mask.to(offset.dtype if mask is None else mask.dtype),
        of_weight.to(weight.dtype).contiguous(),
    )


@_backward_operator.register_fake
def _empty_gradients(
    gradient: Tensor, x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients' shapes."""

    def like(value: Tensor) -> Tensor:
        return torch.empty_like(value, memory_format=torch.contiguous_format)

    return like(x), like(offset), like(offset[:0] if mask is None else mask), like(weight)


def _save(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, offset, mask, weight, bias = inputs
    ctx.save_for_backward(x, offset, mask, weight)
    ctx.has_bias = bias is not None


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    x, offset, mask, weight = ctx.saved_tensors
    of_x, of_offset, of_mask, of_weight = _backward_operator(gradient, x, offset, mask, weight)
    of_bias = gradient.sum((0, 2, 3)) if ctx.has_bias else None
    return of_x, of_offset, None if mask is None else of_mask, of_weight, of_bias


_operator.register_autograd(_backward, setup_context=_save)


def _constants(x: Tensor, offset: Tensor, weight: Tensor) -> dict[str, Any]:
    """The compile-time constants that all three kernels take."""
    out_channels, in_channels, kernel_height, kernel_width = weight.shape
    channels = x.shape[1]
    groups, offset_groups = channels // in_channels, offset.shape[1] // (2 * kernel_height * kernel_width)
    blocks, tiles = math.lcm(groups, offset_groups), _tiles(x.dtype)
    tf32 = x.dtype == torch.float32 and torch.get_float32_matmul_precision() != "highest"
    # The interpreter multiplies no bf16; there the operands are rounded to it and multiplied in fp32.
    factors = torch.float32 if INTERPRETED and x.dtype == torch.bfloat16 else x.dtype
    return {
        "CHANNELS": channels,
        "OUT_CHANNELS": out_channels,
        "KERNEL_HEIGHT": kernel_height,
        "KERNEL_WIDTH": kernel_width,
        "GROUPS": groups,
        "OFFSET_GROUPS": offset_groups,
        "BLOCKS": blocks,
        "PIXELS": tiles.pixels,
        "IN": _tile(channels // blocks, tiles),
        "OUT": _tile(out_channels // groups, tiles),
        "EXACT": tl.float64 if x.dtype == torch.float64 else tl.float32,
        "FACTORS": _TYPES[factors],
        "PRECISION": "tf32" if tf32 else "ieee",
    }


def _tiles(dtype: torch.dtype) -> Tiles:
    return TILES[dtype.itemsize]


def _tile(channels: int, tiles: Tiles) -> int:
    """Channels of a tile: a power of two from 16, the least that tensor cores multiply, to the largest allowed."""
    return max(16, min(tiles.channels, triton.next_power_of_2(channels)))


def _launch(dtype: torch.dtype) -> dict[str, int]:
    tiles = _tiles(dtype)
    return {"num_warps": tiles.warps, "num_stages": tiles.stages}


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _taps_first(weight: Tensor) -> Tensor:
    """[O, C, kernel height, kernel width] -> [K, C, O]."""
    return weight.flatten(2).permute(2, 1, 0).contiguous()


def _given(value: Tensor | None, stand_in: Tensor) -> tuple[Tensor]:
    """A pointer to pass: the values, or a stand-in that is never read."""
    return (stand_in if value is None else value.contiguous(),)
