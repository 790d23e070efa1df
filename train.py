"""Train STDNet: python train.py --help. With several processes: torchrun --nproc_per_node 2 train.py ..."""

from STDNet.command_line import parse, run
from STDNet.training import TrainConfig, train


def main() -> None:
    """Parse the flags and train."""
    train(parse(TrainConfig, description=__doc__))


if __name__ == "__main__":
    run(main)
