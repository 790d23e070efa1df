"""Test STDNet on DynamicReplica: RMSE, MAE and TEPE of a checkpoint beside those of bilinear upsampling."""

from pathlib import Path

from STDNet.command_line import parse, run
from STDNet.evaluation import EvaluationConfig, evaluate


def main() -> None:
    """Parse the flags and score."""
    evaluate(parse(EvaluationConfig, description=__doc__), "dynamic_replica", Path("data/DynamicReplica_test.txt"))


if __name__ == "__main__":
    run(main)
