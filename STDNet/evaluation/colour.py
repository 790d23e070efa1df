"""The evaluation of colour video: flags in, table and results.json out."""

from __future__ import annotations

import logging
from dataclasses import asdict

from torch import Tensor

from STDNet import checkpoint, distributed
from STDNet.colour_video import (
    DEFAULT_ROOT,
    ColourScore,
    ColourVideo,
    colour_videos,
    mean,
    score_videos,
    table,
)
from STDNet.errors import InputError
from STDNet.evaluation.command import EvaluationConfig, header, results_folder, weights
from STDNet.evaluation.prediction import for_inference
from STDNet.files import write_image, write_json
from STDNet.visualize import picture

DEPTH_FLAGS = ("protocol", "lr_source", "max_depth", "lookahead", "amp")

log = logging.getLogger(__name__)


def evaluate_colour(config: EvaluationConfig, *, brightness: bool, border: int) -> list[ColourScore]:
    """Score a model of colour video; print the table and write results.json (and pictures, on request).

    Args:
        config: The flags; those that are for depth alone keep their defaults.
        brightness: Score Y alone, else R, G and B.
        border: HR pixels at each side that do not count.

    Returns:
        One row a video, the same in every process when run under torchrun.

    Raises:
        InputError: Missing or damaged data or checkpoint, a flag that is for depth.
    """
    for name in DEPTH_FLAGS:
        if getattr(config, name) != getattr(EvaluationConfig, name):
            raise InputError(f"--{name} is for depth video, not for --dataset colour")
    if "npy" in config.save:
        raise InputError("--save npy is for depth video; --dataset colour saves png")
    device = distributed.choose_device(config.device)
    with distributed.process_group(device):
        if config.model is None and config.model_dir is None:
            raise InputError("--model or --model_dir: say which of d3dnet, lgtd, bicubic, or give a checkpoint")
        path = weights(config, f"{config.model}_colour_{config.scale}", "best_psnr.pth")
        found = checkpoint.of_model(config.model, path, scale=config.scale, task="colour")
        folder = results_folder(config, "colour", found.config.name)
        model = for_inference(checkpoint.build_colour(found, source=str(path)), device)
        videos = colour_videos(config.root_dir or DEFAULT_ROOT, config.list, scale=config.scale)

        def write(video: ColourVideo, t: int, rgb: Tensor) -> None:
            write_image(folder / video.name / f"{video.hr[t].stem}.png", picture(rgb))

        scores = score_videos(
            model,
            videos,
            device=device,
            brightness=brightness,
            border=border,
            stop=config.frames,
            write=write if config.save else None,
            show_progress=True,
        )
        if distributed.is_main():
            print(table(scores, config.scale, brightness=brightness, label=found.config.name))
            facts = header(config, "colour", path, device) | {
                "channels": "y" if brightness else "rgb",
                "border": border,
            }
            write_json(
                folder / "results.json", {**facts, "videos": [asdict(row) for row in scores], "mean": mean(scores)}
            )
            log.info("wrote %s", folder / "results.json")
    return scores
