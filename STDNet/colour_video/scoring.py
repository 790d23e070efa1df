"""Score a model on colour videos beside bicubic upsampling; the frames are shared out among all processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from STDNet import distributed
from STDNet.colour_video.metrics import MIN_SIDE, eight_bit, luma, psnr, ssim
from STDNet.colour_video.models import ColourVideoModel, resize
from STDNet.colour_video.videos import ColourVideo
from STDNet.command_line import progress
from STDNet.errors import InputError

METRICS = ("psnr", "ssim")


@dataclass(frozen=True)
class ColourScore:
    """One video: mean PSNR in dB and mean SSIM of its scored frames, of the network and of bicubic upsampling."""

    name: str
    frames: int
    network: dict[str, float]
    bicubic: dict[str, float]
    seconds: float


@torch.inference_mode()
def score_videos(
    model: ColourVideoModel,
    videos: Sequence[ColourVideo],
    *,
    device: torch.device,
    brightness: bool = True,
    border: int = 0,
    stop: int | None = None,
    write: Callable[[ColourVideo, int, Tensor], None] | None = None,
    show_progress: bool = False,
) -> list[ColourScore]:
    """Score a model on videos; predictions are rounded to 8 bits first, as their files would be.

    Args:
        model: In evaluation mode, on `device`.
        videos: What to score on.
        device: Where to compute.
        brightness: Score Y alone (see `luma`), as these papers do; else R, G and B.
        border: HR pixels at each side that do not count.
        stop: Score only so many frames of each video.
        write: Called with video, frame and prediction [3, H, W] in 0..1.
        show_progress: A bar or plain lines on the main process.

    Returns:
        One score a video, the same for any number of processes.

    Raises:
        InputError: What is left of a frame is smaller than SSIM's window.
    """
    for video in videos:
        if min(video.lr_size) * video.scale - 2 * border < MIN_SIDE:
            raise InputError(f"{video.name}: SSIM needs {MIN_SIDE} pixels per side within the border of {border}")
    times = [video.scored[:stop] for video in videos]
    frames = [(i, t) for i, scored in enumerate(times) for t in scored]
    mine = frames[distributed.rank() :: distributed.world_size()]
    # Of each video: PSNR and SSIM of the network, the same of bicubic, seconds.
    sums = torch.zeros(len(videos), 5, dtype=torch.float64)
    shown = progress(mine, desc="scoring", unit="frames") if show_progress and distributed.is_main() else mine
    for i, t in shown:
        video = videos[i]
        window = video.read_window(t, model.reach)
        started = time.perf_counter()
        prediction = model(window[None].to(device))[0].float().cpu()
        sums[i, 4] += time.perf_counter() - started
        target = video.read_hr(t)
        if write is not None:
            write(video, t, eight_bit(prediction))
        plain = resize(window[model.reach][None], *target.shape[-2:])[0]
        for column, picture in ((0, prediction), (2, plain)):
            pair = [_scored(x, brightness, border) for x in (eight_bit(picture), target)]
            sums[i, column] += psnr(*pair)
            sums[i, column + 1] += ssim(*pair)
    sums = distributed.sum_over_ranks(sums)
    scores = []
    for video, scored, row in zip(videos, times, sums.tolist(), strict=True):
        means = [value / len(scored) for value in row[:4]]
        network, bicubic = (dict(zip(METRICS, part, strict=True)) for part in (means[:2], means[2:]))
        scores.append(ColourScore(video.name, len(scored), network, bicubic, row[4]))
    return scores


def mean(scores: Sequence[ColourScore]) -> dict[str, dict[str, float]]:
    """Plain means over the videos, of "network" and "bicubic"."""
    return {
        kind: {name: sum(getattr(score, kind)[name] for score in scores) / len(scores) for name in METRICS}
        for kind in ("bicubic", "network")
    }


def table(scores: Sequence[ColourScore], scale: int, *, brightness: bool, label: str) -> str:
    """A markdown table: two rows a video, and the means; `label` names the network."""
    channels = "of the brightness Y" if brightness else "in RGB"
    lines = [
        f"colour video x{scale}: PSNR in dB and SSIM {channels}, higher is better",
        "",
        "| video | frames | method | PSNR | SSIM | s | frames/s |",
        "|---|---|---|---|---|---|---|",
    ]

    def rows(name: str, frames: int, bicubic: dict[str, float], network: dict[str, float], seconds: float) -> None:
        for method, values, speed in (
            ("bicubic", bicubic, "- | -"),
            (label, network, f"{seconds:.1f} | {frames / max(seconds, 1e-9):.2f}"),
        ):
            lines.append(f"| {name} | {frames} | {method} | {values['psnr']:.2f} | {values['ssim']:.4f} | {speed} |")

    for score in scores:
        rows(score.name, score.frames, score.bicubic, score.network, score.seconds)
    if len(scores) > 1:
        means = mean(scores)
        frames, seconds = sum(score.frames for score in scores), sum(score.seconds for score in scores)
        rows("mean", frames, means["bicubic"], means["network"], seconds)
    return "\n".join(lines)


def _scored(picture: Tensor, brightness: bool, border: int) -> Tensor:
    """What of [3, H, W] counts."""
    height, width = picture.shape[-2:]
    inside = picture[:, border : height - border, border : width - border]
    return luma(inside) if brightness else inside
