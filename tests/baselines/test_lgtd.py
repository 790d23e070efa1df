"""LGTD: parameter counts, the differences, shapes."""

from __future__ import annotations

import pytest
import torch
from baseline_checks import assert_round_trip, count, stir, without_gradient
from torch import nn

from STDNet.baselines import LGTD
from STDNet.baselines.lgtd import LongTermDifference, MultiScaleAlignment, ShortTermDifference
from STDNet.errors import InputError


def small() -> LGTD:
    """A narrow network."""
    return LGTD(channels=8, reconstruction_channels=12)


def test_parameter_counts() -> None:
    net = LGTD()
    long_term = count(net.long_term) - count(net.long_term.close)
    parts = [count(net.short_term), count(net.align), count(net.fusion), long_term]
    assert [round(part / 1e6, 3) for part in parts] == [1.038, 0.686, 0.324, 0.480]
    assert round(count(net) / 1e6, 2) == 6.88


def test_short_term_difference_of_a_still_clip_is_that_of_its_frame() -> None:
    module = ShortTermDifference(8)
    still = torch.rand(1, 1, 3, 6, 8).expand(-1, 5, -1, -1, -1)
    moving = still.clone()
    moving[:, 4] += torch.rand(1, 3, 6, 8)
    for conv in (module.difference_conv[0], module.merge[0]):
        nn.init.zeros_(conv.bias)
    assert not module.merge(torch.cat([module.difference_conv(still[:, 0] - still[:, 1])] * 4, 1)).any()
    assert not torch.equal(module(moving), module(still))


def test_long_term_difference_sees_the_order_of_the_frames() -> None:
    """The list is reversed as a copy: A - B is not zero unless the clip reads the same backwards."""
    module = LongTermDifference(8)
    for conv in (module.full_conv, module.half_conv):  # leave the difference alone
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
    nn.init.zeros_(module.expand.bias)
    frames = list(torch.rand(5, 1, 8, 4, 4))
    seen = []
    module.expand.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    before = [frame.clone() for frame in frames]
    module(frames)
    assert seen[0].abs().max() > 0.01
    torch.testing.assert_close(seen[1], -seen[0])
    assert all(torch.equal(a, b) for a, b in zip(before, frames, strict=True))
    seen.clear()
    module([frames[i] for i in (0, 1, 2, 1, 0)])
    assert not seen[0].any()


def test_alignment_starts_where_the_neighbour_is() -> None:
    module = MultiScaleAlignment(8, "plain")
    nn.init.zeros_(module.weight)
    module.weight.data[:, :, 1, 1] = 2 * torch.eye(8)  # the masks start at 1 / 2
    neighbour, middle = torch.rand(2, 1, 8, 4, 5)
    torch.testing.assert_close(module(neighbour, middle), neighbour)


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 2)])
def test_shapes_and_gradients(size: tuple[int, int]) -> None:
    net = stir(small())
    out = net(torch.rand(2, 5, 3, *size))
    assert out.shape == (2, 3, 4 * size[0], 4 * size[1])
    assert not without_gradient(net, out)


def test_state_round_trip() -> None:
    clip = torch.rand(1, 5, 3, 4, 4)
    assert_round_trip(small, lambda net: net(clip))


def test_what_is_refused() -> None:
    for options, message in (
        ({"scale": 2}, "scale must be 4"),
        ({"channels": 12}, "multiple of 8"),
        ({"reconstruction_channels": 0}, "at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            LGTD(**options)  # type: ignore[arg-type]
    for shape in ((1, 1, 3, 4, 4), (1, 7, 3, 4, 4), (1, 5, 1, 4, 4), (5, 3, 4, 4)):
        with pytest.raises(InputError, match="takes"):
            small()(torch.rand(shape))
