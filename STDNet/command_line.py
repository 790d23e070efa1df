"""From a frozen dataclass to a command line, and from an exception to one clear line with exit code 2."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import logging
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from STDNet.errors import InputError

Config = TypeVar("Config")
Item = TypeVar("Item")


def option(default: Any, doc: str, *, choices: tuple | None = None) -> Any:
    """A dataclass field with a help text, and the values it may take."""
    metadata = {"help": doc, "choices": choices}
    if isinstance(default, list | dict | set):
        raise TypeError("an option's default is immutable: use a tuple")
    return dataclasses.field(default=default, metadata=metadata)


def argument(doc: str) -> Any:
    """A dataclass field that the command line takes by position, and needs; these fields come first."""
    return dataclasses.field(metadata={"help": doc, "position": True})


def parse(
    config: type[Config], argv: list[str] | None = None, *, description: str, command: str = "", **defaults: Any
) -> Config:
    """Read `argv` into the dataclass `config`: one flag a field, its default, type, choices and help from the field.

    Args:
        config: A dataclass whose fields were made with `option` or `argument`. Types: int, float, str, bool, Path,
            tuples of these, and their unions with None. A bool is a pair of flags, --name and --no-name.
        argv: The arguments, without the program's name; None reads sys.argv.
        description: The first lines of --help.
        command: Of a program that has several, see `choose`.
        defaults: Other default values for fields of `config`.

    Returns:
        A `config`. Wrong flags end the program with exit code 2, as argparse does.
    """
    parser = argparse.ArgumentParser(prog=_program(command), description=description)
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        _add_flag(parser, field, hints[field.name], defaults.get(field.name, field.default))
    # torch.distributed.launch passes the local rank as a flag; the environment already says it.
    parser.add_argument("--local-rank", "--local_rank", help=argparse.SUPPRESS)
    values = vars(parser.parse_args(argv))
    del values["local_rank"]
    return config(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def choose(commands: Mapping[str, Callable[[list[str]], None]], argv: list[str] | None, *, description: str) -> None:
    """Run one of several commands: the first argument names it, it gets the others.

    Args:
        commands: By name; the first line of its docstring stands in --help.
        argv: The arguments, without the program's name; None reads sys.argv.
        description: The first lines of --help.
    """
    argv = sys.argv[1:] if argv is None else argv
    epilog = f"{_program()} COMMAND --help lists the flags of a command."
    parser = argparse.ArgumentParser(prog=_program(), description=description, epilog=epilog)
    choices = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for name, command in commands.items():
        choices.add_parser(name, help=(command.__doc__ or "").splitlines()[0], add_help=False)
    commands[parser.parse_args(argv[:1]).command](argv[1:])


def _program(command: str = "") -> str:
    """What the user typed: "python -m STDNet.x" for a module, a script's own name, and the command."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = Path(sys.argv[0]).name if spec is None else f"python -m {spec.name.removesuffix('.__main__')}"
    return f"{name} {command}".strip()


def _add_flag(parser: argparse.ArgumentParser, field: dataclasses.Field, hint: Any, default: Any) -> None:
    """One field, one flag."""
    text = field.metadata["help"].replace("%", "%%")  # argparse expands %
    if default not in (None, (), dataclasses.MISSING):
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        text += f" (default: {shown})"
    keywords: dict[str, Any] = {"help": text, "default": default}
    kind = _value_type(hint)
    if field.metadata.get("position"):
        parser.add_argument(field.name, type=kind, metavar=field.name.upper(), help=text)
        return
    if kind is bool:
        keywords["action"] = argparse.BooleanOptionalAction
    else:
        keywords["type"] = kind
        keywords["choices"] = field.metadata.get("choices")
        keywords["metavar"] = None if keywords["choices"] else kind.__name__.upper()
        if typing.get_origin(hint) is tuple:
            keywords["nargs"] = "+"
    parser.add_argument(f"--{field.name}", **keywords)


def _value_type(hint: Any) -> type:
    """The type of one value: `int` for int, int | None and tuple[int, ...]."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return _value_type(next(arg for arg in typing.get_args(hint) if arg is not type(None)))
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0]
    return hint


def run(main: Callable[[], None]) -> None:
    """Call `main` as a program: `InputError` becomes one line on stderr and exit code 2, Ctrl-C exit code 130."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    keep_freed_memory()
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next tensor of the size instead of handing it back to the system.

    Without it every large feature map is new memory, and its pages cost the kernel's time, again and again. Where the
    C library is another one, nothing happens. Returns whether it was set; MALLOC_* in the environment is left alone.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    return bool(mallopt(mmap_threshold, 2**30)) and bool(mallopt(trim_threshold, 2**31 - 1))


def release_freed_memory() -> None:
    """Hand what `keep_freed_memory` kept back to the system, before work of another size."""
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc keeps nothing
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def progress(items: Iterable[Item], *, total: int | None = None, desc: str = "", unit: str = "it") -> Iterable[Item]:
    """`items` with a tqdm bar on a terminal, and with a plain line every now and then elsewhere."""
    if sys.stderr.isatty():
        return tqdm(items, total=total, desc=desc, unit=unit, dynamic_ncols=True)
    return _plain_progress(items, total, desc, unit)


def _plain_progress(items: Iterable[Item], total: int | None, desc: str, unit: str) -> Iterable[Item]:
    """About ten lines for the whole, each with a count."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    step = max(1, -(-(total or 1000) // 10))
    for count, item in enumerate(items, start=1):
        yield item
        if count % step == 0 or count == total:
            print(f"{desc}: {count}{f'/{total}' if total else ''} {unit}", file=sys.stderr, flush=True)
