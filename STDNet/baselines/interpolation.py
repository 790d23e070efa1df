"""Upsampling without training: nearest, bilinear, bicubic, and the joint bilateral filter that RGB guides.

Paper: Kopf, Cohen, Lischinski, Uyttendaele, "Joint Bilateral Upsampling", SIGGRAPH 2007 (the filter only). From its
formula: a low-resolution pixel counts by its distance and by how alike its colour is.
How close: the formula with the paper's spatial sigma (0.5 pixel, 5 x 5 window). Two things differ: the colour of a
low-resolution pixel is the mean of the RGB pixels it covers, and where no neighbour has a similar colour a small
constant weight leaves the plain spatial filter instead of 0 / 0.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from STDNet.errors import InputError
from STDNet.models.inputs import fit
from STDNet.models.video_model import DepthVideoModel

MODES = ("nearest", "bilinear", "bicubic")
COLOUR_FLOOR = 1e-6  # weight of a pixel whose colour is entirely different


class InterpolationOutput(NamedTuple):
    """The result: depth [B, T, 1, H, W] in the unit of the input."""

    depth: Tensor


class Interpolation(DepthVideoModel):
    """Upsample every frame alone, without RGB (which only gives the size)."""

    def __init__(self, scale: int, mode: str = "bilinear") -> None:
        super().__init__()
        if mode not in MODES:
            raise InputError(f"interpolation: unknown mode {mode!r}, choose one of {', '.join(MODES)}")
        _check_scale(scale)
        self.scale = scale
        self.mode = mode

    def forward(self, lr: Tensor, rgb: Tensor) -> InterpolationOutput:
        """[B, T, 1, H/s, W/s] and [B, T, 3, H, W] as for `STDNet`; depth is [B, T, 1, H, W] in the type of `lr`."""
        lr, _, (height, width) = fit(lr, rgb, self.scale, self.mode)
        return InterpolationOutput(upsample(lr, self.scale, self.mode)[..., :height, :width])


class JointBilateral(DepthVideoModel):
    """Upsample every frame alone, guided by its RGB frame; see `joint_bilateral` for the arguments."""

    def __init__(self, scale: int, *, radius: int = 2, sigma_pixels: float = 0.5, sigma_colour: float = 0.1) -> None:
        super().__init__()
        _check_scale(scale)
        if radius < 0 or sigma_pixels <= 0 or sigma_colour <= 0:
            raise InputError(
                "joint_bilateral: radius must be at least 0 and both sigmas above 0, "
                f"got {radius}, {sigma_pixels}, {sigma_colour}"
            )
        self.scale = scale
        self.radius = radius
        self.sigma_pixels = sigma_pixels
        self.sigma_colour = sigma_colour

    def forward(self, lr: Tensor, rgb: Tensor) -> InterpolationOutput:
        """[B, T, 1, H/s, W/s] and [B, T, 3, H, W] as for `STDNet`; depth is [B, T, 1, H, W] in the type of `lr`."""
        lr, rgb, (height, width) = fit(lr, rgb, self.scale, "joint_bilateral")
        flat = joint_bilateral(
            lr.flatten(0, 1),
            rgb.flatten(0, 1),
            radius=self.radius,
            sigma_pixels=self.sigma_pixels,
            sigma_colour=self.sigma_colour,
        )
        return InterpolationOutput(flat.unflatten(0, lr.shape[:2])[..., :height, :width])


def upsample(depth: Tensor, scale: int, mode: str) -> Tensor:
    """[..., h, w] -> [..., s * h, s * w]; pixels are areas (align_corners False), so nothing shifts."""
    flat = depth.reshape(-1, 1, *depth.shape[-2:])
    corners = None if mode == "nearest" else False
    up = F.interpolate(flat, scale_factor=float(scale), mode=mode, align_corners=corners)
    return up.reshape(*depth.shape[:-2], *up.shape[-2:])


def joint_bilateral(
    lr: Tensor, rgb: Tensor, *, radius: int = 2, sigma_pixels: float = 0.5, sigma_colour: float = 0.1
) -> Tensor:
    """The weighted mean of the low-resolution pixels around, by distance and by likeness of colour.

    Args:
        lr: [N, 1, h, w], depth in any unit.
        rgb: [N, 3, s * h, s * w], in 0..1.
        radius: The window is 2 * radius + 1 low-resolution pixels wide.
        sigma_pixels: Of the distance, in low-resolution pixels.
        sigma_colour: Of the Euclidean distance of two colours.

    Returns:
        [N, 1, s * h, s * w] in the type of `lr`.
    """
    n, _, h, w = lr.shape
    scale = rgb.shape[-1] // w
    exact = torch.promote_types(lr.dtype, torch.float32)
    rgb = rgb.to(exact)
    low = torch.cat((lr.to(exact), F.avg_pool2d(rgb, scale)), 1)
    low = F.pad(low, (radius,) * 4, mode="replicate")
    colour = rgb.reshape(n, 3, h, scale, w, scale)
    # Where a pixel lies inside its low-resolution pixel, -0.5 .. 0.5.
    place = (torch.arange(scale, device=rgb.device, dtype=exact) + 0.5) / scale - 0.5
    total = torch.zeros(n, 1, h, scale, w, scale, device=rgb.device, dtype=exact)
    weights = torch.zeros_like(total)
    for dy, dx in itertools.product(range(-radius, radius + 1), repeat=2):
        window = low[:, :, radius + dy : radius + dy + h, radius + dx : radius + dx + w]
        depth, other = window.reshape(n, 4, h, 1, w, 1).split((1, 3), 1)
        distance = (place.reshape(scale, 1, 1) - dy).square() + (place - dx).square()
        unlike = (colour - other).square().sum(1, keepdim=True)
        weight = torch.exp(-unlike / (2 * sigma_colour**2)) + COLOUR_FLOOR
        weight = weight * torch.exp(-distance / (2 * sigma_pixels**2))
        total += weight * depth
        weights += weight
    return (total / weights).reshape(n, 1, h * scale, w * scale).to(lr.dtype)


def _check_scale(scale: int) -> None:
    """Refuse a scale that is no whole number above 0."""
    if scale < 1 or scale != int(scale):
        raise InputError(f"interpolation: scale must be a whole number of at least 1, got {scale}")
