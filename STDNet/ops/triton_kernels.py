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
def positions(
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
def corner(start, row, column, pixel, height, width, channel, known, CHANNELS: tl.constexpr):
    """Where one corner's channels lie, [PIXELS, IN], and which of them there are: of no others is anything read."""
    inside = (pixel < height * width) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    index = tl.where(inside, row, 0).to(tl.int32) * width + tl.where(inside, column, 0).to(tl.int32)
    return start + index[:, None] * CHANNELS + channel[None, :], inside[:, None] & known[None, :]


@triton.jit
def sampled(
    x, top, left, below, right, scale, pixel, height, width, channel, known, CHANNELS: tl.constexpr, EXACT: tl.constexpr
):
    """[PIXELS, IN] samples times their mask, 0 outside the image."""
    at, there = corner(x, top, left, pixel, height, width, channel, known, CHANNELS)
    values = tl.load(at, mask=there, other=0.0).to(EXACT) * ((1 - below) * (1 - right) * scale)[:, None]
    at, there = corner(x, top, left + 1, pixel, height, width, channel, known, CHANNELS)
    values += tl.load(at, mask=there, other=0.0).to(EXACT) * ((1 - below) * right * scale)[:, None]
    at, there = corner(x, top + 1, left, pixel, height, width, channel, known, CHANNELS)
    values += tl.load(at, mask=there, other=0.0).to(EXACT) * (below * (1 - right) * scale)[:, None]
    at, there = corner(x, top + 1, left + 1, pixel, height, width, channel, known, CHANNELS)
    return values + tl.load(at, mask=there, other=0.0).to(EXACT) * (below * right * scale)[:, None]


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
            top, left, below, right, scale = positions(
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
                total = tl.dot(samples.to(STORED).to(FACTORS), factors, total, input_precision=PRECISION)
                if SHARED:
                    samples = sampled(
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
