"""Super-resolution of colour video, the task that D3DNet and LGTD were made for: data, models, scores."""

from __future__ import annotations

from STDNet.colour_video.metrics import luma, psnr, ssim
from STDNet.colour_video.models import ColourBicubic, ColourVideoModel, D3DNetColour, LGTDColour, resize
from STDNet.colour_video.pictures import comparison
from STDNet.colour_video.scoring import ColourScore, mean, score_videos, table
from STDNet.colour_video.videos import DEFAULT_ROOT, ColourVideo, colour_videos
from STDNet.colour_video.windows import WindowDataset

__all__ = [
    "DEFAULT_ROOT",
    "ColourBicubic",
    "ColourScore",
    "ColourVideo",
    "ColourVideoModel",
    "D3DNetColour",
    "LGTDColour",
    "WindowDataset",
    "colour_videos",
    "comparison",
    "luma",
    "mean",
    "psnr",
    "resize",
    "score_videos",
    "ssim",
    "table",
]
