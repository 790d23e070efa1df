"""Training: the configuration, the loop, and what makes a run go on after a kill."""

from STDNet.training.config import TrainConfig
from STDNet.training.loop import train

__all__ = ["TrainConfig", "train"]
