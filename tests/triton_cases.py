"""The Triton back-end against the definition. test_triton.py runs this file, in Triton's interpreter or on CUDA."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from STDNet.ops import available_backends, deform_conv2d, triton_deform_conv
from STDNet.ops.triton_deform_conv import Tiles

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def _inputs(
    channels: int, outputs: int, *, offset_groups: int = 1, groups: int = 1, kernel: tuple[int, int] = (1, 1)
) -> list[Tensor]:
    """x, offset (some far outside), mask, weight, bias in fp64: 5 x 3 pixels."""
    taps = kernel[0] * kernel[1]
    shapes = (
        (1, channels, 5, 3),
        (1, 2 * offset_groups * taps, 5, 3),
        (1, offset_groups * taps, 5, 3),
        (outputs, channels // groups, *kernel),
        (outputs,),
    )
    values = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    values[1] *= 3
    return [value.to(DEVICE).requires_grad_() for value in values]


def _compare(inputs: list[Tensor | None]) -> None:
    """Value and every gradient."""
    found, expected = deform_conv2d(*inputs, "triton"), deform_conv2d(*inputs, "plain")
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    direction = torch.randn_like(expected)
    wanted = [value for value in inputs if value is not None]
    ours, theirs = (torch.autograd.grad(out, wanted, direction) for out in (found, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_deform_conv, "_tiles", lambda dtype: Tiles(16, 16, 4, 1))


def test_depth_and_rgb_share_one_sampling() -> None:
    """The network's own use: two convolution groups, one set of offsets."""
    x, offset, mask, weight, bias = _inputs(8, 8, groups=2, kernel=(3, 3))
    _compare([*(value[..., :2].repeat(2, 1, 1, 1) for value in (x, offset, mask)), weight, bias])


@pytest.mark.parametrize(("offset_groups", "groups"), [(2, 1), (2, 4)])
def test_groups(offset_groups: int, groups: int) -> None:
    _compare(_inputs(8, 4, offset_groups=offset_groups, groups=groups, kernel=(1, 3)))


def test_more_pixels_and_channels_than_a_tile_holds(small_tiles: None) -> None:
    """20 channels in and 18 out: two tiles of each, the second in part; 20 pixels, 16 in a tile."""
    x, offset, mask, weight, bias = _inputs(40, 36, groups=2)
    x, offset, mask = (torch.cat((value, value[:, :, :2]), 2) for value in (x, offset, mask))
    _compare([x, offset, mask, weight, bias])


def test_without_mask_and_bias_and_channels_last() -> None:
    x, offset, _, weight, _ = _inputs(8, 4)
    last = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    _compare([last, offset, None, weight, None])
    assert deform_conv2d(last, offset, None, weight, None, "triton").is_contiguous(memory_format=torch.channels_last)


def test_positions_that_are_no_numbers() -> None:
    x, offset, mask, weight, bias = (value.detach() for value in _inputs(8, 4))
    offset[0, 0, 0, 0], offset[0, 1, 1, 0], offset[0, 0, 2, 0] = float("nan"), float("inf"), 1e30
    found, expected = (deform_conv2d(x, offset, mask, weight, bias, name) for name in ("triton", "plain"))
    torch.testing.assert_close(found, expected, equal_nan=True)
    assert 0 < expected.isnan().sum() < expected.numel() / 4


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 1.5e-2)]
)
def test_types(dtype: torch.dtype, tolerance: float) -> None:
    """Operands rounded to the type, sums in fp32: as near as one rounding of each operand allows."""
    inputs = [value.detach().to(dtype).requires_grad_() for value in _inputs(8, 4)]
    exact = [value.detach().double().requires_grad_() for value in inputs]
    found, expected = deform_conv2d(*inputs, "triton"), deform_conv2d(*exact, "plain")
    assert found.dtype == dtype
    direction = torch.randn_like(expected).to(dtype)
    pairs = zip(
        (found, *torch.autograd.grad(found, inputs, direction)),
        (expected, *torch.autograd.grad(expected, exact, direction.double())),
        strict=True,
    )
    for a, b in pairs:
        assert (a.double() - b).norm() < tolerance * b.norm()


def test_gradients_are_the_derivatives() -> None:
    inputs = _inputs(4, 2)
    assert torch.autograd.gradcheck(lambda *args: deform_conv2d(*args, "triton"), inputs, fast_mode=True)


def test_one_graph_under_compile() -> None:
    inputs = [value.detach().float().requires_grad_() for value in _inputs(8, 4)]

    def function(*values: Tensor) -> Tensor:
        return torch.relu(deform_conv2d(*values, "triton"))

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    found, expected = compiled(*inputs), function(*inputs)
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(out.sum(), inputs) for out in (found, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_it_is_available() -> None:
    assert "triton" in available_backends(DEVICE)
