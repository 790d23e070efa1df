"""What a depth video is scored by: RMSE, MAE, edges, delta thresholds and TEPE. Metres in; sums that add up exactly."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from STDNet.errors import InputError
from STDNet.geometry import forward_warp

PROTOCOLS = ("paper", "metric")
REGIONS = ("all", "edge", "flat")
DELTAS = (1.05, 1.10, 1.25)

# Half a metre at ten metres; a floor seen at a grazing angle stays below it up to 20 rows from the horizon.
EDGE_STEP = 0.05
EDGE_RADIUS = 2


@dataclass(frozen=True)
class ErrorSums:
    """Everything the metrics need of any number of frames; add the sums of parts to get those of the whole.

    Attributes:
        edge_squared_m2: Sum of squared errors over the valid pixels on depth edges (see `depth_edges`).
        edge_absolute_m: Sum of absolute errors over them.
        edge_count: How many they are.
        flat_squared_m2: The same for the valid pixels off the edges.
        flat_absolute_m: The same.
        flat_count: The same.
        delta_105: How many valid pixels have a ratio to the truth below 1.05, either way.
        delta_110: Below 1.10.
        delta_125: Below 1.25.
        tepe_m: Sum of temporal end-point errors over pixels and frame pairs.
        tepe_count: How many pixels it is to be divided by.
    """

    edge_squared_m2: float = 0.0
    edge_absolute_m: float = 0.0
    edge_count: float = 0.0
    flat_squared_m2: float = 0.0
    flat_absolute_m: float = 0.0
    flat_count: float = 0.0
    delta_105: float = 0.0
    delta_110: float = 0.0
    delta_125: float = 0.0
    tepe_m: float = 0.0
    tepe_count: float = 0.0

    @classmethod
    def of_frames(cls, gt_m: Tensor, pred_m: Tensor, valid: Tensor | None = None) -> ErrorSums:
        """The sums of frames, without TEPE.

        Args:
            gt_m: [..., H, W] true depth in metres.
            pred_m: The predicted depth, of the same shape.
            valid: The same shape, bool: which pixels count. None counts all of them, as the paper does.

        Returns:
            The sums, made in float64.

        Raises:
            InputError: Shapes that differ.
        """
        gt_m, pred_m, valid = _frames(gt_m, pred_m, valid)
        # Frame by frame: a whole sequence in float64 is more than most machines hold.
        sums = [_frame_sums(*frame) for frame in zip(gt_m, pred_m, valid, strict=True)]
        return cls.from_tensor(torch.stack(sums).sum(0)) if sums else cls()

    @classmethod
    def of_pairs(
        cls, gt_m: Tensor, pred_m: Tensor, flow: Tensor, valid: Tensor | None = None, *, protocol: str
    ) -> ErrorSums:
        """The TEPE sums of consecutive frames, and nothing else. Arguments and errors as in `tepe`.

        A video may be given in pieces that share a frame: frames 0 to 4 and 4 to 9 add up to frames 0 to 9.
        """
        if protocol not in PROTOCOLS:
            raise InputError(f"protocol {protocol!r} must be one of {', '.join(PROTOCOLS)}")
        gt_m, pred_m, valid = _frames(gt_m, pred_m, valid)
        flow = torch.as_tensor(flow)
        flow = flow[None] if flow.dim() == 3 else flow
        expected = (max(len(gt_m) - 1, 0), *gt_m.shape[1:], 2)
        if tuple(flow.shape) != expected:
            raise InputError(f"depth {tuple(gt_m.shape)} needs a flow {list(expected)}, got {tuple(flow.shape)}")
        total, count = 0.0, 0.0
        for t, pair_flow in enumerate(flow):
            both = torch.stack([gt_m[t : t + 2], pred_m[t : t + 2]]).double()
            pair_valid = valid[t : t + 2] if protocol == "metric" else torch.ones_like(valid[t : t + 2])
            error, scored = _pair_error(both, pair_flow.double(), pair_valid)
            total += float(error.sum())
            count += float(scored.sum()) if protocol == "metric" else float(scored.numel())
        return cls(tepe_m=total, tepe_count=count)

    def __add__(self, other: ErrorSums) -> ErrorSums:
        """The sums of both."""
        return ErrorSums(*(a + b for a, b in zip(_values(self), _values(other), strict=True)))

    add = __add__

    def to_tensor(self) -> Tensor:
        """[11] float64 on the CPU, for an all-reduce (sum) over processes."""
        return torch.tensor(_values(self), dtype=torch.float64)

    @classmethod
    def from_tensor(cls, sums: Tensor) -> ErrorSums:
        """Back from `to_tensor`."""
        return cls(*sums.double().tolist())

    def pixels(self, region: str = "all") -> float:
        """How many valid pixels "all", "edge" or "flat" has."""
        return self._of_region(region, self.edge_count, self.flat_count)

    def rmse_m(self, region: str = "all") -> float:
        """Root of the mean squared error over all pixels of all frames, metres; NaN where there is no pixel."""
        return math.sqrt(
            _ratio(self._of_region(region, self.edge_squared_m2, self.flat_squared_m2), self.pixels(region))
        )

    def mae_m(self, region: str = "all") -> float:
        """Mean absolute error over all pixels of all frames, metres; NaN where there is no pixel."""
        return _ratio(self._of_region(region, self.edge_absolute_m, self.flat_absolute_m), self.pixels(region))

    def tepe_mean_m(self) -> float:
        """Mean temporal end-point error, metres; NaN where there is no pixel."""
        return _ratio(self.tepe_m, self.tepe_count)

    @staticmethod
    def _of_region(region: str, edge: float, flat: float) -> float:
        """The part of a sum that belongs to a region."""
        if region not in REGIONS:
            raise InputError(f"region {region!r} must be one of {', '.join(REGIONS)}")
        return {"all": edge + flat, "edge": edge, "flat": flat}[region]

    def metrics(self) -> dict[str, float | None]:
        """All metrics under their names, lengths in cm, deltas as fractions 0 to 1; None where nothing was measured."""
        values: dict[str, float | None] = {}
        for region, prefix in (("all", ""), ("edge", "edge_"), ("flat", "flat_")):
            some = self.pixels(region) > 0
            values[f"{prefix}rmse_cm"] = 100 * self.rmse_m(region) if some else None
            values[f"{prefix}mae_cm"] = 100 * self.mae_m(region) if some else None
        within = (self.delta_105, self.delta_110, self.delta_125)
        for threshold, pixels in zip(DELTAS, within, strict=True):
            values[f"delta_{threshold:.2f}"] = pixels / self.pixels() if self.pixels() else None
        values["tepe_cm"] = 100 * self.tepe_mean_m() if self.tepe_count else None
        return values


def rmse(gt_m: Tensor, pred_m: Tensor, valid: Tensor | None = None, *, region: str = "all") -> float:
    """Root mean squared error over all pixels of all frames at once, in metres (the paper's RMSE; times 100 for cm).

    Args:
        gt_m: [..., H, W] true depth in metres.
        pred_m: The predicted depth, of the same shape.
        valid: The same shape, bool: which pixels count. None counts all of them, as the paper does.
        region: "all", or "edge" and "flat" for the pixels on and off the depth edges (see `depth_edges`).

    Returns:
        Metres; NaN where no pixel counts.

    Raises:
        InputError: Shapes that differ, or an unknown region.
    """
    return ErrorSums.of_frames(gt_m, pred_m, valid).rmse_m(region)


def mae(gt_m: Tensor, pred_m: Tensor, valid: Tensor | None = None, *, region: str = "all") -> float:
    """Mean absolute error over all pixels of all frames, in metres (the paper's MAE). Arguments as in `rmse`."""
    return ErrorSums.of_frames(gt_m, pred_m, valid).mae_m(region)


def rmse_per_frame(gt_m: Tensor, pred_m: Tensor, valid: Tensor | None = None, *, region: str = "all") -> list[float]:
    """The RMSE of each frame on its own, in metres, one value a frame. Arguments as in `rmse`."""
    return [sums.rmse_m(region) for sums in _sums_per_frame(gt_m, pred_m, valid)]


def mae_per_frame(gt_m: Tensor, pred_m: Tensor, valid: Tensor | None = None, *, region: str = "all") -> list[float]:
    """The MAE of each frame on its own, in metres, one value a frame. Arguments as in `rmse`."""
    return [sums.mae_m(region) for sums in _sums_per_frame(gt_m, pred_m, valid)]


def tepe(gt_m: Tensor, pred_m: Tensor, flow: Tensor, valid: Tensor | None = None, *, protocol: str) -> float:
    """Temporal end-point error: how much of the change between frames, seen along the true motion, is wrong. In metres.

    A frame is warped to the next one along the true flow (see `geometry.forward_warp`), the change is
    delta = depth(t + 1) - warped(depth(t)), and the error is |delta_gt - delta_pred| where the true warp hits a pixel.
    As in DVSR (Sun et al., CVPR 2023), whose script renders the same warp as a point cloud.

    Args:
        gt_m: [T, H, W] true depth in metres, T >= 2.
        pred_m: [T, H, W] predicted depth in metres.
        flow: [T - 1, H, W, 2] true flow from frame t to t + 1, (u to the right, v down) in pixels.
        valid: [T, H, W] bool, pixels of known depth; read by the protocol "metric" alone.
        protocol: "paper": no mask, a pixel that the warp does not hit has error 0, and the mean is over all pixels.
            "metric": only valid points are warped, and the mean is over the valid pixels that the warp hits.

    Returns:
        Metres, times 100 for cm; NaN where no pixel is scored.

    Raises:
        InputError: Shapes that do not fit each other, a single frame, or an unknown protocol.
    """
    if len(gt_m) < 2:
        raise InputError(f"TEPE compares consecutive frames: got {len(gt_m)} frame of depth, needs at least 2")
    return ErrorSums.of_pairs(gt_m, pred_m, flow, valid, protocol=protocol).tepe_mean_m()


def depth_edges(
    gt_m: Tensor, valid: Tensor | None = None, *, step: float = EDGE_STEP, radius: int = EDGE_RADIUS
) -> Tensor:
    """Where depth jumps, which holds the long tail of the errors.

    Two pixels side by side, or one above the other, are an edge where the farther is more than `step` farther than the
    nearer, as a fraction of the nearer. Both belong to it, and so does every pixel of the squares of `radius` pixels
    around them.

    Args:
        gt_m: [..., H, W] depth in metres.
        valid: The same shape, bool; a pair with an invalid pixel is no edge. None is valid everywhere.
        step: Relative step.
        radius: Pixels of dilation; 0 is none.

    Returns:
        [..., H, W] bool.
    """
    edge = torch.zeros(gt_m.shape, dtype=torch.bool, device=gt_m.device)
    for axis in (-1, -2):
        last = gt_m.shape[axis] - 1
        one, other = gt_m.narrow(axis, 0, last), gt_m.narrow(axis, 1, last)
        jump = (one - other).abs() > step * torch.minimum(one, other)
        if valid is not None:
            jump &= valid.narrow(axis, 0, last) & valid.narrow(axis, 1, last)
        edge.narrow(axis, 0, last).logical_or_(jump)
        edge.narrow(axis, 1, last).logical_or_(jump)
    if not radius:
        return edge
    frames = edge.reshape(-1, 1, *edge.shape[-2:]).float()
    return F.max_pool2d(frames, 2 * radius + 1, stride=1, padding=radius).bool().reshape(edge.shape)


def _frames(gt_m: Tensor, pred_m: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """All three as [T, H, W], after a check of their shapes."""
    gt_m, pred_m = torch.as_tensor(gt_m), torch.as_tensor(pred_m)
    valid = torch.ones_like(gt_m, dtype=torch.bool) if valid is None else torch.as_tensor(valid)
    if gt_m.dim() < 2 or gt_m.shape != pred_m.shape or gt_m.shape != valid.shape:
        shapes = f"truth {tuple(gt_m.shape)}, prediction {tuple(pred_m.shape)}, valid {tuple(valid.shape)}"
        raise InputError(f"depth must be [..., H, W] of one shape, got {shapes}")
    if valid.dtype != torch.bool:
        raise InputError(f"valid must be a bool tensor, got {valid.dtype}")
    size = gt_m.shape[-2:]
    return gt_m.reshape(-1, *size), pred_m.reshape(-1, *size), valid.reshape(-1, *size)


def _frame_sums(gt_m: Tensor, pred_m: Tensor, valid: Tensor) -> Tensor:
    """The tensor form of the sums of one frame [H, W], on its device."""
    gt_m, pred_m = gt_m.double(), pred_m.double()
    edge = depth_edges(gt_m, valid) & valid
    flat = valid & ~edge
    error = (pred_m - gt_m).abs()
    # As a product, so that there is no division by a depth of 0 and a negative prediction is within nothing.
    near, far = torch.minimum(gt_m, pred_m), torch.maximum(gt_m, pred_m)
    sums = [part for region in (edge, flat) for part in _region_sums(error[region])]
    sums += [((far < threshold * near) & valid).sum() for threshold in DELTAS]
    sums += [torch.zeros_like(sums[0])] * 2
    return torch.stack([value.double() for value in sums])


def _region_sums(error: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared, absolute and count of some errors."""
    return (error**2).sum(), error.sum(), error.new_tensor(error.numel())


def _sums_per_frame(gt_m: Tensor, pred_m: Tensor, valid: Tensor | None) -> list[ErrorSums]:
    """One `ErrorSums` a frame."""
    frames = zip(*_frames(gt_m, pred_m, valid), strict=True)
    return [ErrorSums.from_tensor(_frame_sums(*frame)) for frame in frames]


def _pair_error(depth_m: Tensor, flow: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """The temporal end-point error [H, W] of (truth, prediction) x (t, t + 1) [2, 2, H, W], and where it is defined."""
    warped, hit = forward_warp(depth_m[:, 0], flow, valid=valid[0])
    delta = depth_m[:, 1] - warped
    scored = hit[0] & valid[1]
    return torch.where(scored, (delta[0] - delta[1]).abs(), 0), scored


def _values(sums: ErrorSums) -> list[float]:
    """The fields in their order."""
    return [getattr(sums, field.name) for field in dataclasses.fields(sums)]


def _ratio(part: float, whole: float) -> float:
    """A mean that is NaN, and no error, where there is nothing."""
    return part / whole if whole else math.nan
