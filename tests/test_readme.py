"""The commands of the README exist, take the flags that it shows, and name files that are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from compare import Options as CompareOptions

from demo import DemoConfig
from STDNet.checkpoint.__main__ import ConvertOptions, DownloadOptions, ListOptions, ShowOptions
from STDNet.command_line import parse
from STDNet.datasets.__main__ import CheckConfig
from STDNet.datasets.synthetic.__main__ import Options as SyntheticOptions
from STDNet.datasets.synthetic.photoreal import Options as PhotorealOptions
from STDNet.evaluation import EvaluationConfig
from STDNet.evaluation.__main__ import AnyDataset
from STDNet.export import ExportConfig
from STDNet.page.config import PageConfig
from STDNet.simulator.__main__ import Options as SimulatorOptions
from STDNet.statistics.__main__ import Options as StatisticsOptions
from STDNet.super_resolve import SuperResolveConfig
from STDNet.training import TrainConfig
from STDNet.visualize.__main__ import FIGURES

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {
    "app.py": PageConfig,
    "demo.py": DemoConfig,
    "train.py": TrainConfig,
    "test_TarTanAir.py": EvaluationConfig,
    "test_DyDToF.py": EvaluationConfig,
    "test_DynamicReplica.py": EvaluationConfig,
    "STDNet.evaluation": AnyDataset,
    "STDNet.datasets.synthetic": SyntheticOptions,
    "STDNet.datasets.synthetic.photoreal": PhotorealOptions,
    "STDNet.simulator": SimulatorOptions,
    "STDNet.datasets": CheckConfig,
    "STDNet.checkpoint list": ListOptions,
    "STDNet.checkpoint show": ShowOptions,
    "STDNet.checkpoint download": DownloadOptions,
    "STDNet.checkpoint convert": ConvertOptions,
    "STDNet.export": ExportConfig,
    "STDNet.statistics": StatisticsOptions,
    "STDNet.super_resolve": SuperResolveConfig,
    **{f"STDNet.visualize {name}": options for name, (options, _) in FIGURES.items()},
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
    words = shlex.split(re.sub(r"(STDNet\.checkpoint) (\w+)", r"'\1 \2'", command))  # a command with its subcommand
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), flags=re.M)
        return
    if "STDNet.visualize" in words:
        at = words.index("STDNet.visualize")
        words[at : at + 2] = [" ".join(words[at : at + 2])]  # with the name of the figure
    if words[0] == "pip":
        extras, known = re.search(r"\[(.*)]", words[-1]), (ROOT / "pyproject.toml").read_text()
        assert extras and all(f"\n{name} = [" in known for name in extras[1].split(","))
        return
    if words[1].startswith("tests/"):
        assert (ROOT / words[1]).is_file() and words[1] in (ROOT / words[1]).read_text()  # it says its command itself
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
        assert not word.startswith(("data/", "benchmarks/")) or any(ROOT.glob(word)), word


def test_pictures_are_there() -> None:
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / path).is_file()
