"""The forward warp against hand-made points and a loop over points, and the pinhole camera."""

from __future__ import annotations

import math

import pytest
import torch

from STDNet.errors import InputError
from STDNet.geometry import forward_warp, unproject


def moved(height, width, u, v):
    return torch.tensor([u, v], dtype=torch.float64).expand(height, width, 2)


def by_loop(depth, flow):
    """The definition, one point after the other."""
    height, width = depth.shape
    warped = torch.full((height, width), math.inf, dtype=depth.dtype)
    for i in range(height):
        for j in range(width):
            x, y = j + flow[i, j, 0].item(), i + flow[i, j, 1].item()
            for row in range(height):
                for column in range(width):
                    if math.hypot(column + 0.5 - x, row + 0.5 - y) < 1:
                        warped[row, column] = min(warped[row, column], depth[i, j])
    hit = torch.isfinite(warped)
    return torch.where(hit, warped, 0), hit


def test_half_a_pixel_down_right_moves_every_point_to_its_own_pixel_alone():
    # The point lands on the centre; its four neighbours' centres are exactly 1 pixel away, which is not nearer than 1.
    depth = torch.arange(1.0, 13).view(3, 4)
    warped, hit = forward_warp(depth, moved(3, 4, 0.5, 0.5))
    assert torch.equal(warped, depth) and hit.all()


def test_without_flow_a_point_covers_the_four_pixels_around_its_corner():
    depth = torch.full((4, 4), 9.0)
    depth[2, 2] = 3.0
    warped, hit = forward_warp(depth, moved(4, 4, 0, 0))
    expected = torch.full((4, 4), 9.0)
    expected[1:3, 1:3] = 3.0
    assert torch.equal(warped, expected) and hit.all()


def test_the_nearest_wins_and_the_rest_is_not_hit():
    depth = torch.tensor([[5.0, 2.0, 7.0, 4.0]])
    flow = moved(1, 4, 0.5, 0.5).clone()
    flow[0, 0, 0] = 2.5  # lands on pixel 2, in front of the 7 there
    flow[0, 3, 0] = 3.5  # leaves the frame
    warped, hit = forward_warp(depth, flow)
    assert warped.tolist() == [[0, 2, 5, 0]] and hit.tolist() == [[False, True, True, False]]


@pytest.mark.parametrize("size", [1.0, 4.0, 30.0])
def test_equals_a_loop_over_points(size):
    generator = torch.Generator().manual_seed(0)
    depth = torch.rand(3, 7, 9, generator=generator, dtype=torch.float64) + 1
    flow = torch.randn(3, 7, 9, 2, generator=generator, dtype=torch.float64) * size
    flow[0] = (flow[0] * 2).round() / 2  # on and between pixel centres, where distances are exactly 1
    warped, hit = forward_warp(depth, flow)
    for t in range(3):
        expected, expected_hit = by_loop(depth[t], flow[t])
        assert torch.equal(warped[t], expected) and torch.equal(hit[t], expected_hit)


def test_flow_is_shared_by_a_batch():
    generator = torch.Generator().manual_seed(1)
    depth, flow = torch.rand(2, 3, 5, 6, generator=generator), torch.randn(3, 5, 6, 2, generator=generator)
    warped, hit = forward_warp(depth, flow)
    for n in range(2):
        alone, alone_hit = forward_warp(depth[n], flow)
        assert torch.equal(warped[n], alone) and torch.equal(hit[n], alone_hit)


def test_unknown_flow_unknown_depth_and_masked_points_are_not_drawn():
    depth = torch.tensor([[1.0, torch.inf, torch.nan, 4.0, 5.0]])
    flow = moved(1, 5, 0.5, 0.5).clone()
    flow[0, 0] = torch.nan
    flow[0, 4] = 1e30
    warped, hit = forward_warp(depth, flow)
    assert hit.tolist() == [[False, False, False, True, False]] and warped.tolist() == [[0, 0, 0, 4, 0]]
    _, hit = forward_warp(depth, flow, valid=torch.zeros(1, 5, dtype=torch.bool))
    assert not hit.any()


def test_shapes_are_checked():
    with pytest.raises(InputError, match="needs a flow"):
        forward_warp(torch.ones(4, 5), torch.ones(2, 4, 5))
    with pytest.raises(InputError, match="differ in size"):
        forward_warp(torch.ones(4, 5), torch.ones(4, 5, 2), valid=torch.ones(5, 4, dtype=torch.bool))


def test_unproject():
    # fx 2, fy 4, centre of a 4 x 2 frame: the top left pixel's centre is (-1.5, -0.5) pixels from it.
    points = unproject(torch.tensor([[8.0, 8, 8, 8], [8, 8, 8, 16]]), (2, 4, 2, 1))
    assert points.shape == (2, 4, 3)
    assert points[0, 0].tolist() == [-6, -1, 8] and points[1, 3].tolist() == [12, 2, 16]
    with pytest.raises(InputError, match="fx, fy, cx, cy"):
        unproject(torch.ones(2, 2), (1, 1, 1))
