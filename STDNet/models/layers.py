"""The small parts: residual block, residual group with channel attention, upsampling. Shapes [N, C, h, w]."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from STDNet.ops import without_autocast

LEAK = 0.1  # slope of the leaky ReLU everywhere but inside the residual groups
GROUP_LEAK = 0.2


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size (or halves it, with stride 2)."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1)


def activated_conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that a leaky ReLU follows, initialised so that the signal keeps its strength.

    PyTorch's default shrinks it to 0.4 of it at every layer; behind ten layers the features are all bias, and training
    stands still at bilinear upsampling.
    """
    conv = conv3x3(inputs, outputs, stride)
    nn.init.kaiming_normal_(conv.weight, a=LEAK)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def start_at_zero(layer: nn.Module) -> None:
    """Begin with an output of zero: no offset, no residual."""
    for value in layer.parameters():
        nn.init.zeros_(value)


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), without normalisation, initialised small: Kaiming normal times 0.1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, channels)
        self.conv2 = conv3x3(channels, channels)
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight)
            conv.weight.data.mul_(0.1)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, C, h, w]."""
        return x + self.conv2(torch.relu(self.conv1(x)))


class ConvBlock(nn.Module):
    """A convolution to `outputs` channels, leaky ReLU, then `blocks` residual blocks.

    Args:
        inputs: Channels of the input.
        outputs: Width.
        blocks: Residual blocks.
        precise: Keep the first convolution in fp32 under autocast, for an input that holds depth.
    """

    def __init__(self, inputs: int, outputs: int, blocks: int, precise: bool = False) -> None:
        super().__init__()
        self.precise = precise
        self.conv = activated_conv3x3(inputs, outputs)
        self.activation = nn.LeakyReLU(LEAK)
        self.blocks = nn.Sequential(*(ResidualBlock(outputs) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h, w]."""
        return self.blocks(self.activation(precisely(self.conv, x) if self.precise else self.conv(x)))


class ChannelAttention(nn.Module):
    """Scale every channel by a sigmoid of the image-wide channel means (Zhang et al., RCAN, ECCV 2018)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        squeezed = max(1, channels // reduction)
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, C, h, w]."""
        mean = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.excite(torch.relu(self.squeeze(mean))))


class ResidualChannelAttentionBlock(nn.Module):
    """RCAB: x + attention(conv(leaky(conv(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, channels)
        self.activation = nn.LeakyReLU(GROUP_LEAK)
        self.conv2 = conv3x3(channels, channels)
        self.attention = ChannelAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, C, h, w]."""
        return x + self.attention(self.conv2(self.activation(self.conv1(x))))


class ResidualGroup(nn.Module):
    """x + conv(RCAB(... RCAB(x)))."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualChannelAttentionBlock(channels) for _ in range(blocks)))
        self.conv = conv3x3(channels, channels)
        # Nearly the identity at the start: eight groups follow one another in time, twelve in all.
        self.conv.weight.data.mul_(0.1)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, C, h, w]."""
        return x + self.conv(self.blocks(x))


class PixelShuffleUpsample(nn.Module):
    """Twice the size: a convolution to 4C channels, then pixel shuffle."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = activated_conv3x3(channels, 4 * channels)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, C, 2h, 2w]."""
        return self.shuffle(self.conv(x))


class Encoder(nn.Sequential):
    """Encode the guide (stride 2: from H x W to the grid H/4 x W/4) or the depth (stride 1: on the grid already).

    Args:
        inputs: Channels of the input.
        channels: Width.
        stride: Of two of the convolutions.
        gains: For every input, how strongly the first kernels start to answer to its differences.
        precise: Keep the first convolution in fp32 under autocast: depth in bf16 would lose its small differences.
    """

    def __init__(self, inputs: int, channels: int, stride: int, gains: tuple[float, ...], precise: bool) -> None:
        first = activated_conv3x3(inputs, channels)
        start_from_differences(first, gains)
        super().__init__(
            first,
            nn.LeakyReLU(LEAK),
            activated_conv3x3(channels, channels, stride),
            nn.LeakyReLU(LEAK),
            ConvBlock(channels, channels, blocks=1),
            activated_conv3x3(channels, channels, stride),
            nn.LeakyReLU(LEAK),
            ConvBlock(channels, channels, blocks=2),
        )
        self.precise = precise

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] or [N, inputs, h, w] -> [N, C, h, w]."""
        first, *rest = self
        x = precisely(first, x) if self.precise else first(x.to(next(first.parameters()).dtype))
        for layer in rest:
            x = layer(x)
        return x


def precisely(conv: nn.Module, x: Tensor) -> Tensor:
    """The convolution in the type of its weights, under autocast too."""
    with without_autocast(x.device):
        return conv(x.to(next(conv.parameters()).dtype))


@torch.no_grad()
def start_from_differences(conv: nn.Conv2d, gains: tuple[float, ...]) -> None:
    """Initialise a first convolution: kernels without a mean, times the gain of their input.

    What the network is there for is small beside the depth itself: one step of the quantised sensor is 1/100 to 1/400
    of the range. From ordinary random kernels the features are all level, and training stands still at bilinear
    upsampling for thousands of steps; from differences it leaves within a few hundred. The first two kernels hold the
    level itself, one for each side of the leaky ReLU.
    """
    weight = conv.weight
    weight -= weight.mean((2, 3), keepdim=True)
    weight *= torch.tensor(gains)[:, None, None]
    if len(weight) > 2:
        weight[:2] = 0
        weight[0, :, 1, 1], weight[1, :, 1, 1] = 1 / len(gains), -1 / len(gains)
