"""Flags from a dataclass, one clear line for bad input, progress without a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from STDNet.command_line import argument, choose, option, parse, progress, run
from STDNet.errors import InputError


@dataclass(frozen=True)
class Config:
    scale: int = option(4, "a number, 100 % of the time", choices=(4, 8))
    rate: float | None = option(None, "maybe a number")
    steps: tuple[int, ...] = option((1, 2), "numbers")
    fast: bool = option(False, "a switch")
    folder: Path | None = option(None, "a path")


def test_defaults_and_types() -> None:
    assert parse(Config, [], description="x") == Config()
    flags = ["--scale", "8", "--rate", "0.5", "--steps", "3", "4", "5", "--fast", "--folder", "a/b"]
    found = parse(Config, flags, description="x")
    assert found == Config(8, 0.5, (3, 4, 5), True, Path("a/b"))
    assert parse(Config, ["--no-fast"], description="x", fast=True) == Config()


@pytest.mark.parametrize("flag", ["--local-rank=1", "--local_rank=1"])
def test_the_launchers_rank_is_accepted(flag: str) -> None:
    assert parse(Config, [flag], description="x") == Config()


def test_help_names_defaults(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(Config, ["--help"], description="what it does")
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert "what it does" in text and "(default: 1 2)" in text and "100 % of the time" in text


@pytest.mark.parametrize("arguments", [["--scale", "5"], ["--scale", "x"], ["--colour"]])
def test_wrong_flags_end_with_two(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(Config, arguments, description="x")
    assert stopped.value.code == 2


@dataclass(frozen=True)
class Placed:
    source: Path = argument("a file")
    scale: int = option(4, "a number")


def _copy(argv: list[str]) -> None:
    """Copy it."""
    print(parse(Placed, argv, description="x", command="copy"))


def test_arguments_by_position_and_commands(capsys: pytest.CaptureFixture) -> None:
    choose({"copy": _copy}, ["copy", "a/b", "--scale", "8"], description="x")
    assert capsys.readouterr().out.strip() == str(Placed(Path("a/b"), 8))
    for arguments, code, text in (
        (["--help"], 0, "copy      Copy it."),
        (["copy", "--help"], 0, "copy [-h] [--scale INT] SOURCE"),
        (["paste"], 2, "invalid choice: 'paste'"),
        ([], 2, "required: COMMAND"),
        (["copy"], 2, "required: SOURCE"),
    ):
        with pytest.raises(SystemExit) as stopped:
            choose({"copy": _copy}, arguments, description="x")
        found = capsys.readouterr()
        assert stopped.value.code == code and text in found.out + found.err


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture) -> None:
    def fail() -> None:
        raise InputError("frame 3 is missing")

    with pytest.raises(SystemExit) as stopped:
        run(fail)
    assert stopped.value.code == 2 and capsys.readouterr().err == "error: frame 3 is missing\n"


def test_progress_prints_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture) -> None:
    assert list(progress(range(20), desc="reading", unit="frames")) == list(range(20))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10 and lines[-1] == "reading: 20/20 frames"


def test_freed_memory_is_kept_only_where_the_environment_says_nothing() -> None:
    code = "from STDNet.command_line import keep_freed_memory; print(keep_freed_memory())"
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    cases = ((plain, sys.platform.startswith("linux")), ({**plain, "MALLOC_ARENA_MAX": "1"}, False))
    for environment, expected in cases:
        command = [sys.executable, "-c", code]
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert found.stdout.strip() == str(expected)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="malloc of glibc")
def test_freed_memory_goes_back_when_asked() -> None:
    code = """
import numpy as np
from STDNet.command_line import keep_freed_memory, release_freed_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
if keep_freed_memory():
    arrays = [np.ones(2**20) for _ in range(20)]  # 8 MiB each
    full = resident()
    del arrays
    kept = resident()
    release_freed_memory()
    print(full - kept < 20, kept - resident() > 120)
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("True True", "")  # nothing where the C library is another one
