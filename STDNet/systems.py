"""Every system by name, as a model of depth video: STDNet and its neighbours, in one literal table.

| name | sees | frames that a frame is made from | scales | width | parameters |
|---|---|---|---|---|---|
| stdnet | depth, RGB | 17 | 4, 8, 16 ... | 64 | 19.917 M |
| nearest, bilinear, bicubic | depth | 1 | any | - | none |
| joint_bilateral | depth, RGB | 1 | any | - | none |
| dvsr | depth, RGB | all | 4, 8, 16 ... | 64 | 15.495 M |
| d3dnet | depth | 7 | 4 | 64 | 2.580 M |
| lgtd | depth | 5 | 4 | 64 | 6.88 M |
| dsdmsr | depth | 1 | 2, 4, 8, 16 | - | 0.516 M at x4, with VDSR units 2.665 M |

d3dnet and lgtd were made for colour video; a task of "colour" gives them, and bicubic, as models of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from STDNet.baselines import DSDMSR, DVSR, LGTD, D3DNet, Interpolation, JointBilateral
from STDNet.baselines.depth_video import D3DNetDepth, DSDMSRDepth, LGTDDepth
from STDNet.colour_video import ColourBicubic, ColourVideoModel, D3DNetColour, LGTDColour
from STDNet.errors import InputError
from STDNet.models import DepthVideoModel, STDNet, STDNetConfig

WIDTHS = {"stdnet": 64, "dvsr": 64, "d3dnet": 64, "lgtd": 64}  # the papers'; the other systems have no width to choose
UNTRAINED = ("nearest", "bilinear", "bicubic", "joint_bilateral")  # nothing to train, no weights
TASKS = ("depth", "colour")  # depth video with RGB; colour video alone


@dataclass(frozen=True)
class BaselineConfig:
    """Which neighbouring system; its checkpoint carries it.

    Attributes:
        name: A key of `SYSTEMS` other than "stdnet".
        scale: RGB pixels per depth pixel along each axis.
        channels: Width of the features; None is the paper's, and the only one of a system that has none to choose.
        task: Of `TASKS`.
        unit: What dsdmsr is made of, "srcnn" or "vdsr".
    """

    name: str
    scale: int = 4
    channels: int | None = None
    task: str = "depth"
    unit: str = "srcnn"

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise InputError(f"unknown task {self.task!r}, choose one of {', '.join(TASKS)}")
        if self.task == "colour" and self.name not in COLOUR_SYSTEMS:
            raise InputError(f"{self.name} is no model of colour video; those are {', '.join(COLOUR_SYSTEMS)}")
        if self.name not in SYSTEMS or self.name == "stdnet":
            raise InputError(f"unknown system {self.name!r}, choose one of {', '.join(SYSTEMS)}")
        if self.channels is None:
            object.__setattr__(self, "channels", WIDTHS.get(self.name))
        elif self.name not in WIDTHS:
            raise InputError(f"{self.name}: has no width to choose, got {self.channels} channels")
        if self.unit != BaselineConfig.unit and self.name != "dsdmsr":
            raise InputError(f"{self.name}: has no units to choose, got {self.unit}")


SystemConfig = STDNetConfig | BaselineConfig
# (configuration, back-end of the deformable convolutions) -> model
SYSTEMS: dict[str, Callable[[Any, str], DepthVideoModel]] = {
    "stdnet": lambda c, backend: STDNet(c, deform_backend=backend),
    "nearest": lambda c, _: Interpolation(c.scale, "nearest"),
    "bilinear": lambda c, _: Interpolation(c.scale, "bilinear"),
    "bicubic": lambda c, _: Interpolation(c.scale, "bicubic"),
    "joint_bilateral": lambda c, _: JointBilateral(c.scale),
    "dvsr": lambda c, backend: DVSR(c.scale, channels=c.channels, deform_backend=backend),
    "d3dnet": lambda c, backend: D3DNetDepth(_d3dnet(c, backend)),
    "lgtd": lambda c, backend: LGTDDepth(_lgtd(c, backend)),
    "dsdmsr": lambda c, _: DSDMSRDepth(DSDMSR(c.scale, unit=c.unit)),
}
COLOUR_SYSTEMS: dict[str, Callable[[Any, str], ColourVideoModel]] = {
    "bicubic": lambda c, _: ColourBicubic(c.scale),
    "d3dnet": lambda c, backend: D3DNetColour(_d3dnet(c, backend)),
    "lgtd": lambda c, backend: LGTDColour(_lgtd(c, backend)),
}


def _d3dnet(config: BaselineConfig, backend: str) -> D3DNet:
    assert config.channels is not None  # its `__post_init__` chose
    return D3DNet(config.scale, channels=config.channels, deform_backend=backend)


def _lgtd(config: BaselineConfig, backend: str) -> LGTD:
    assert config.channels is not None
    # The paper's reconstruction has 180 channels beside 64.
    wide = config.channels * 180 // 64
    return LGTD(config.scale, channels=config.channels, reconstruction_channels=wide, deform_backend=backend)


def configuration(
    name: str, scale: int = 4, channels: int | None = None, *, task: str = "depth", **switches: Any
) -> SystemConfig:
    """What `create` makes a model of.

    Args:
        name: A key of `SYSTEMS`.
        scale: RGB pixels per depth pixel along each axis.
        channels: Width; None is the paper's.
        task: Of `TASKS`.
        switches: Other fields of `STDNetConfig`, for "stdnet"; `unit`, for "dsdmsr".

    Raises:
        InputError: An unknown name or switch, a width where none can be chosen, a system that does not know the task.
    """
    known = {"unit"} if name == "dsdmsr" else set()
    if name == "stdnet":
        known = {field.name for field in dataclasses.fields(STDNetConfig)}
    if unknown := set(switches) - known:
        raise InputError(f"{name}: there is no option {', '.join(sorted(unknown))}")
    if name == "stdnet" and task == "depth":
        return STDNetConfig(scale=scale, channels=WIDTHS[name] if channels is None else channels, **switches)
    # STDNet, too: it has no other task, which is refused there.
    return BaselineConfig(name, scale, channels, task, **({} if name == "stdnet" else switches))


def from_plain(values: Mapping[str, Any]) -> SystemConfig:
    """A configuration from the plain values in a checkpoint; without a name, it is STDNet's."""
    return BaselineConfig(**values) if "name" in values else STDNetConfig(**values)


def create(config: SystemConfig, *, deform_backend: str = "auto") -> DepthVideoModel | ColourVideoModel:
    """The model of a configuration, with random weights.

    Raises:
        InputError: A scale or width that the system does not know.
    """
    model: DepthVideoModel | ColourVideoModel
    if isinstance(config, BaselineConfig) and config.task == "colour":
        model = COLOUR_SYSTEMS[config.name](config, deform_backend)
    else:
        model = SYSTEMS[config.name](config, deform_backend)
    model.config = config
    return model


def build(name: str, scale: int = 4, channels: int | None = None, **switches: Any) -> DepthVideoModel:
    """Make a system of depth video by name, untrained; arguments and errors as in `configuration` and `create`."""
    model = create(configuration(name, scale, channels, **switches))
    if not isinstance(model, DepthVideoModel):
        raise InputError(f"build: makes models of depth video; take create(configuration({name!r}, task='colour'))")
    return model
