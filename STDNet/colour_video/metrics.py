"""PSNR and SSIM of a colour picture, in RGB or of its brightness alone, as super-resolution papers report them."""

from __future__ import annotations

import torch
from torch import Tensor

# ITU-R BT.601 in the range of video, 16 to 235 of 255: the Y of MATLAB's rgb2ycbcr, which these papers score.
LUMA_WEIGHTS = (65.481 / 255, 128.553 / 255, 24.966 / 255)
LUMA_BLACK = 16 / 255
MIN_SIDE = 11  # of SSIM's window
MAX_PSNR = 100.0  # dB


def luma(rgb: Tensor) -> Tensor:
    """[..., 3, H, W] RGB in 0..1 -> [..., 1, H, W] brightness Y, 16/255 (black) to 235/255 (white)."""
    weights = torch.tensor(LUMA_WEIGHTS, dtype=rgb.dtype, device=rgb.device)[:, None, None]
    return (rgb * weights).sum(-3, keepdim=True) + LUMA_BLACK


def eight_bit(rgb: Tensor) -> Tensor:
    """Values in 0..1 as an 8-bit file holds them."""
    return (rgb.clamp(0, 1) * 255).round() / 255


def psnr(prediction: Tensor, target: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(1 / MSE), at most 100; [C, H, W] in 0..1 both.

    The limit gives equal pictures, such as black frames, a value that a mean can take.
    """
    from skimage.metrics import peak_signal_noise_ratio  # late: half a second, and only these two need it

    if torch.equal(prediction, target):
        return MAX_PSNR
    values = prediction.double().numpy(), target.double().numpy()
    return min(MAX_PSNR, float(peak_signal_noise_ratio(*values, data_range=1.0)))


def ssim(prediction: Tensor, target: Tensor) -> float:
    """Structural similarity (Wang et al., TIP 2004: Gaussian window of 11, sigma 1.5), mean over channels.

    Args:
        prediction: [C, H, W] in 0..1, sides of at least 11.
        target: The same shape.
    """
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            prediction.double().numpy(),
            target.double().numpy(),
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )
