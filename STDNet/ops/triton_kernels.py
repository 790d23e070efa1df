"""The Triton kernels of the modulated deformable convolution: samples go to the tensor cores, never to memory.

Shared by all of them: a program owns a tile of PIXELS output pixels of one image. For every tap it reads the offsets,
gathers the four corners of a block of channels (channels last: one corner is one contiguous row), blends them in fp32,
and multiplies the tile with the tap's weights. `SHARED` pairs two convolution groups, depth and RGB, that sample at
the same positions: the positions are made once for both.

Layouts: x and the output's gradient [N, H * W, channels]; offset [N, D * K * 2, H * W]; mask [N, D * K, H * W]; weight
[K, C, O]. A block is a run of BLOCK channels that has one offset group and one convolution group; there are BLOCKS.
No `from __future__ import annotations` here: Triton looks at the annotations.
"""

import triton
from triton import language as tl


@triton.jit
def _positions(
    offset,
    mask,
    image,
    plane,
    tap,
    pixel,
    height,
    width,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    PLANES: tl.constexpr,
    HAS_MASK: tl.constexpr,
    EXACT: tl.constexpr,
):
    """Top and left corner of the pixels' samples, the fractions below and right of them, and the mask; [PIXELS] each.

    `plane` is offset group * taps + tap; PLANES of them make an image.
    """
    size = height * width
    on = pixel < size
    row = (image * PLANES + plane) * size + pixel
    down = tl.load(offset + row + (image * PLANES + plane) * size, mask=on, other=0.0).to(EXACT)
    right = tl.load(offset + row + (image * PLANES + plane + 1) * size, mask=on, other=0.0).to(EXACT)
    y = (pixel // width + tap // KERNEL_WIDTH - KERNEL_HEIGHT // 2).to(EXACT) + down
    x = (pixel % width + tap % KERNEL_WIDTH - KERNEL_WIDTH // 2).to(EXACT) + right
    top, left = tl.floor(y), tl.floor(x)
    scale = tl.full(pixel.shape, 1.0, EXACT)
    if HAS_MASK:
        scale = tl.load(mask + row, mask=on, other=0.0).to(EXACT)
    return top, left, y - top, x - left, scale


@triton.jit
def _inside(y, x, pixel, height, width):
    """Which corners lie in the image; of no others is anything read or added."""
    return (pixel < height * width) & (y >= 0) & (y < height) & (x >= 0) & (x < width)


@triton.jit
def _corner(x, row, column, inside, width, channel, known, CHANNELS: tl.constexpr, EXACT: tl.constexpr):
    """[PIXELS, IN] values of one corner, 0 outside the image."""
    index = tl.where(inside, row, 0).to(tl.int32) * width + tl.where(inside, column, 0).to(tl.int32)
    at = x + index[:, None] * CHANNELS + channel[None, :]
    return tl.load(at, mask=inside[:, None] & known[None, :], other=0.0).to(EXACT)


@triton.jit
def _sampled(
    x, top, left, below, right, scale, pixel, height, width, channel, known, CHANNELS: tl.constexpr, EXACT: tl.constexpr
):
    """[PIXELS, IN] samples times their mask."""
    a = _corner(x, top, left, _inside(top, left, pixel, height, width), width, channel, known, CHANNELS, EXACT)
    values = a * ((1 - below) * (1 - right) * scale)[:, None]
    b = _corner(x, top, left + 1, _inside(top, left + 1, pixel, height, width), width, channel, known, CHANNELS, EXACT)
    values += b * ((1 - below) * right * scale)[:, None]
    c = _corner(x, top + 1, left, _inside(top + 1, left, pixel, height, width), width, channel, known, CHANNELS, EXACT)
    values += c * (below * (1 - right) * scale)[:, None]
    inside = _inside(top + 1, left + 1, pixel, height, width)
    d = _corner(x, top + 1, left + 1, inside, width, channel, known, CHANNELS, EXACT)
    return values + d * (below * right * scale)[:, None]


@triton.jit
def forward_kernel(
    x,
    offset,
    mask,
    weight,
    bias,
    out,
    height,
    width,
    stride_image,
    stride_channel,
    stride_pixel,
    CHANNELS: tl.constexpr,
    OUT_CHANNELS: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    GROUPS: tl.constexpr,
    OFFSET_GROUPS: tl.constexpr,
    BLOCKS: tl.constexpr,
    SHARED: tl.constexpr,
    HAS_MASK: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    PIXELS: tl.constexpr,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    EXACT: tl.constexpr,
    STORED: tl.constexpr,
    FACTORS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Grid: tiles of all images; convolution groups, or pairs of them; blocks of OUT output channels of a group."""
    BLOCK: tl.constexpr = CHANNELS // BLOCKS
    GROUP_BLOCKS: tl.constexpr = BLOCKS // GROUPS
    PER_GROUP: tl.constexpr = CHANNELS // GROUPS
    OUT_PER_GROUP: tl.constexpr = OUT_CHANNELS // GROUPS
    TAPS: tl.constexpr = KERNEL_HEIGHT * KERNEL_WIDTH
    tiles = tl.cdiv(height * width, PIXELS)
    image = (tl.program_id(0) // tiles).to(tl.int64)
    pixel = tl.program_id(0) % tiles * PIXELS + tl.arange(0, PIXELS)
    group = tl.program_id(1) * (2 if SHARED else 1)
    output = tl.program_id(2) * OUT + tl.arange(0, OUT)
    wanted = output < OUT_PER_GROUP
    values = x + image * height * width * CHANNELS + group * PER_GROUP
    kernel = weight + group * OUT_PER_GROUP + output[None, :]
    total = tl.zeros((PIXELS, OUT), EXACT)
    second = tl.zeros((PIXELS, OUT), EXACT)
    for block in range(GROUP_BLOCKS):
        offset_group = (group * GROUP_BLOCKS + block) * OFFSET_GROUPS // BLOCKS
        for tap in range(TAPS):
            top, left, below, right, scale = _positions(
                offset,
                mask,
                image,
                offset_group * TAPS + tap,
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
            for start in range(0, BLOCK, IN):
                known = start + tl.arange(0, IN) < BLOCK
                channel = block * BLOCK + start + tl.arange(0, IN)
                at = kernel + (tap * PER_GROUP + channel[:, None]) * OUT_CHANNELS
                here = known[:, None] & wanted[None, :]
                factors = tl.load(at, mask=here, other=0.0).to(FACTORS)
                samples = _sampled(
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
                total = tl.dot(samples.to(STORED).to(FACTORS), factors, total, input_precision=PRECISION)
                if SHARED:
                    samples = _sampled(
                        values + PER_GROUP,
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
                    factors = tl.load(at + OUT_PER_GROUP, mask=here, other=0.0).to(FACTORS)
                    second = tl.dot(samples.to(STORED).to(FACTORS), factors, second, input_precision=PRECISION)
    column = group * OUT_PER_GROUP + output
    at = out + image * stride_image + pixel[:, None].to(tl.int64) * stride_pixel + column[None, :] * stride_channel
    here = (pixel < height * width)[:, None] & wanted[None, :]
    if HAS_BIAS:
        total += tl.load(bias + column, mask=wanted, other=0.0).to(EXACT)[None, :]
    tl.store(at, total.to(STORED), mask=here)
    if SHARED:
        if HAS_BIAS:
            second += tl.load(bias + column + OUT_PER_GROUP, mask=wanted, other=0.0).to(EXACT)[None, :]
        tl.store(at + OUT_PER_GROUP * stride_channel, second.to(STORED), mask=here)


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
    top, left, below, right, scale = _positions(
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
    in_a, in_b = _inside(top, left, pixel, height, width), _inside(top, left + 1, pixel, height, width)
    in_c, in_d = _inside(top + 1, left, pixel, height, width), _inside(top + 1, left + 1, pixel, height, width)
    to_a, to_b = (1 - below) * (1 - right) * scale, (1 - below) * right * scale
    to_c, to_d = below * (1 - right) * scale, below * right * scale
    along_y, along_x = tl.zeros((PIXELS,), EXACT), tl.zeros((PIXELS,), EXACT)
    of_mask = tl.zeros((PIXELS,), EXACT)
    values = x + image * size * CHANNELS
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
            a = _corner(values, top, left, in_a, width, channel, known, CHANNELS, EXACT)
            b = _corner(values, top, left + 1, in_b, width, channel, known, CHANNELS, EXACT)
            c = _corner(values, top + 1, left, in_c, width, channel, known, CHANNELS, EXACT)
            d = _corner(values, top + 1, left + 1, in_d, width, channel, known, CHANNELS, EXACT)
            upper = a * (1 - right)[:, None] + b * right[:, None]
            lower = c * (1 - right)[:, None] + d * right[:, None]
            along_y += tl.sum(reached * (lower - upper), 1)
            along_x += tl.sum(reached * ((b - a) * (1 - below)[:, None] + (d - c) * below[:, None]), 1)
            of_mask += tl.sum(reached * (upper * (1 - below)[:, None] + lower * below[:, None]), 1)
            target = x_gradient + image * size * CHANNELS
            _add(target, top, left, in_a, to_a, reached, width, channel, known, CHANNELS)
            _add(target, top, left + 1, in_b, to_b, reached, width, channel, known, CHANNELS)
            _add(target, top + 1, left, in_c, to_c, reached, width, channel, known, CHANNELS)
            _add(target, top + 1, left + 1, in_d, to_d, reached, width, channel, known, CHANNELS)
    number = image * OFFSET_GROUPS * TAPS + plane
    tl.store(offset_gradient + 2 * number * size + pixel, along_y * scale, mask=on)
    tl.store(offset_gradient + (2 * number + 1) * size + pixel, along_x * scale, mask=on)
    if HAS_MASK:
        tl.store(mask_gradient + number * size + pixel, of_mask, mask=on)


@triton.jit
def _add(target, row, column, inside, share, reached, width, channel, known, CHANNELS: tl.constexpr):
    """Give a corner its share of what reached the samples."""
    index = tl.where(inside, row, 0).to(tl.int32) * width + tl.where(inside, column, 0).to(tl.int32)
    at = target + index[:, None] * CHANNELS + channel[None, :]
    tl.atomic_add(at, reached * share[:, None], mask=inside[:, None] & known[None, :], sem="relaxed")


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
        top, left, below, right, scale = _positions(
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
        samples = _sampled(
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
