"""The table of names."""

from __future__ import annotations

import pytest
import torch

from STDNet import baselines
from STDNet.baselines import BASELINES, build
from STDNet.errors import InputError

SMALL = {
    "dvsr": {"channels": 8},
    "d3dnet": {"channels": 4, "frames": 3},
    "lgtd": {"channels": 8, "reconstruction_channels": 8},
}
GUIDED = ("nearest", "bilinear", "bicubic", "joint_bilateral", "dvsr")


@pytest.mark.parametrize("name", BASELINES)
def test_every_name_builds(name: str) -> None:
    net = build(name, 4, **SMALL.get(name, {}))
    assert net.scale == 4
    if name in GUIDED:
        assert net(torch.rand(1, 2, 1, 2, 3), torch.rand(1, 2, 3, 8, 12)).depth.shape == (1, 2, 1, 8, 12)


def test_unknown_names_and_scales_are_refused() -> None:
    with pytest.raises(InputError, match="unknown baseline 'edvr', choose one of nearest"):
        build("edvr", 4)
    for name in BASELINES:
        with pytest.raises(InputError, match="scale must be"):
            build(name, 0)


def test_public_names_exist() -> None:
    assert all(hasattr(baselines, name) for name in baselines.__all__)


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(InputError, match="dvsr.*width"):
        build("dvsr", 4, width=3)
