"""Predict, score, tabulate: what the three test scripts and the validation during training run."""

from __future__ import annotations

from STDNet.evaluation.command import DEFAULT_ROOTS, EvaluationConfig, evaluate
from STDNet.evaluation.prediction import (
    autocast,
    for_inference,
    predict,
    sample_picture,
    upsample_bilinear,
    upsample_nearest,
)
from STDNet.evaluation.report import mean, table, writer
from STDNet.evaluation.scoring import BASELINES, VideoScore, score_videos

__all__ = [
    "BASELINES",
    "DEFAULT_ROOTS",
    "EvaluationConfig",
    "VideoScore",
    "autocast",
    "evaluate",
    "for_inference",
    "mean",
    "predict",
    "sample_picture",
    "score_videos",
    "table",
    "upsample_bilinear",
    "upsample_nearest",
    "writer",
]
