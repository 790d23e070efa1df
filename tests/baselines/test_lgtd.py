"""LGTD: parameter counts, the differences, shapes."""

from __future__ import annotations

import pytest
import torch
from baseline_checks import assert_round_trip, count, stir, without_gradient
from torch import Tensor, nn
from torch.nn import functional as F

from STDNet.baselines import LGTD
from STDNet.baselines.lgtd import (
    DifferenceCompensation,
    LongTermDifference,
    MultiScaleAlignment,
    ShortTermDifference,
    TemporalSpatialAttention,
)
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


class First(nn.Module):
    """The first channels of what comes in."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :8]


def test_short_term_difference_by_hand() -> None:
    """Half of what is made of target and differences, half of what is made of the differences alone."""
    module = ShortTermDifference(8)
    module.fine, module.coarse = First(), First()  # type: ignore[assignment]
    clip = torch.rand(1, 5, 3, 6, 8)
    changes = torch.cat([module.difference_conv(clip[:, t] - clip[:, t + 1]) for t in range(4)], 1)
    changes = F.interpolate(module.merge(changes), size=(6, 8), mode="bilinear")[:, :8]
    target = module.target_conv(clip[:, 2])[:, :8]
    torch.testing.assert_close(module(clip), 0.25 * target + 0.75 * changes)


def test_short_term_difference_of_a_still_clip_is_that_of_its_frame() -> None:
    module = ShortTermDifference(8)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    frame = torch.rand(1, 3, 6, 8)
    still = module(frame[:, None].expand(-1, 5, -1, -1, -1))
    torch.testing.assert_close(still, 0.5 * module.fine(0.5 * module.target_conv(frame)))


def test_compensation_by_hand() -> None:
    module = DifferenceCompensation(8)
    module.blocks = nn.Sequential()  # gives back what comes in
    feature, difference = torch.rand(2, 1, 8, 4, 4)
    torch.testing.assert_close(module(feature, difference), 2 * feature - difference)


def test_long_term_difference_adds_to_the_features() -> None:
    module = LongTermDifference(8)
    nn.init.zeros_(module.expand.weight)  # an attention of 1 / 2 from each side
    nn.init.zeros_(module.expand.bias)
    frames = list(torch.rand(5, 1, 8, 4, 4))
    torch.testing.assert_close(module(frames), module.close(2 * torch.cat(frames, 1)))


def test_fusion_weighs_frames_by_likeness_to_the_middle_one() -> None:
    module = TemporalSpatialAttention(8)
    aligned = torch.randn(1, 5, 8, 4, 4)
    seen: dict[str, Tensor] = {}
    module.embed_middle.register_forward_pre_hook(lambda _, inputs: seen.update(middle=inputs[0]))
    module.fuse.register_forward_pre_hook(lambda _, inputs: seen.update(stacked=inputs[0]))
    module(aligned)
    assert torch.equal(seen["middle"], aligned[:, 2])
    middle = module.embed_middle(aligned[:, 2])
    for t in range(5):
        likeness = torch.sigmoid((module.embed(aligned[:, t]) * middle).sum(1, keepdim=True))
        torch.testing.assert_close(seen["stacked"][:, 8 * t : 8 * t + 8], aligned[:, t] * likeness)


def test_every_frame_is_aligned_to_the_middle_one() -> None:
    net, seen = small(), []
    net.align.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    clip = torch.rand(1, 5, 3, 4, 6)
    net(clip)
    for t, (neighbour, middle) in enumerate(seen):
        torch.testing.assert_close(neighbour, net.features(clip[:, t]))
        torch.testing.assert_close(middle, net.features(clip[:, 2]))
    assert len(seen) == 5


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
