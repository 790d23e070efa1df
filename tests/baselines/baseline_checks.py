"""What every network is asked: does training reach each weight, and do weights survive a round trip."""

from __future__ import annotations

import io
from collections.abc import Callable

import torch
from torch import Tensor, nn


def count(net: nn.Module) -> int:
    """Its parameters."""
    return sum(value.numel() for value in net.parameters())


def stir(net: nn.Module) -> nn.Module:
    """Add noise to every weight, so that no branch is silent because it starts at zero."""
    for value in net.parameters():
        value.data.add_(0.05 * torch.randn_like(value))
    return net


def without_gradient(net: nn.Module, result: Tensor) -> set[str]:
    """Names of the parameters that a loss on the result does not reach, or only with zeros."""
    (result * torch.randn_like(result)).sum().backward()
    return {name for name, value in net.named_parameters() if value.grad is None or not value.grad.any()}


def assert_round_trip(make: Callable[[], nn.Module], call: Callable[[nn.Module], Tensor]) -> None:
    """Weights that are saved and read into a new network give the same result."""
    net, other = stir(make()), make()
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    with torch.no_grad():
        expected = call(net)
        assert not torch.equal(call(other), expected)
        other.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(call(other), expected)
