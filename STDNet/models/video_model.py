"""What a model of depth video is to the rest of the package: how it is called, and how far it looks in time."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn


class DepthOutput(Protocol):
    """What a call gives, at least."""

    @property
    def depth(self) -> Tensor:
        """[B, T, 1, H, W] in network units."""


class ModelConfig(Protocol):
    """What a model is, for its checkpoint; a dataclass of plain values."""

    @property
    def name(self) -> str:
        """Of the system, such as "stdnet" or "dvsr"."""

    @property
    def scale(self) -> int:
        """RGB pixels per depth pixel along each axis."""


def channels_last(model: nn.Module) -> None:
    """Keep the weights of 2-D convolutions, and so their features, with the channels last in memory; values stay.

    `model.to(memory_format=...)` does the same where there are no 3-D convolutions, which it refuses.
    """
    for value in model.parameters():
        if value.dim() == 4:
            value.data = value.data.contiguous(memory_format=torch.channels_last)


class DepthVideoModel(nn.Module):
    """STDNet and its neighbours: net(lr [B, T, 1, H/s, W/s], rgb [B, T, 3, H, W]).depth is [B, T, 1, H, W].

    T may be 1, and H and W need not be multiples of s. Training also reads `out.intermediate`, where there is deep
    supervision: further depths [B, T, 1, ., .] of any size.

    Attributes:
        config: What the model is.
        meta: What is known of its weights, filled in by whoever loads them.
        reach: Frames to either side that a frame is made from. A frame that sees more of its video has the same depth,
            unless the model is recurrent: then it is the context that a piece of a long video is given.
        chunk: Frames that a stream makes at once.
        deep_weight: Weight of the loss of each intermediate depth.
        deep_share: First part of the training, 0 to 1, in which they count.
    """

    config: ModelConfig
    reach: int = 0
    chunk: int = 4
    deep_weight: ClassVar[float] = 0.0
    deep_share: ClassVar[float] = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.meta: dict[str, Any] = {}
