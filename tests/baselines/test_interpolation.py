"""Interpolation by hand, and the joint bilateral filter against its definition, pixel by pixel."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from STDNet.baselines import Interpolation, JointBilateral, joint_bilateral, upsample
from STDNet.errors import InputError

MODES = ["nearest", "bilinear", "bicubic"]


def test_interpolation_by_hand() -> None:
    row = torch.tensor([[0.0, 4.0]])
    assert upsample(row, 2, "nearest").tolist() == [[0, 0, 4, 4]] * 2
    assert upsample(row, 2, "bilinear").tolist() == [[0, 1, 3, 4]] * 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [1, 3, 4])
def test_a_slope_stays_a_slope(mode: str, scale: int) -> None:
    x = (torch.arange(8 * scale) + 0.5) / scale
    slope = x.expand(4 * scale, -1)
    low = F.avg_pool2d(slope[None, None], scale)
    up = upsample(low, scale, mode)[0, 0]
    inner = slice(2 * scale, -2 * scale)  # away from the edges
    tolerance = {"nearest": 0.5, "bilinear": 1e-5, "bicubic": 0.05}[
        mode
    ]  # PyTorch's cubic kernel bends a slope a little
    error = (up - slope)[:, inner]
    assert error.abs().max() <= tolerance and error.mean().abs() < 1e-5


def plain_joint_bilateral(lr: Tensor, rgb: Tensor, radius: int, sigma_pixels: float, sigma_colour: float) -> Tensor:
    """The definition for one frame: loops over pixels and over their windows."""
    (h, w), (height, width) = lr.shape[-2:], rgb.shape[-2:]
    scale = width // w
    mean = F.avg_pool2d(rgb, scale)
    out = torch.empty(1, 1, height, width, dtype=lr.dtype)
    for y in range(height):
        for x in range(width):
            total = weights = 0.0
            for j in range(y // scale - radius, y // scale + radius + 1):
                for i in range(x // scale - radius, x // scale + radius + 1):
                    row, column = min(max(j, 0), h - 1), min(max(i, 0), w - 1)
                    far = ((y + 0.5) / scale - 0.5 - j) ** 2 + ((x + 0.5) / scale - 0.5 - i) ** 2
                    unlike = (rgb[0, :, y, x] - mean[0, :, row, column]).square().sum().item()
                    weight = math.exp(-unlike / (2 * sigma_colour**2)) + 1e-6
                    weight *= math.exp(-far / (2 * sigma_pixels**2))
                    total += weight * lr[0, 0, row, column].item()
                    weights += weight
            out[0, 0, y, x] = total / weights
    return out


def test_joint_bilateral_is_its_definition() -> None:
    lr, rgb = torch.rand(1, 1, 2, 3, dtype=torch.float64), torch.rand(1, 3, 6, 9, dtype=torch.float64)
    found = joint_bilateral(lr, rgb, radius=1, sigma_pixels=0.7, sigma_colour=0.3)
    torch.testing.assert_close(found, plain_joint_bilateral(lr, rgb, 1, 0.7, 0.3))


def test_joint_bilateral_keeps_an_edge_that_rgb_shows() -> None:
    step = (torch.arange(32) >= 16).float().expand(16, -1)[None, None]
    depth, rgb = 1 + step, step.expand(-1, 3, -1, -1)
    low = F.avg_pool2d(depth, 4)
    error = (joint_bilateral(low, rgb) - depth).abs().max()
    assert error < 0.01 < (upsample(low, 4, "bilinear") - depth).abs().max()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_joint_bilateral_of_a_constant_and_of_foreign_colours(dtype: torch.dtype) -> None:
    rgb = torch.rand(1, 3, 8, 8).round().to(dtype)  # no pixel is like the means around it
    out = joint_bilateral(torch.full((1, 1, 2, 2), 3.0, dtype=dtype), rgb, sigma_colour=0.01)
    assert out.dtype == dtype
    torch.testing.assert_close(out, torch.full_like(out, 3.0))


@pytest.mark.parametrize("size", [(8, 12), (9, 15), (7, 4)])
def test_modules_take_clips_of_any_size(size: tuple[int, int]) -> None:
    low = [-(-n // 4) for n in size]
    for net in (*(Interpolation(4, mode) for mode in MODES), JointBilateral(4)):
        out = net(torch.full((2, 1, 1, *low), 2.0), torch.rand(2, 1, 3, *size))
        torch.testing.assert_close(out.depth, torch.full((2, 1, 1, *size), 2.0))
        assert not list(net.parameters())


def test_frames_are_independent() -> None:
    lr, rgb = torch.rand(2, 3, 1, 2, 2), torch.rand(2, 3, 3, 8, 8)
    for net in (*(Interpolation(4, mode) for mode in MODES), JointBilateral(4)):
        assert torch.equal(net(lr, rgb).depth[:, 1:2], net(lr[:, 1:2], rgb[:, 1:2]).depth)


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="unknown mode"):
        Interpolation(4, "lanczos")
    for wrong in (0, 1.5):
        with pytest.raises(InputError, match="whole number"):
            Interpolation(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="sigmas"):
        JointBilateral(4, sigma_colour=0)
    with pytest.raises(InputError, match="does not fit RGB"):
        JointBilateral(4)(torch.rand(1, 1, 1, 4, 4), torch.rand(1, 1, 3, 20, 16))
    with pytest.raises(InputError, match="takes lr"):
        Interpolation(4)(torch.rand(1, 1, 4, 4), torch.rand(1, 3, 16, 16))
