"""The neighbouring systems, one paper one file, written anew from descriptions of the papers.

| name | what it is | call |
|---|---|---|
| nearest, bilinear, bicubic | interpolation | net(lr [B,T,1,h,w], rgb [B,T,3,H,W]).depth [B,T,1,H,W] |
| joint_bilateral | RGB-guided filter without training | the same |
| dvsr | flow-guided video network | the same |
| d3dnet | deformable 3-D convolutions, x4 | net(clip [B,7,h,w]) -> [B,1,4h,4w] |
| lgtd | temporal differences of RGB video, x4 | net(clip [B,5,3,h,w]) -> [B,3,4h,4w] |
| dsdmsr | depth alone, supervised at every doubling | net(depth [N,1,h,w]).fused [N,1,H,W], .levels |
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import nn

from STDNet.baselines.d3dnet import D3DNet, deform_conv3d
from STDNet.baselines.dsdmsr import DSDMSR, DSDMSROutput
from STDNet.baselines.dvsr import DVSR, DVSROutput
from STDNet.baselines.interpolation import (
    Interpolation,
    InterpolationOutput,
    JointBilateral,
    joint_bilateral,
    upsample,
)
from STDNet.baselines.lgtd import LGTD
from STDNet.errors import InputError

__all__ = [
    "BASELINES",
    "DSDMSR",
    "DVSR",
    "LGTD",
    "D3DNet",
    "DSDMSROutput",
    "DVSROutput",
    "Interpolation",
    "InterpolationOutput",
    "JointBilateral",
    "build",
    "deform_conv3d",
    "joint_bilateral",
    "upsample",
]

BASELINES: dict[str, Callable[..., nn.Module]] = {
    "nearest": functools.partial(Interpolation, mode="nearest"),
    "bilinear": functools.partial(Interpolation, mode="bilinear"),
    "bicubic": functools.partial(Interpolation, mode="bicubic"),
    "joint_bilateral": JointBilateral,
    "dvsr": DVSR,
    "d3dnet": D3DNet,
    "lgtd": LGTD,
    "dsdmsr": DSDMSR,
}


def build(name: str, scale: int, **options: Any) -> nn.Module:
    """Make one of the neighbouring systems, untrained.

    Args:
        name: One of `BASELINES`; the table above says how it is called.
        scale: High-resolution pixels per low-resolution pixel along each axis.
        options: The other arguments of its class, by name.

    Raises:
        InputError: An unknown name, or a scale or option that the system does not know.
    """
    if name not in BASELINES:
        raise InputError(f"unknown baseline {name!r}, choose one of {', '.join(BASELINES)}")
    try:
        return BASELINES[name](scale, **options)
    except TypeError as error:
        raise InputError(f"baseline {name}: {error}") from None
