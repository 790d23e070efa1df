"""Modulated deformable convolution: one function, its plain-PyTorch meaning, its back-ends."""

from STDNet.ops.deform_conv import BACKENDS, available_backends, deform_conv2d
from STDNet.ops.precision import without_autocast

__all__ = ["BACKENDS", "available_backends", "deform_conv2d", "without_autocast"]
