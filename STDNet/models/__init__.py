"""The network of the paper, figure 2 from left to right."""

from STDNet.models.stdnet import StageOutput, STDNet, STDNetConfig, STDNetOutput

__all__ = ["STDNet", "STDNetConfig", "STDNetOutput", "StageOutput"]
