"""The losses: by hand, against the official training step, under masks and at the edges."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import fill_by_name, moving_disc
from torch import nn

from STDNet import InputError, STDNet, STDNetConfig
from STDNet.checkpoint import official_names
from STDNet.losses import Losses, charbonnier, spatial_difference_loss, temporal_difference_loss, training_loss


def test_charbonnier_by_hand() -> None:
    assert charbonnier(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 0.0])).item() == pytest.approx((3 + 1e-6) / 2)


def test_charbonnier_gradient_at_zero_error_is_finite_even_for_half_inputs() -> None:
    x = torch.zeros(4, dtype=torch.float16, requires_grad=True)
    charbonnier(x, torch.zeros(4, dtype=torch.float16)).backward()
    assert x.grad is not None and torch.equal(x.grad, torch.zeros_like(x))


def test_spatial_loss_by_hand() -> None:
    # Two frames of two pixels. ELU(1) = 1, ELU(0) = 0; minima 0 and 1; weights 2, 1 and 1, 1; errors 1, 2 and 3, 4.
    difference = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).reshape(1, 2, 1, 1, 2)
    prediction = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 1, 1, 2)
    target = torch.zeros_like(prediction)
    assert spatial_difference_loss(difference, prediction, target).item() == pytest.approx((2 + 2 + 3 + 4) / 4)
    # The official mistake: both frames against both minima: weights 2, 1; 2, 2 for minimum 0 and 1, 0; 1, 1 for 1.
    broadcast = spatial_difference_loss(difference, prediction, target, broadcast_minimum=True)
    assert broadcast.item() == pytest.approx((2 + 2 + 6 + 8 + 1 + 0 + 3 + 4) / 8)


def test_temporal_loss_by_hand() -> None:
    target = torch.tensor([1.0, 3.0, 2.0]).reshape(1, 3, 1, 1, 1)
    difference = torch.tensor([1.0, 1.5]).reshape(1, 2, 1, 1, 1)
    assert temporal_difference_loss(difference, target, 1).item() == pytest.approx((1 + 0.5) / 2)
    assert temporal_difference_loss(difference[:, :1], target, 2).item() == pytest.approx(0)


def test_masks_leave_invalid_pixels_out() -> None:
    prediction = torch.rand(1, 3, 1, 4, 4)
    target, valid = torch.rand_like(prediction), torch.rand_like(prediction) > 0.4
    spoiled = torch.where(valid, prediction, 1e6)
    assert charbonnier(spoiled, target, valid).item() == pytest.approx(charbonnier(prediction, target, valid).item())
    expected = (prediction - target).abs()[valid].mean().item()
    assert charbonnier(prediction, target, valid).item() == pytest.approx(expected, rel=1e-5)
    assert spatial_difference_loss(torch.zeros_like(target), spoiled, target, valid).item() == pytest.approx(
        expected, rel=1e-5
    )
    assert charbonnier(prediction, target, torch.zeros_like(valid)).item() == 0


def _small_output() -> tuple[object, torch.Tensor, nn.Module]:
    lr, rgb, gt = moving_disc(1, 1, 3, 16, 16, 4)
    net = STDNet(STDNetConfig(channels=4))
    return net(lr, rgb), gt, net.heads


def test_total_is_the_weighted_sum() -> None:
    out, gt, heads = _small_output()
    losses = training_loss(out, gt, heads)
    assert losses.spatial.item() == pytest.approx(0.2 * sum(x.item() for x in losses.spatial_stages), rel=1e-5)
    assert losses.temporal.item() == pytest.approx(sum(x.item() for x in losses.temporal_parts), rel=1e-5)
    terms = losses.reconstruction + 0.01 * (0.5 * losses.spatial + 0.5 * losses.temporal)
    assert losses.total.item() == pytest.approx(terms.item(), rel=1e-6)


@pytest.mark.parametrize("frames", [1, 2])
def test_short_clips_have_no_temporal_term(frames: int) -> None:
    lr, rgb, gt = moving_disc(1, 1, frames, 16, 16, 4)
    net = STDNet(STDNetConfig(channels=4))
    losses = training_loss(net(lr, rgb), gt, net.heads)
    losses.total.backward()
    assert losses.temporal_parts[1].item() == 0
    assert (losses.temporal_parts[0].item() == 0) == (frames == 1)


def test_ground_truth_of_another_size_is_refused() -> None:
    out, gt, heads = _small_output()
    with pytest.raises(InputError, match="ground truth"):
        training_loss(out, gt[..., :8], heads)
    with pytest.raises(InputError, match="mask"):
        training_loss(out, gt, heads, valid=gt > 0, paper_exact=True)


@pytest.mark.parametrize("variant", ["per_frame_minimum", "official_broadcast"])
def test_training_step_of_the_official_code(shared: Path, variant: str) -> None:
    reference = json.loads((shared / "reference" / "train_step.json").read_text())
    expected = SimpleNamespace(**reference[variant])
    losses, norms = _training_step(reference["case"], paper_exact=variant == "official_broadcast")
    for name in ("total", "reconstruction", "spatial", "temporal"):
        assert getattr(losses, name).item() == pytest.approx(getattr(expected, name), rel=1e-4), name
    stages = [expected.spatial_stage1, expected.spatial_stage2]
    assert [x.item() for x in losses.spatial_stages] == pytest.approx(stages, rel=1e-4)
    # The reference lists adjacent, adjacent, cross, cross.
    adjacent_1, cross_1, adjacent_2, cross_2 = (x.item() for x in losses.temporal_parts)
    found = [adjacent_1, adjacent_2, cross_1, cross_2]
    assert found == pytest.approx(expected.temporal_parts, rel=1e-4)
    worst = _deviation(norms, expected.grad_norm)
    if worst >= 1e-4:
        # ReLU, |.| and bilinear sampling have kinks, so a torch or processor that rounds one product differently moves
        # these norms by some 1e-3. Then nothing but rounding may be different: no more than one rounding of the input.
        _, rounded = _training_step(reference["case"], paper_exact=variant == "official_broadcast", factor=1 + 2**-23)
        assert worst < 3 * _deviation(rounded, norms) < 0.05


def _training_step(case: list[int], *, paper_exact: bool, factor: float = 1.0) -> tuple[Losses, dict[str, float]]:
    """The losses and the gradient norms by official name; the LR depth is multiplied by `factor`."""
    scale, n, t, h, w, seed = case
    lr, rgb, gt = moving_disc(seed, n, t, h, w, scale)
    net = fill_by_name(STDNet(STDNetConfig(scale=scale)))
    losses = training_loss(net(lr * factor, rgb), gt, net.heads, paper_exact=paper_exact)
    losses.total.backward()
    names = official_names()
    return losses, {names[name]: value.grad.norm().item() for name, value in net.named_parameters()}  # type: ignore[union-attr]


def _deviation(found: dict[str, float], expected: dict[str, float]) -> float:
    """The largest relative difference; norms that are zero count absolutely."""
    assert set(found) == set(expected)
    return max(abs(found[name] - value) / max(value, 1e-9) for name, value in expected.items())
