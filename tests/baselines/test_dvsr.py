"""DVSR: parameter counts, flow, alignment by hand, which frames meet, shapes."""

from __future__ import annotations

import pytest
import torch
from baseline_checks import assert_round_trip, count, stir, without_gradient
from torch import Tensor, nn

from STDNet.baselines import DVSR
from STDNet.baselines.dvsr import Flows, Propagation, SecondOrderAlignment
from STDNet.baselines.spynet import SPyNet, warp
from STDNet.errors import InputError


def clip(frames: int, low: tuple[int, int] = (2, 3), scale: int = 4) -> tuple[Tensor, Tensor]:
    """Random depth and colour of one clip."""
    height, width = (scale * n for n in low)
    return torch.rand(1, frames, 1, *low), torch.rand(1, frames, 3, height, width)


def test_parameter_counts() -> None:
    net = DVSR()
    assert round(count(net) / 1e6, 3) == 15.495
    assert [count(stage.flow) for stage in net.stages] == [1_440_300] * 2


def test_warp_by_hand() -> None:
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    flow = torch.zeros(1, 2, 3, 4)
    flow[:, 0], flow[:, 1] = 1.5, 1  # right, down
    expected = torch.tensor([[5.5, 6.5, 3.5, 0], [9.5, 10.5, 5.5, 0], [0, 0, 0, 0]])
    torch.testing.assert_close(warp(x, flow)[0, 0], expected)
    torch.testing.assert_close(warp(x, flow, outside="border")[0, 0, 2], torch.tensor([9.5, 10.5, 11, 11]))


def test_flow_is_in_pixels_of_the_image() -> None:
    net = SPyNet()
    for value in net.parameters():
        nn.init.zeros_(value)
    net.levels[-1][-1].bias.data = torch.tensor([2.0, 3.0])  # found at 32 x 64, for an image of 16 x 48
    flow = net(*torch.rand(2, 1, 3, 16, 48))
    torch.testing.assert_close(flow[0].mean((1, 2)), torch.tensor([2 * 48 / 64, 3 * 16 / 32]))
    net.levels[-2][-1].bias.data = torch.tensor([1.0, 0.0])  # at half the size: counts twice
    assert net(*torch.rand(2, 1, 3, 32, 64))[0, 0].mean().item() == pytest.approx(4)


def test_alignment_starts_as_the_flow_says() -> None:
    align = SecondOrderAlignment(8, "plain")
    nn.init.zeros_(align.weight)
    align.weight.data[:, :8, 1, 1] = 2 * torch.eye(8)  # the masks start at 1 / 2
    align.weight.data[:, 8:, 1, 1] = 20 * torch.eye(8)
    current, first, second = torch.rand(3, 2, 8, 5, 6)
    flow1, flow2 = 3 * torch.randn(2, 2, 2, 5, 6)
    expected = warp(first, flow1) + 10 * warp(second, flow2)
    torch.testing.assert_close(align(current, first, second, flow1, flow2), expected, rtol=1e-4, atol=1e-4)


class Witness(nn.Module):
    """In place of the alignment: notes its flows, returns the first neighbour."""

    def __init__(self) -> None:
        super().__init__()
        self.flows: list[tuple[float, float]] = []

    def forward(self, current: Tensor, first: Tensor, second: Tensor, flow1: Tensor, flow2: Tensor) -> Tensor:
        self.flows.append((flow1[0, 0, 4, 4].item(), flow2[0, 0, 4, 4].item()))
        return first


@pytest.mark.parametrize("backward", [False, True])
def test_flows_of_a_pass(backward: bool) -> None:
    propagation = Propagation(8, 0, "auto")
    propagation.align = Witness()  # type: ignore[assignment]
    # To the next frame 1, 2, 3 cells; to the previous frame -1, -2, -3.
    steps = torch.arange(1.0, 4).reshape(1, 3, 1, 1, 1).expand(1, 3, 2, 9, 9)
    out = propagation([torch.rand(1, 4, 8, 9, 9)], Flows(steps, -steps), backward)
    expected = [(3, 0), (2, 5), (1, 3)] if backward else [(-1, 0), (-2, -3), (-3, -5)]
    torch.testing.assert_close(torch.tensor(propagation.align.flows), torch.tensor(expected).float())
    assert out.shape == (1, 4, 8, 9, 9)


def test_passes_are_recurrent() -> None:
    net = stir(DVSR(channels=8)).eval()
    lr, rgb = clip(5)
    with torch.no_grad():
        before = net(lr, rgb).depth
        lr[:, 0] += 1
        assert (net(lr, rgb).depth[:, -1] - before[:, -1]).abs().max() > 0


def test_gradients_reach_every_parameter() -> None:
    net = stir(DVSR(channels=8))
    assert not without_gradient(net, net(*clip(3)).depth)


def test_one_frame_leaves_flow_and_alignment_alone() -> None:
    net = stir(DVSR(channels=8))
    lr, rgb = clip(1)
    out = net(lr, rgb)
    assert out.depth.shape == (1, 1, 1, 8, 12)
    missed = without_gradient(net, out.depth)
    assert missed == {name for name, _ in net.named_parameters() if ".flow." in name or ".align." in name}


@pytest.mark.parametrize(("scale", "size", "round_up"), [(4, (9, 6), True), (8, (17, 15), False), (12, (12, 25), True)])
@torch.no_grad()
def test_sizes_that_are_no_multiple_of_the_scale(scale: int, size: tuple[int, int], round_up: bool) -> None:
    low = [-(-n // scale) if round_up else n // scale for n in size]
    lr, rgb = torch.rand(1, 2, 1, *low), torch.rand(1, 2, 3, *size)
    out = stir(DVSR(scale, channels=8))(lr, rgb)
    assert out.depth.shape == (1, 2, 1, *size)
    assert [stage.shape for stage in out.stages] == [out.depth.shape] * 2


def test_an_untrained_network_is_bilinear_upsampling() -> None:
    lr, rgb = clip(2)
    expected = nn.functional.interpolate(lr[0], scale_factor=4, mode="bilinear")
    torch.testing.assert_close(DVSR(channels=8)(lr, rgb).depth[0], expected)


def test_precision() -> None:
    lr, rgb = clip(2)
    net = stir(DVSR(channels=8)).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert net(lr, rgb).depth.dtype == torch.float32
    with torch.no_grad():
        assert net.double()(lr.double(), rgb.double()).depth.dtype == torch.float64


def test_bf16_keeps_the_small_differences_of_depth() -> None:
    lr, rgb = 0.3 + 0.02 * torch.rand(1, 3, 1, 8, 8), torch.rand(1, 3, 3, 32, 32)
    net = DVSR(channels=8).eval()
    for value in net.parameters():
        if not value.any():
            value.data = 0.05 * torch.randn_like(value)
    with torch.no_grad():
        exact = net(lr, rgb).depth
        with torch.autocast("cpu", torch.bfloat16):
            half = net(lr, rgb).depth
    upsampled = nn.functional.interpolate(lr[0], scale_factor=4, mode="bilinear")
    assert (half - exact).abs().mean() < 0.03 * (exact - upsampled).abs().mean()


def test_state_round_trip() -> None:
    lr, rgb = clip(2)
    assert_round_trip(lambda: DVSR(channels=8), lambda net: net(lr, rgb).depth)


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="scale must be a multiple of 4"):
        DVSR(6)
    with pytest.raises(InputError, match="channels must be a multiple of 8"):
        DVSR(channels=12)
    net = DVSR(channels=8)
    for lr, rgb in (((1, 2, 1, 4, 4), (1, 2, 3, 20, 16)), ((1, 2, 1, 4, 4), (1, 3, 3, 16, 16))):
        with pytest.raises(InputError, match="dvsr"):
            net(torch.rand(lr), torch.rand(rgb))
