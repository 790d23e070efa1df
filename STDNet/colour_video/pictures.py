"""A model's picture beside bicubic upsampling and the truth."""

from __future__ import annotations

import torch
from PIL import Image

from STDNet.colour_video.models import ColourVideoModel, resize
from STDNet.colour_video.videos import ColourVideo
from STDNet.visualize import picture


@torch.inference_mode()
def comparison(model: ColourVideoModel, video: ColourVideo, device: torch.device) -> Image.Image:
    """Bicubic upsampling, the model's result and the ground truth of the middle frame, from left to right."""
    t = video.scored[len(video.scored) // 2]
    window, truth = video.read_window(t, model.reach), video.read_hr(t)
    bicubic = resize(window[model.reach][None], *truth.shape[-2:])[0]
    return picture(torch.cat((bicubic, model(window[None].to(device))[0].float().cpu(), truth), 2))
