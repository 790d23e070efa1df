"""The neighbouring systems, one paper one file, written anew from descriptions of the papers.

| name | what it is | call |
|---|---|---|
| nearest, bilinear, bicubic | interpolation | net(lr [B,T,1,h,w], rgb [B,T,3,H,W]).depth [B,T,1,H,W] |
| joint_bilateral | RGB-guided filter without training | the same |
| dvsr | flow-guided video network | the same |
| d3dnet | deformable 3-D convolutions, x4 | net(clip [B,7,h,w]) -> [B,1,4h,4w] |
| lgtd | temporal differences of RGB video, x4 | net(clip [B,5,3,h,w]) -> [B,3,4h,4w] |
| dsdmsr | depth alone, supervised at every doubling | net(depth [N,1,h,w]).fused [N,1,H,W], .levels |

`depth_video` makes the last three take depth video like the others; `STDNet.systems.build` makes any of them by name.
"""

from __future__ import annotations

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

__all__ = [
    "DSDMSR",
    "DVSR",
    "LGTD",
    "D3DNet",
    "DSDMSROutput",
    "DVSROutput",
    "Interpolation",
    "InterpolationOutput",
    "JointBilateral",
    "deform_conv3d",
    "joint_bilateral",
    "upsample",
]
