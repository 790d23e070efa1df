"""The network of the paper, figure 2 from left to right."""

from STDNet.models.stdnet import StageOutput, STDNet, STDNetConfig, STDNetOutput
from STDNet.models.video_model import DepthOutput, DepthVideoModel, ModelConfig

__all__ = [
    "DepthOutput",
    "DepthVideoModel",
    "ModelConfig",
    "STDNet",
    "STDNetConfig",
    "STDNetOutput",
    "StageOutput",
]
