"""The commands of the README exist, take the flags that it shows, and name files that are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from compare import Options as CompareOptions

from demo import DemoConfig
from STDNet.checkpoint.__main__ import Options as CheckpointOptions
from STDNet.command_line import parse
from STDNet.datasets.__main__ import CheckConfig
from STDNet.datasets.synthetic.__main__ import Options as SyntheticOptions
from STDNet.evaluation import EvaluationConfig
from STDNet.evaluation.__main__ import AnyDataset
from STDNet.simulator.__main__ import Options as SimulatorOptions
from STDNet.super_resolve import SuperResolveConfig
from STDNet.training import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {
    "demo.py": DemoConfig,
    "train.py": TrainConfig,
    "test_TarTanAir.py": EvaluationConfig,
    "test_DyDToF.py": EvaluationConfig,
    "test_DynamicReplica.py": EvaluationConfig,
    "STDNet.evaluation": AnyDataset,
    "STDNet.datasets.synthetic": SyntheticOptions,
    "STDNet.simulator": SimulatorOptions,
    "STDNet.datasets": CheckConfig,
    "STDNet.checkpoint": CheckpointOptions,
    "STDNet.super_resolve": SuperResolveConfig,
    "benchmarks/compare.py": CompareOptions,
}


def _commands() -> list[str]:
    """Every line of the README's shell blocks, without its comment, and the python commands within lines."""
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.S)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines + re.findall(r"`(python [^`]+)`", text) if line.strip()]


@pytest.mark.parametrize("command", _commands())
def test_command(command: str) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), flags=re.M)
        return
    program = next(word for word in words if word in CONFIGS)
    flags = words[words.index(program) + 1 :]
    if program == "STDNet.super_resolve":
        flags = ["--capture", *flags]
    if program == "STDNet.datasets":
        name, *flags = flags  # the name of the data set
        program = "STDNet.datasets.synthetic" if name == "synthetic" else program
    if program.endswith(".py"):
        assert (ROOT / program).is_file()
    if flags == ["--help"]:
        return
    parse(CONFIGS[program], flags, description="")
    for word in flags:
        assert not word.startswith("data/") or (ROOT / word).is_file(), word


def test_pictures_are_there() -> None:
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / path).is_file()
