"""Metrics by hand, sums that add up, and TEPE against the reference numbers."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from STDNet.errors import InputError
from STDNet.metrics import ErrorSums, depth_edges, mae, mae_per_frame, rmse, rmse_per_frame, tepe

TEPE = Path(__file__).resolve().parents[1].parent / "shared" / "reference" / "tepe.npz"


def video(frames=4, height=12, width=16, seed=0):
    """Truth with a jump in depth, a prediction, a flow and a mask."""
    generator = torch.Generator().manual_seed(seed)
    gt = 2 + torch.rand(frames, height, width, generator=generator) * 0.02
    gt[..., width // 2 :] += 3
    pred = gt + torch.randn(gt.shape, generator=generator) * 0.1
    flow = torch.randn(frames - 1, height, width, 2, generator=generator)
    return gt, pred, flow, torch.rand(gt.shape, generator=generator) < 0.8


def test_rmse_and_mae_are_over_all_pixels_of_all_frames():
    gt = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    pred = torch.tensor([[[1.0, 2.0]], [[3.0, 8.0]]])
    assert rmse(gt, pred) == 2 and mae(gt, pred) == 1
    assert rmse_per_frame(gt, pred) == [0, math.sqrt(8)] and mae_per_frame(gt, pred) == [0, 2]
    valid = torch.tensor([[[True, True]], [[True, False]]])
    assert rmse(gt, pred, valid) == 0
    assert math.isnan(mae(gt, pred, torch.zeros_like(valid)))


def test_masked_pixels_may_hold_anything():
    gt, pred = torch.tensor([[1.0, math.inf, math.nan]]), torch.tensor([[2.0, 1.0, math.nan]])
    assert rmse(gt, pred, torch.tensor([[True, False, False]])) == 1
    assert math.isnan(rmse(gt, pred))


def test_edges_are_relative_steps_and_what_is_near_them():
    gt = torch.full((5, 9), 10.0)
    gt[:, 6:] = 10.6
    edge = depth_edges(gt, radius=0)
    assert edge.any(0).tolist() == [False] * 5 + [True, True] + [False] * 2 and torch.equal(edge[0], edge[4])
    assert depth_edges(gt, radius=1)[0].tolist() == [False] * 4 + [True] * 4 + [False]
    assert not depth_edges(gt, step=0.07).any()
    assert depth_edges(gt.T, radius=0)[:, 0].tolist() == edge[0].tolist()
    assert not depth_edges(gt, gt < 10.5).any()
    assert torch.equal(depth_edges(gt.expand(2, 3, 5, 9))[1, 2], depth_edges(gt))


def test_errors_on_and_off_the_edges():
    gt = torch.full((1, 12), 10.0)
    gt[:, 6:] = 20.0
    pred = gt + 1
    pred[:, 5] += 2  # an edge pixel; with its dilation of 2 the edge is columns 3 to 8
    assert mae(gt, pred, region="edge") == pytest.approx(8 / 6) and mae(gt, pred, region="flat") == 1
    assert rmse(gt, pred, region="edge") == pytest.approx(math.sqrt(14 / 6)) and rmse(gt, pred, region="flat") == 1
    with pytest.raises(InputError, match="region"):
        rmse(gt, pred, region="sky")


def test_deltas_are_strict_ratios_either_way():
    gt = torch.full((1, 8), 100.0)
    pred = torch.tensor([[100.0, 104.9, 105.1, 109.9, 81.0, 126.0, -100.0, 0.0]])
    metrics = ErrorSums.of_frames(gt, pred).metrics()
    assert [metrics[f"delta_{name}"] for name in ("1.05", "1.10", "1.25")] == [2 / 8, 4 / 8, 5 / 8]


def test_metrics_are_in_centimetres_and_none_where_nothing_was_measured():
    gt = torch.full((2, 3, 4), 2.0)
    metrics = ErrorSums.of_frames(gt, gt + 0.5).metrics()
    assert metrics["rmse_cm"] == metrics["mae_cm"] == metrics["flat_rmse_cm"] == metrics["flat_mae_cm"] == 50
    assert metrics["edge_rmse_cm"] is None and metrics["edge_mae_cm"] is None and metrics["tepe_cm"] is None
    assert all(value is None for value in ErrorSums().metrics().values())


def test_parts_add_up_to_the_whole():
    gt, pred, flow, valid = video()
    whole = ErrorSums.of_frames(gt, pred, valid) + ErrorSums.of_pairs(gt, pred, flow, valid, protocol="metric")
    parts = ErrorSums()
    for t in range(4):
        parts = parts.add(ErrorSums.of_frames(gt[t], pred[t], valid[t]))
    for t in range(3):
        pair = slice(t, t + 2)
        parts += ErrorSums.of_pairs(gt[pair], pred[pair], flow[t], valid[pair], protocol="metric")
    assert dataclasses.astuple(parts) == pytest.approx(dataclasses.astuple(whole), rel=1e-14)
    assert parts.metrics()["rmse_cm"] == pytest.approx(100 * rmse(gt, pred, valid), rel=1e-14)
    assert parts.metrics()["tepe_cm"] == pytest.approx(100 * tepe(gt, pred, flow, valid, protocol="metric"), rel=1e-14)


def test_sums_travel_as_a_tensor():
    gt, pred, flow, _ = video()
    sums = ErrorSums.of_frames(gt, pred) + ErrorSums.of_pairs(gt, pred, flow, protocol="paper")
    tensor = sums.to_tensor()
    assert tensor.dtype == torch.float64 and ErrorSums.from_tensor(tensor) == sums
    assert ErrorSums.from_tensor(tensor + tensor) == sums + sums


def test_tepe_by_hand():
    # Half a pixel down right brings every point to its own pixel. The truth stands still, the prediction flickers by
    # 0.1 m on one of two pixels.
    gt = torch.full((2, 1, 2), 3.0)
    pred = torch.tensor([[[3.0, 3.0]], [[3.0, 3.1]]])
    flow = torch.full((1, 1, 2, 2), 0.5)
    assert tepe(gt, pred, flow, protocol="paper") == pytest.approx(0.05)
    # A constant error does not flicker.
    assert tepe(gt, gt + 1, flow, protocol="paper") == 0


def test_tepe_protocols_differ_in_what_is_not_hit_and_not_valid():
    gt = torch.full((2, 1, 4), 3.0)
    pred = gt.clone()
    pred[1] += 0.1
    flow = torch.full((1, 1, 4, 2), 0.5)
    flow[0, 0, 3, 0] = 9.5
    assert tepe(gt, pred, flow, protocol="paper") == pytest.approx(0.1 * 3 / 4)
    assert tepe(gt, pred, flow, protocol="metric") == pytest.approx(0.1)
    valid = torch.ones(2, 1, 4, dtype=torch.bool)
    valid[0, 0, 0] = valid[1, 0, 1] = False
    pred[1, 0, 2] += 0.2
    assert tepe(gt, pred, flow, valid, protocol="metric") == pytest.approx(0.3)
    assert tepe(gt, pred, flow, valid, protocol="paper") == pytest.approx((0.1 + 0.1 + 0.3) / 4)
    assert math.isnan(tepe(gt, pred, flow, torch.zeros_like(valid), protocol="metric"))


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
@pytest.mark.skipif(not TEPE.is_file(), reason="the reference numbers are not here")
@pytest.mark.parametrize("case", ["zero_flow", "wide", "tall"])
def test_tepe_equals_the_reference(case, kind):
    reference = np.load(TEPE)
    gt, pred, flow = (kind(reference[f"{case}/{name}"]) for name in ("gt", "pred", "flow"))
    assert tepe(gt, pred, flow, protocol="paper") == pytest.approx(float(reference[f"{case}/tepe"]), abs=1e-9)


def test_bad_input_is_refused():
    gt, pred, flow, valid = video()
    with pytest.raises(InputError, match="one shape"):
        rmse(gt, pred[:, :5])
    with pytest.raises(InputError, match="bool"):
        rmse(gt, pred, valid.float())
    with pytest.raises(InputError, match="needs a flow"):
        tepe(gt, pred, flow[:2], protocol="paper")
    with pytest.raises(InputError, match="at least 2"):
        tepe(gt[:1], pred[:1], flow[:0], protocol="paper")
    with pytest.raises(InputError, match="protocol"):
        tepe(gt, pred, flow, protocol="papers")
