"""D3DNet: the deformable 3-D convolution against its definition, and the network."""

from __future__ import annotations

import itertools

import pytest
import torch
from baseline_checks import assert_round_trip, count, stir, without_gradient
from torch import Tensor, nn
from torch.nn import functional as F

from STDNet.baselines import D3DNet, deform_conv3d
from STDNet.errors import InputError
from STDNet.ops import available_backends

AXES = ["HW", "H", "W", "T", "TH", "TW", "THW"]
BACKENDS = [name for name in available_backends() if name != "mmcv"]


def plain(x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, axes: str) -> Tensor:
    """The definition: every tap is a mean of the eight voxels around its position, zero outside the clip."""
    b, channels, *sizes = x.shape
    offset = offset.unflatten(1, (27, len(axes)))
    taps = torch.stack(torch.meshgrid(*[torch.arange(-1, 2)] * 3, indexing="ij")).flatten(1)
    grid = torch.stack(torch.meshgrid(*map(torch.arange, sizes), indexing="ij"))
    positions = []
    for number, axis in enumerate("THW"):
        position = grid[number] + taps[number].reshape(27, 1, 1, 1).to(x.dtype)
        positions.append(position + offset[:, :, axes.index(axis)] if axis in axes else position.expand(b, -1, *sizes))
    sampled = x.new_zeros(())
    for corner in itertools.product((0, 1), repeat=3):
        index, share = 0, 1
        for position, far, size in zip(positions, corner, sizes, strict=True):
            whole = position.floor() + far
            share = share * (1 - (position - whole).abs()) * ((whole >= 0) & (whole < size))
            index = index * size + whole.clamp(0, size - 1).long()
        voxels = x.reshape(b, channels, 1, -1).expand(-1, -1, 27, -1)
        voxels = voxels.gather(3, index.reshape(b, 1, 27, -1).expand(-1, channels, -1, -1))
        sampled = sampled + voxels * share.reshape(b, 1, 27, -1)
    out = torch.einsum("bckp,ock->bop", sampled, weight.flatten(2)).unflatten(2, sizes)
    return out + bias.reshape(1, -1, 1, 1, 1)


def inputs(axes: str, frames: int = 3) -> list[Tensor]:
    """x, offset (some far outside), weight, bias in float64."""
    x = torch.rand(2, 3, frames, 4, 5)
    offset = 2 * torch.randn(2, 27 * len(axes), frames, 4, 5)
    values = (x, offset, torch.randn(4, 3, 3, 3, 3), torch.randn(4))
    return [value.double().requires_grad_() for value in values]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_operator_agrees_with_the_definition_in_value_and_gradient(axes: str, backend: str) -> None:
    values = inputs(axes)
    found, expected = deform_conv3d(*values, axes=axes, backend=backend), plain(*values, axes)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    direction = torch.randn_like(expected)
    gradients = [torch.autograd.grad(result, values, direction) for result in (found, expected)]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("frames", [1, 2, 4])
@pytest.mark.parametrize("axes", ["HW", "THW"])
def test_few_frames_and_zero_offset(axes: str, frames: int) -> None:
    x, offset, weight, bias = inputs(axes, frames)
    torch.testing.assert_close(deform_conv3d(x, offset, weight, bias, axes=axes), plain(x, offset, weight, bias, axes))
    still = deform_conv3d(x, torch.zeros_like(offset), weight, bias, axes=axes)
    torch.testing.assert_close(still, F.conv3d(x, weight, bias, padding=1))


def test_the_operator_refuses() -> None:
    x, offset, weight, bias = inputs("HW")
    for axes in ("", "WH", "HH", "X"):
        with pytest.raises(InputError, match="axes must be"):
            deform_conv3d(x, offset, weight, bias, axes=axes)
    with pytest.raises(InputError, match="offset is"):
        deform_conv3d(x, offset, weight, bias, axes="THW")


def test_parameter_count() -> None:
    assert count(D3DNet()) == 2_579_941


@pytest.mark.parametrize(
    ("frames", "size", "axes"), [(7, (5, 4), "HW"), (3, (3, 6), "HW"), (3, (3, 6), "THW"), (1, (1, 1), "HW")]
)
def test_shapes_and_gradients(frames: int, size: tuple[int, int], axes: str) -> None:
    net = stir(D3DNet(frames=frames, channels=4, axes=axes))
    out = net(torch.rand(2, frames, *size))
    assert out.shape == (2, 1, 4 * size[0], 4 * size[1])
    assert not without_gradient(net, out)


def test_the_middle_frame_is_upsampled_and_features_are_stacked_frame_by_frame() -> None:
    net, clip, seen = D3DNet(frames=5, channels=4), torch.rand(1, 5, 4, 6), {}
    net.clip_blocks.register_forward_hook(lambda *args: seen.update(features=args[2]))
    net.merge.register_forward_pre_hook(lambda _, inputs: seen.update(stacked=inputs[0]))
    nn.init.zeros_(net.reconstruction[-1].weight)
    expected = F.interpolate(clip[:, 2:3], scale_factor=4, mode="bilinear")
    torch.testing.assert_close(net(clip), expected)
    for t in range(5):
        assert torch.equal(seen["stacked"][:, 4 * t : 4 * t + 4], seen["features"][:, :, t])


def test_state_round_trip() -> None:
    clip = torch.rand(1, 3, 4, 4)
    assert_round_trip(lambda: D3DNet(frames=3, channels=4), lambda net: net(clip))


def test_what_is_refused() -> None:
    for options, message in (
        ({"scale": 8}, "scale must be 4"),
        ({"frames": 4}, "frames must be odd"),
        ({"channels": 0}, "channels must be"),
        ({"axes": "XY"}, "axes must be"),
    ):
        with pytest.raises(InputError, match=message):
            D3DNet(**options)  # type: ignore[arg-type]
    for shape in ((1, 1, 4, 4), (1, 7, 1, 4, 4)):
        with pytest.raises(InputError, match="takes"):
            D3DNet(channels=4)(torch.rand(shape))
