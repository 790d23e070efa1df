"""SPyNet: optical flow from coarse to fine. Used by dvsr.py.

Paper: Ranjan, Black, "Optical Flow Estimation using a Spatial Pyramid Network", CVPR 2017. Written from the idea of the
paper and the size of the network: six levels, five 7 x 7 convolutions (8-32-64-32-16-2 channels) each.
How close: the count of 1,440,300 parameters is met exactly. Our choices, where nothing is stated: images are normalised
by the usual mean and deviation of ImageNet, and resized to multiples of 32 so that six levels fit. No pretrained
weights come with it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 6
WIDTHS = (8, 32, 64, 32, 16, 2)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FlowLevel(nn.Sequential):
    """What to add to the flow at one level, from both images (the second one warped) and the flow so far."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in zip(WIDTHS[:-1], WIDTHS[1:], strict=True):
            layers += [nn.Conv2d(inputs, outputs, 7, padding=3), nn.ReLU()]
        super().__init__(*layers[:-1])


class SPyNet(nn.Module):
    """Flow from one image to another; 1,440,300 parameters."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList(FlowLevel() for _ in range(LEVELS))
        self.register_buffer("mean", torch.tensor(MEAN).reshape(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).reshape(3, 1, 1), persistent=False)

    def forward(self, image: Tensor, other: Tensor) -> Tensor:
        """Where every pixel of one image is in the other.

        Args:
            image: [N, 3, H, W] in 0..1.
            other: The same shape.

        Returns:
            [N, 2, H, W], dx and dy in pixels: image(p) looks like other(p + flow(p)). At least fp32.
        """
        height, width = image.shape[-2:]
        step = 2 ** (LEVELS - 1)
        size = (-(-height // step) * step, -(-width // step) * step)
        pyramid = [self._normalised(image, size), self._normalised(other, size)]
        levels = [pyramid]
        for _ in range(LEVELS - 1):
            levels.append([F.avg_pool2d(x, 2) for x in levels[-1]])
        coarsest = levels[-1][0]
        flow = torch.zeros_like(coarsest[:, :2], dtype=torch.promote_types(coarsest.dtype, torch.float32))
        for level, (first, second) in zip(self.levels, reversed(levels), strict=True):
            if first.shape[-2:] != flow.shape[-2:]:
                flow = 2 * F.interpolate(flow, size=first.shape[-2:], mode="bilinear", align_corners=True)
            moved = warp(second, flow, outside="border")
            flow = flow + level(torch.cat((first, moved, flow.to(first.dtype)), 1)).to(flow.dtype)
        flow = F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False)
        return flow * flow.new_tensor([width / size[1], height / size[0]]).reshape(2, 1, 1)

    def _normalised(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """An image as the levels expect it, resized."""
        resized = F.interpolate(image, size=size, mode="bilinear", align_corners=False)
        return ((resized - self.mean) / self.deviation).to(image.dtype)


def warp(x: Tensor, flow: Tensor, outside: str = "zeros") -> Tensor:
    """Sample an image where a flow points to.

    Args:
        x: [N, C, H, W].
        flow: [N, 2, H, W], dx and dy in pixels.
        outside: "zeros" or "border", what lies outside the image.

    Returns:
        [N, C, H, W], x(p + flow(p)) bilinearly, in the type of `x`. Positions are fp32 or better.
    """
    height, width = x.shape[-2:]
    flow = flow.to(torch.promote_types(flow.dtype, torch.float32))
    rows = torch.arange(height, device=x.device, dtype=flow.dtype).reshape(-1, 1)
    columns = torch.arange(width, device=x.device, dtype=flow.dtype)
    # grid_sample's own units: -1 and 1 are the outer edges of the image.
    u = (2 * (columns + flow[:, 0]) + 1) / width - 1
    v = (2 * (rows + flow[:, 1]) + 1) / height - 1
    grid = torch.stack((u, v), -1)
    return F.grid_sample(x.to(grid.dtype), grid, mode="bilinear", padding_mode=outside, align_corners=False).to(x.dtype)
