"""The training losses of the paper, equations as its code computes them, and of its neighbours: means, network units.

Pure functions of tensors; depth [B, T, 1, H, W]. Everything is computed in fp32 or better: in fp16 the Charbonnier eps
underflows to zero and its gradient at zero error is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from STDNet.errors import InputError

SPATIAL_WEIGHT = 0.2  # of each stage's spatial difference loss
ALPHA_SPATIAL = 0.5  # alpha_1 of the paper
ALPHA_TEMPORAL = 0.5  # alpha_2 of the paper
BETA = 0.01


class Losses(NamedTuple):
    """The total and its terms, scalars; `total` carries the gradient."""

    total: Tensor
    reconstruction: Tensor
    spatial: Tensor  # both stages, weighted
    temporal: Tensor  # sum of the parts
    spatial_stages: tuple[Tensor, ...]  # one a stage, not weighted
    temporal_parts: tuple[Tensor, ...]  # adjacent and cross of stage 1, then of stage 2


def charbonnier(prediction: Tensor, target: Tensor, valid: Tensor | None = None, *, eps: float = 1e-12) -> Tensor:
    """Mean of sqrt((prediction - target)^2 + eps), L_rec of the paper.

    Args:
        prediction: Any shape.
        target: The same shape.
        valid: The same shape, bool: the mean is over these pixels alone. None takes all, as the official code does.
        eps: Smooths the corner at zero error.
    """
    return _mean(torch.sqrt((_exact(prediction) - target).square() + eps), valid)


def spatial_difference_loss(
    difference: Tensor,
    prediction: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    broadcast_minimum: bool = False,
) -> Tensor:
    """The "uncertainty constraint" A of one stage: errors weigh more where the spatial difference is large.

    Args:
        difference: [B, T, 1, H, W], R_df(sigma) of the stage.
        prediction: [B, T, 1, H, W], the network's output.
        target: [B, T, 1, H, W], ground truth.
        valid: [B, T, 1, H, W], bool; None takes all pixels.
        broadcast_minimum: Repeat the official code's shape mistake, which weighs every frame against the minimum of
            every frame of its clip.

    Returns:
        Mean of |w * prediction - w * target| with w = ELU(difference) - min over the frame + 1.
    """
    weight = F.elu(_exact(difference))
    minimum = weight.amin((2, 3, 4), keepdim=True)  # [B, T, 1, 1, 1]
    error = _exact(prediction) - target
    if broadcast_minimum:
        minimum = minimum.transpose(1, 2)  # [B, 1, T, 1, 1] against [B, T, 1, H, W]: a B x T x T x H x W weight
        if valid is not None:
            raise InputError("the official broadcast minimum knows no mask: leave out either of the two")
    return _mean(((weight - minimum + 1) * error).abs(), valid)


def temporal_difference_loss(difference: Tensor, target: Tensor, distance: int, valid: Tensor | None = None) -> Tensor:
    """L1 between a predicted temporal difference and that of the ground truth.

    Args:
        difference: [B, T - distance, 1, H, W], R_df(phi) or R_df(phi-hat).
        target: [B, T, 1, H, W], ground truth.
        distance: 1 for adjacent, 2 for cross frames.
        valid: [B, T, 1, H, W], bool; a pixel counts where it is valid in both frames. None takes all.

    Returns:
        Mean of |difference - |target_t - target_t+distance||; zero for clips of at most `distance` frames, and where a
        network without these differences gives none.
    """
    if difference.shape[1] == 0:
        return _exact(difference).sum()
    both = None if valid is None else valid[:, :-distance] & valid[:, distance:]
    return _mean((_exact(difference) - (target[:, :-distance] - target[:, distance:]).abs()).abs(), both)


def training_loss(
    out: object,
    gt: Tensor,
    heads: torch.nn.Module,
    *,
    valid: Tensor | None = None,
    alpha_spatial: float = ALPHA_SPATIAL,
    alpha_temporal: float = ALPHA_TEMPORAL,
    beta: float = BETA,
    paper_exact: bool = False,
) -> Losses:
    """L = L_rec + beta * (alpha_1 * L_sd + alpha_2 * L_td).

    Args:
        out: An `STDNetOutput` of the network (depth and stages with their difference features).
        gt: [B, T, 1, H, W], ground truth in network units.
        heads: The network's difference heads: modules `spatial`, `adjacent`, `cross`, from [B, T, C, h, w] to
            [B, T, 1, 4h, 4w].
        valid: [B, T, 1, H, W], bool; the losses count these pixels alone. None takes all.
        alpha_spatial: Weight of the spatial difference loss; 0 switches it off.
        alpha_temporal: Weight of the temporal difference loss; 0 switches it off.
        beta: Weight of both.
        paper_exact: Repeat the official code's broadcast minimum (see `spatial_difference_loss`).

    Returns:
        The total and every term of it.

    Raises:
        InputError: `gt` does not have the shape of the output.
    """
    depth, stages = out.depth, out.stages  # type: ignore[attr-defined]
    if depth.shape != gt.shape:
        raise InputError(f"ground truth is {tuple(gt.shape)}, the output is {tuple(depth.shape)}")
    height, width = gt.shape[-2:]

    def predicted(name: str, difference: Tensor) -> Tensor:
        if difference.shape[1] == 0:  # no pair of frames at this distance
            return difference.new_zeros(*difference.shape[:2], 1, height, width)
        return getattr(heads, name)(_exact(difference))[..., :height, :width]

    reconstruction = charbonnier(depth, gt, valid)
    spatial_stages = tuple(
        spatial_difference_loss(
            predicted("spatial", stage.spatial_difference), depth, gt, valid, broadcast_minimum=paper_exact
        )
        if stage.spatial_difference is not None
        else reconstruction.new_zeros(())
        for stage in stages
    )
    temporal_parts = tuple(
        temporal_difference_loss(predicted(name, difference), gt, distance, valid)
        for stage in stages
        for name, difference, distance in (
            ("adjacent", stage.temporal_difference, 1),
            ("cross", stage.cross_difference, 2),
        )
    )
    spatial = SPATIAL_WEIGHT * torch.stack(spatial_stages).sum()
    temporal = torch.stack(temporal_parts).sum()
    total = reconstruction + beta * (alpha_spatial * spatial + alpha_temporal * temporal)
    return Losses(total, reconstruction, spatial, temporal, spatial_stages, temporal_parts)


def supervised_loss(
    depth: Tensor,
    intermediate: Sequence[Tensor],
    gt: Tensor,
    *,
    valid: Tensor | None = None,
    weight: float = 0.0,
) -> Losses:
    """What the neighbouring systems train with: L_rec, and the same of every intermediate depth (deep supervision).

    Args:
        depth: [B, T, 1, H, W], the output.
        intermediate: Further depths [B, T, 1, ., .]; a smaller one is compared with the ground truth's local means.
        gt: [B, T, 1, H, W], ground truth in network units.
        valid: [B, T, 1, H, W], bool; a smaller pixel counts where all that it covers is valid. None takes all.
        weight: Of each intermediate depth; 0 leaves them out.

    Returns:
        The total and the reconstruction loss; the other terms are zero.

    Raises:
        InputError: `gt` does not have the shape of the output.
    """
    if depth.shape != gt.shape:
        raise InputError(f"ground truth is {tuple(gt.shape)}, the output is {tuple(depth.shape)}")
    reconstruction = charbonnier(depth, gt, valid)
    total = reconstruction
    for other in intermediate if weight else ():
        small_gt, small_valid = gt, valid
        if other.shape != gt.shape:
            small_gt = _local_means(gt, other)
            small_valid = None if valid is None else _local_means(valid.to(gt.dtype), other) > 1 - 1e-3
        total = total + weight * charbonnier(other, small_gt, small_valid)
    zero = torch.zeros_like(reconstruction)
    return Losses(total, reconstruction, zero, zero, (), ())


def _local_means(x: Tensor, like: Tensor) -> Tensor:
    """[B, T, 1, H, W] at the size of `like` [B, T, 1, h, w]."""
    return F.interpolate(x.flatten(0, 1), size=like.shape[-2:], mode="area").unflatten(0, x.shape[:2])


def _mean(values: Tensor, valid: Tensor | None) -> Tensor:
    """Mean over the valid pixels; zero where there is none."""
    if valid is None:
        return values.mean()
    return torch.where(valid, values, 0).sum() / valid.sum().clamp(min=1)


def _exact(x: Tensor) -> Tensor:
    """In fp32, or in fp64 where x is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
