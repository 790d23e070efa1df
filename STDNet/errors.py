"""The one exception that means "the input is wrong": a single line says what, where and what to do."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input from the outside: a file, a frame, a flag, a tensor of the wrong shape.

    The message is one line that names what is wrong, where (file, frame, line, flag) and what to do about it.
    Command lines print it without a traceback and exit with code 2 (see `command_line.run`).
    """
