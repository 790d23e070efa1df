"""Deformable convolution: every back-end against the definition, in value and gradient, and the definition by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from STDNet.ops import available_backends, deform_conv2d

FAST = [name for name in available_backends() if name != "plain"]


def _inputs(offset_groups: int = 1, groups: int = 1, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """x, offset (some far outside), mask, weight, bias."""
    x = torch.rand(2, 8, 5, 6, dtype=dtype)
    offset = 3 * torch.randn(2, 18 * offset_groups, 5, 6, dtype=dtype)
    mask = torch.rand(2, 9 * offset_groups, 5, 6, dtype=dtype)
    weight, bias = torch.randn(4, 8 // groups, 3, 3, dtype=dtype), torch.randn(4, dtype=dtype)
    return [value.requires_grad_() for value in (x, offset, mask, weight, bias)]


def test_definition_by_hand() -> None:
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 2] = 2.0  # the tap one column to the right
    offset = torch.zeros(1, 18, 3, 4)
    offset[:, 2 * 5] = 0.5  # its dy
    offset[:, 2 * 5 + 1] = -0.25  # its dx
    mask = torch.full((1, 9, 3, 4), 0.5)
    out = deform_conv2d(x, offset, mask, weight, torch.tensor([1.0]), "plain")
    # At (0, 0): between rows 0 and 1 and columns 0.75: 0.5 * (0.75 + 4.75) = 2.75; times mask 0.5, weight 2, plus 1.
    assert out[0, 0, 0, 0].item() == pytest.approx(3.75)
    # At (2, 3): row 2.5, column 3.75: only x(2, 3) = 11 is inside, with share 0.5 * 0.25.
    assert out[0, 0, 2, 3].item() == pytest.approx(1 + 11 * 0.125)


@pytest.mark.parametrize("backend", available_backends())
def test_zero_offset_is_a_convolution(backend: str) -> None:
    x, _, _, weight, bias = _inputs(dtype=torch.float32)
    offset = torch.zeros(2, 18, 5, 6)
    expected = F.conv2d(x, weight, bias, padding=1)
    torch.testing.assert_close(deform_conv2d(x, offset, None, weight, bias, backend), expected)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize(("offset_groups", "groups"), [(1, 1), (1, 2), (2, 1), (4, 2), (2, 4)])
def test_backends_agree_in_value_and_gradient(backend: str, offset_groups: int, groups: int) -> None:
    dtype = torch.float32 if backend == "mmcv" else torch.float64
    inputs = _inputs(offset_groups, groups, dtype)
    expected = deform_conv2d(*inputs, "plain")
    found = deform_conv2d(*inputs, backend)
    tolerance = 1e-4 if backend == "mmcv" else 1e-11
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    direction = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(found, inputs, direction), torch.autograd.grad(expected, inputs, direction), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("backend", [name for name in available_backends() if name != "mmcv"])
def test_gradients_are_the_derivatives(backend: str) -> None:
    x, offset, mask, weight, bias = _inputs(groups=2)
    small = [value[:, :, :3, :3].detach().requires_grad_() for value in (x, offset, mask)]
    inputs = (*small, weight, bias)
    # Triton's interpreter takes milliseconds a call, and the full check thousands of calls.
    assert torch.autograd.gradcheck(lambda *args: deform_conv2d(*args, backend), inputs, fast_mode=backend == "triton")


@pytest.mark.parametrize("backend", available_backends())
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(backend: str, dtype: torch.dtype) -> None:
    inputs = [value.detach().float() for value in _inputs()]
    expected = deform_conv2d(*inputs, "plain")
    found = deform_conv2d(*(value.to(dtype) for value in inputs), backend)
    assert found.dtype == dtype
    # 8 bits of mantissa in every input, sums of 72 products.
    assert (found.float() - expected).abs().max() < (0.05 if dtype == torch.float16 else 0.4)


@pytest.mark.parametrize("backend", available_backends())
def test_under_autocast_positions_stay_exact(backend: str) -> None:
    x, _, _, weight, bias = _inputs(dtype=torch.float32)
    offset = torch.full((2, 18, 5, 6), 0.123)
    with torch.autocast("cpu", torch.bfloat16):
        found = deform_conv2d(x, offset, None, weight, bias, backend)
    torch.testing.assert_close(found, deform_conv2d(x, offset, None, weight, bias, "plain"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update(offset=torch.zeros(2, 17, 5, 6)), "offset"),
        (lambda a: a.update(mask=torch.zeros(2, 8, 5, 6)), "mask"),
        (lambda a: a.update(weight=torch.zeros(4, 3, 3, 3)), "channels"),
        (lambda a: a.update(weight=torch.zeros(4, 8, 2, 2)), "odd"),
        (lambda a: a.update(backend="cudnn"), "unknown backend"),
    ],
)
def test_wrong_arguments_are_named(change, message: str) -> None:
    names = ("x", "offset", "mask", "weight", "bias")
    arguments = dict(zip(names, _inputs(dtype=torch.float32), strict=True))
    change(arguments)
    with pytest.raises(ValueError, match=message):
        deform_conv2d(**arguments)
