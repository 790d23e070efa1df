"""DSDMSR: depth alone, doubled step by step, every step supervised, all steps fused.

Paper: Song, Dai, Qin, "Deeply supervised depth map super-resolution as novel view synthesis", IEEE TCSVT 29(8), 2019
(arXiv 1808.08688). Written from a description of the paper and of a third-party implementation.
How close: units, chain and fusion as there, parameter counts equal (57,281 and 296,064 a unit). Like that
implementation, and unlike the paper's figure, the input itself is not fed to the fusion and the closing "depth field
statistic" refinement is left out. Our choice, where nothing is stated: the levels are resized bilinearly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from STDNet.errors import InputError

SCALES = (2, 4, 8, 16)


@dataclass(frozen=True)
class DSDMSROutput:
    """The result.

    Attributes:
        levels: Depth at x2, x4 ... up to the scale, [N, 1, 2h, 2w], [N, 1, 4h, 4w] ...; each has its own ground truth.
        fused: [N, 1, s * h, s * w], the answer.
    """

    levels: list[Tensor]
    fused: Tensor


class SRCNNUnit(nn.Sequential):
    """9x9, 5x5 and 5x5 convolutions, [N, 1, h, w] -> [N, 1, h, w]; 57,281 parameters."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 64, 9, padding=4),
            nn.ReLU(),
            nn.Conv2d(64, 32, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(32, 1, 5, padding=2),
        )


class VDSRUnit(nn.Sequential):
    """Ten 3x3 convolutions without biases and an identity skip, [N, 1, h, w] -> [N, 1, h, w]; 296,064 parameters."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in [(1, 64), *[(64, 64)] * 8, (64, 1)]:
            conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            nn.init.normal_(conv.weight, std=(2 / (9 * outputs)) ** 0.5)
            layers += [conv, nn.ReLU()]
        super().__init__(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, h, w] -> [N, 1, h, w]."""
        return x + super().forward(x)


UNITS: dict[str, type[nn.Sequential]] = {"srcnn": SRCNNUnit, "vdsr": VDSRUnit}


class Doubling(nn.Module):
    """Twice the size: four units on the low grid make one phase of the 2 x 2 sub-pixels each, row by row."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.phases = nn.ModuleList(UNITS[unit]() for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, h, w] -> [N, 1, 2h, 2w]."""
        return F.pixel_shuffle(torch.cat([phase(x) for phase in self.phases], 1), 2)


class DSDMSR(nn.Module):
    """Chained doublings and the fusion of what they made; any size of input.

    Args:
        scale: 2, 4, 8 or 16.
        unit: "srcnn" (0.745 M parameters at x8) or "vdsr" (3.849 M).
    """

    def __init__(self, scale: int, *, unit: str = "srcnn") -> None:
        super().__init__()
        if scale not in SCALES:
            raise InputError(f"dsdmsr: scale must be one of {SCALES}, got {scale}")
        if unit not in UNITS:
            raise InputError(f"dsdmsr: unknown unit {unit!r}, choose one of {', '.join(UNITS)}")
        self.scale = scale
        self.doublings = nn.ModuleList(Doubling(unit) for _ in range(SCALES.index(scale) + 1))
        self.fusion = UNITS[unit]()

    def forward(self, depth: Tensor) -> DSDMSROutput:
        """Super-resolve depth maps.

        Args:
            depth: [N, 1, h, w], in any unit (the paper's networks saw 0..1).

        Raises:
            InputError: Another shape.
        """
        if depth.dim() != 4 or depth.shape[1] != 1:
            raise InputError(f"dsdmsr takes depth [N, 1, h, w], got {tuple(depth.shape)}")
        levels = []
        for doubling in self.doublings:
            depth = doubling(depth)
            levels.append(depth)
        size = depth.shape[-2:]
        total = depth
        for level in levels[:-1]:
            total = total + F.interpolate(level, size=size, mode="bilinear", align_corners=False)
        return DSDMSROutput(levels, self.fusion(total))
