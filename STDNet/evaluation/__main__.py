"""Predict and score on any data set: python -m STDNet.evaluation --help."""

from __future__ import annotations

from dataclasses import dataclass

from STDNet.command_line import option, parse, run
from STDNet.errors import InputError
from STDNet.evaluation import DEFAULT_ROOTS, EvaluationConfig, evaluate


@dataclass(frozen=True)
class AnyDataset(EvaluationConfig):
    """The flags of `python -m STDNet.evaluation`."""

    dataset: str = option("folder", "which data set", choices=(*DEFAULT_ROOTS, "synthetic"))


def main(argv: list[str] | None = None) -> None:
    """Predict and score on any data set; sequences without ground truth are predicted alone (with --save)."""
    description = "Predict and score on any data set; without ground truth give --save, then depth is written alone."
    config = parse(AnyDataset, argv, description=description)
    if config.list is None and config.dataset not in ("folder", "synthetic"):
        raise InputError(f"--list: name the index file of the {config.dataset} sequences")
    evaluate(config, config.dataset, None)


if __name__ == "__main__":
    run(main)
