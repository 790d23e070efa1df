"""The Triton kernels of the deformable convolution's gradient. Tiles, names and layouts as in triton_kernels.py."""

import triton
from triton import language as tl

from STDNet.ops.triton_kernels import corner, positions, sampled


@triton.jit
def sample_gradient_kernel(
    gradient,
    x,
    offset,
    mask,
    weight,
    x_gradient,
    offset_gradient,
    mask_gradient,
    height,
    width,
    CHANNELS: tl.constexpr,
    OUT_CHANNELS: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    GROUPS: tl.constexpr,
    OFFSET_GROUPS: tl.constexpr,
    BLOCKS: tl.constexpr,
    HAS_MASK: tl.constexpr,
    PIXELS: tl.constexpr,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    EXACT: tl.constexpr,
    FACTORS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Gradients of x (added atomically), offset and mask. Grid: tiles of all images; offset groups * taps."""
    BLOCK: tl.constexpr = CHANNELS // BLOCKS
    GROUP_BLOCKS: tl.constexpr = BLOCKS // GROUPS
    SHARE: tl.constexpr = BLOCKS // OFFSET_GROUPS
    PER_GROUP: tl.constexpr = CHANNELS // GROUPS
    OUT_PER_GROUP: tl.constexpr = OUT_CHANNELS // GROUPS
    TAPS: tl.constexpr = KERNEL_HEIGHT * KERNEL_WIDTH
    size = height * width
    tiles = tl.cdiv(size, PIXELS)
    image = (tl.program_id(0) // tiles).to(tl.int64)
    pixel = tl.program_id(0) % tiles * PIXELS + tl.arange(0, PIXELS)
    on = pixel < size
    plane = tl.program_id(1)
    tap = plane % TAPS
    top, left, below, right, scale = positions(
        offset,
        mask,
        image,
        plane,
        tap,
        pixel,
        height,
        width,
        KERNEL_HEIGHT,
        KERNEL_WIDTH,
        OFFSET_GROUPS * TAPS,
        HAS_MASK,
        EXACT,
    )
    to_a, to_b = (1 - below) * (1 - right) * scale, (1 - below) * right * scale
    to_c, to_d = below * (1 - right) * scale, below * right * scale
    along_y, along_x = tl.zeros((PIXELS,), EXACT), tl.zeros((PIXELS,), EXACT)
    of_mask = tl.zeros((PIXELS,), EXACT)
    for step in range(SHARE):
        block = plane // TAPS * SHARE + step
        group = block // GROUP_BLOCKS
        for start in range(0, BLOCK, IN):
            known = start + tl.arange(0, IN) < BLOCK
            channel = block * BLOCK + start + tl.arange(0, IN)
            # What reaches a sample times its mask: the output's gradient times the transposed weights.
            reached = tl.zeros((PIXELS, IN), EXACT)
            for first in range(0, OUT_PER_GROUP, OUT):
                output = first + tl.arange(0, OUT)
                wanted = output < OUT_PER_GROUP
                at = gradient + (image * size + pixel)[:, None] * OUT_CHANNELS + group * OUT_PER_GROUP + output[None, :]
                arriving = tl.load(at, mask=on[:, None] & wanted[None, :], other=0.0).to(FACTORS)
                row = tap * PER_GROUP + channel - group * PER_GROUP
                at = weight + row[None, :] * OUT_CHANNELS + group * OUT_PER_GROUP + output[:, None]
                factors = tl.load(at, mask=wanted[:, None] & known[None, :], other=0.0).to(FACTORS)
                reached = tl.dot(arriving, factors, reached, input_precision=PRECISION)
            at_a, has_a = corner(image * size * CHANNELS, top, left, pixel, height, width, channel, known, CHANNELS)
            a = tl.load(x + at_a, mask=has_a, other=0.0).to(EXACT)
            at_b, has_b = corner(image * size * CHANNELS, top, left + 1, pixel, height, width, channel, known, CHANNELS)
            b = tl.load(x + at_b, mask=has_b, other=0.0).to(EXACT)
            at_c, has_c = corner(image * size * CHANNELS, top + 1, left, pixel, height, width, channel, known, CHANNELS)
            c = tl.load(x + at_c, mask=has_c, other=0.0).to(EXACT)
            at_d, has_d = corner(
                image * size * CHANNELS, top + 1, left + 1, pixel, height, width, channel, known, CHANNELS
            )
            d = tl.load(x + at_d, mask=has_d, other=0.0).to(EXACT)
            upper = a * (1 - right)[:, None] + b * right[:, None]
            lower = c * (1 - right)[:, None] + d * right[:, None]
            along_y += tl.sum(reached * (lower - upper), 1)
            along_x += tl.sum(reached * ((b - a) * (1 - below)[:, None] + (d - c) * below[:, None]), 1)
            of_mask += tl.sum(reached * (upper * (1 - below)[:, None] + lower * below[:, None]), 1)
            tl.atomic_add(x_gradient + at_a, reached * to_a[:, None], mask=has_a, sem="relaxed")
            tl.atomic_add(x_gradient + at_b, reached * to_b[:, None], mask=has_b, sem="relaxed")
            tl.atomic_add(x_gradient + at_c, reached * to_c[:, None], mask=has_c, sem="relaxed")
            tl.atomic_add(x_gradient + at_d, reached * to_d[:, None], mask=has_d, sem="relaxed")
    number = image * OFFSET_GROUPS * TAPS + plane
    tl.store(offset_gradient + 2 * number * size + pixel, along_y * scale, mask=on)
    tl.store(offset_gradient + (2 * number + 1) * size + pixel, along_x * scale, mask=on)
    if HAS_MASK:
        tl.store(mask_gradient + number * size + pixel, of_mask, mask=on)


@triton.jit
def weight_gradient_kernel(
    gradient,
    x,
    offset,
    mask,
    partial,
    images,
    height,
    width,
    CHANNELS: tl.constexpr,
    OUT_CHANNELS: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    GROUPS: tl.constexpr,
    OFFSET_GROUPS: tl.constexpr,
    BLOCKS: tl.constexpr,
    HAS_MASK: tl.constexpr,
    PIXELS: tl.constexpr,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    EXACT: tl.constexpr,
    STORED: tl.constexpr,
    FACTORS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Partial sums [splits, K, C, O] of the weights' gradient; summed outside, so they come out the same every time.

    Grid: splits, each with every splits-th tile; BLOCKS * taps; blocks of IN by OUT channels.
    """
    BLOCK: tl.constexpr = CHANNELS // BLOCKS
    GROUP_BLOCKS: tl.constexpr = BLOCKS // GROUPS
    PER_GROUP: tl.constexpr = CHANNELS // GROUPS
    OUT_PER_GROUP: tl.constexpr = OUT_CHANNELS // GROUPS
    OUT_BLOCKS: tl.constexpr = (OUT_PER_GROUP + OUT - 1) // OUT
    TAPS: tl.constexpr = KERNEL_HEIGHT * KERNEL_WIDTH
    size = height * width
    tiles = tl.cdiv(size, PIXELS)
    block, tap = tl.program_id(1) // TAPS, tl.program_id(1) % TAPS
    group, plane = block // GROUP_BLOCKS, block * OFFSET_GROUPS // BLOCKS * TAPS + tap
    within = tl.program_id(2) // OUT_BLOCKS * IN + tl.arange(0, IN)
    known = within < BLOCK
    channel = block * BLOCK + within
    output = tl.program_id(2) % OUT_BLOCKS * OUT + tl.arange(0, OUT)
    wanted = output < OUT_PER_GROUP
    total = tl.zeros((IN, OUT), EXACT)
    for tile in range(tl.program_id(0), images * tiles, tl.num_programs(0)):
        image = (tile // tiles).to(tl.int64)
        pixel = tile % tiles * PIXELS + tl.arange(0, PIXELS)
        top, left, below, right, scale = positions(
            offset,
            mask,
            image,
            plane,
            tap,
            pixel,
            height,
            width,
            KERNEL_HEIGHT,
            KERNEL_WIDTH,
            OFFSET_GROUPS * TAPS,
            HAS_MASK,
            EXACT,
        )
        values = x + image * size * CHANNELS
        samples = sampled(
            values,
            top,
            left,
            below,
            right,
            scale,
            pixel,
            height,
            width,
            channel,
            known,
            CHANNELS,
            EXACT,
        )
        at = gradient + (image * size + pixel)[:, None] * OUT_CHANNELS + group * OUT_PER_GROUP + output[None, :]
        arriving = tl.load(at, mask=(pixel < size)[:, None] & wanted[None, :], other=0.0).to(FACTORS)
        total = tl.dot(tl.trans(samples.to(STORED).to(FACTORS)), arriving, total, input_precision=PRECISION)
    row = (tl.program_id(0) * TAPS + tap) * PER_GROUP + channel - group * PER_GROUP
    at = partial + row[:, None] * OUT_CHANNELS + group * OUT_PER_GROUP + output[None, :]
    tl.store(at, total, mask=known[:, None] & wanted[None, :])
