"""The contract between the rooms."""

from __future__ import annotations

import pytest
import torch

from STDNet import Clip, InputError


def _clip(**changes: object) -> Clip:
    values = {
        "rgb": torch.rand(2, 3, 8, 16),
        "lr": torch.rand(2, 1, 2, 4),
        "gt": torch.rand(2, 1, 8, 16),
        "valid": torch.ones(2, 1, 8, 16, dtype=torch.bool),
        "name": "room[0:2]",
    }
    return Clip(**values | changes)  # type: ignore[arg-type]


def test_a_good_clip() -> None:
    clip = _clip()
    assert len(clip) == 2 and clip.scale == 4
    assert _clip(gt=None, valid=None).gt is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rgb": torch.rand(2, 1, 8, 16)}, "rgb must be"),
        ({"lr": torch.rand(2, 2, 4)}, "lr must be"),
        ({"lr": torch.rand(3, 1, 2, 4)}, "does not divide"),
        ({"lr": torch.rand(2, 1, 4, 4)}, "does not divide"),
        ({"gt": torch.rand(2, 1, 8, 8)}, "gt"),
        ({"valid": torch.rand(2, 1, 8, 16)}, "bool"),
    ],
)
def test_shapes_that_do_not_match(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _clip(**changes)
