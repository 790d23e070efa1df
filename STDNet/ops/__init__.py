"""Modulated deformable convolution: one function, its plain-PyTorch meaning, its back-ends."""

from STDNet.ops.deform_conv import BACKENDS, available_backends, deform_conv2d

__all__ = ["BACKENDS", "available_backends", "deform_conv2d"]
