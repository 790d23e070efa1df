"""DSDMSR: parameter counts, the order of the phases, levels and fusion."""

from __future__ import annotations

import pytest
import torch
from baseline_checks import assert_round_trip, count, without_gradient
from torch import Tensor, nn

from STDNet.baselines import DSDMSR
from STDNet.baselines.dsdmsr import UNITS, Doubling
from STDNet.errors import InputError


@pytest.mark.parametrize(("unit", "each", "millions"), [("srcnn", 57_281, 0.745), ("vdsr", 296_064, 3.849)])
def test_parameter_counts(unit: str, each: int, millions: float) -> None:
    assert count(UNITS[unit]()) == each
    assert round(count(DSDMSR(8, unit=unit)) / 1e6, 3) == millions
    assert count(DSDMSR(16, unit=unit)) == 17 * each


class Constant(nn.Module):
    """A unit that answers with a number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return torch.full_like(x, self.value)


def test_phases_are_interleaved_row_by_row() -> None:
    doubling = Doubling("srcnn")
    doubling.phases = nn.ModuleList(Constant(value) for value in (1, 2, 3, 4))
    assert doubling(torch.zeros(1, 1, 1, 2))[0, 0].tolist() == [[1, 2, 1, 2], [3, 4, 3, 4]]


def test_fusion_sums_the_resized_levels() -> None:
    net = DSDMSR(8)
    for number, doubling in enumerate(net.doublings):
        doubling.phases = nn.ModuleList(Constant(10.0**number) for _ in range(4))
    net.fusion = nn.Identity()  # type: ignore[assignment]
    out = net(torch.rand(1, 1, 2, 3))
    torch.testing.assert_close(out.fused, torch.full((1, 1, 16, 24), 111.0))


@pytest.mark.parametrize("unit", ["srcnn", "vdsr"])
@pytest.mark.parametrize("scale", [2, 4, 8, 16])
def test_levels_and_gradients(unit: str, scale: int) -> None:
    net = DSDMSR(scale, unit=unit)
    out = net(torch.rand(2, 1, 3, 1))
    assert [tuple(level.shape[-2:]) for level in out.levels] == [(3 * s, s) for s in (2, 4, 8, 16) if s <= scale]
    assert out.fused.shape == (2, 1, 3 * scale, scale)
    assert not without_gradient(net, out.fused)


@pytest.mark.parametrize("unit", ["srcnn", "vdsr"])
def test_state_round_trip(unit: str) -> None:
    depth = torch.rand(1, 1, 3, 2)
    assert_round_trip(lambda: DSDMSR(4, unit=unit), lambda net: net(depth).fused)


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="scale must be one of"):
        DSDMSR(3)
    with pytest.raises(InputError, match="unknown unit"):
        DSDMSR(4, unit="edsr")
    with pytest.raises(InputError, match="takes depth"):
        DSDMSR(4)(torch.rand(1, 3, 4, 4))
