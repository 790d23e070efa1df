"""Predict and score on any data set: python -m STDNet.evaluation --help."""

from __future__ import annotations

from dataclasses import dataclass

from STDNet.command_line import option, parse, run
from STDNet.errors import InputError
from STDNet.evaluation import DEFAULT_ROOTS, EvaluationConfig, evaluate
from STDNet.evaluation.colour import evaluate_colour


@dataclass(frozen=True)
class AnyDataset(EvaluationConfig):
    """The flags of `python -m STDNet.evaluation`."""

    dataset: str = option(
        "folder",
        "which data set; colour: colour videos in the layout of Vimeo-90K, D3DNet or LGTD, for weights trained on such",
        choices=(*DEFAULT_ROOTS, "synthetic", "colour"),
    )
    score_on: str = option(
        "y", "what PSNR and SSIM of colour videos are of: the brightness, or R, G and B", choices=("y", "rgb")
    )
    border: int = option(0, "HR pixels at each side of colour videos that do not count")


def main(argv: list[str] | None = None) -> None:
    """Predict and score on any data set; sequences without ground truth are predicted alone (with --save)."""
    description = "Predict and score on any data set; without ground truth give --save, then depth is written alone."
    config = parse(AnyDataset, argv, description=description)
    if config.border < 0:
        raise InputError(f"--border must not be negative, got {config.border}")
    if config.dataset == "colour":
        evaluate_colour(config, brightness=config.score_on == "y", border=config.border)
        return
    for name in ("score_on", "border"):
        if getattr(config, name) != getattr(AnyDataset, name):
            raise InputError(f"--{name} is for --dataset colour")
    if config.list is None and config.dataset not in ("folder", "synthetic"):
        raise InputError(f"--list: name the index file of the {config.dataset} sequences")
    evaluate(config, config.dataset, None)


if __name__ == "__main__":
    run(main)
