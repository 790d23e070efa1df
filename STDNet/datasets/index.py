"""Index files: readable text, one line a sequence: "scene, sequence, frames" and, for DyDToF, the file-name prefix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from STDNet.errors import InputError

COLUMNS = "scene, sequence, frames[, file-name prefix]"


@dataclass(frozen=True)
class Entry:
    """One line of an index file.

    Attributes:
        scene: "hospital".
        sequence: "P047"; it may name folders, as in "Easy/P003".
        frames: How many frames the sequence has.
        prefix: What file names begin with, "school_shot8."; empty where the data set has no such prefix.
    """

    scene: str
    sequence: str
    frames: int
    prefix: str = ""

    @property
    def name(self) -> str:
        """What the sequence is called in messages: "hospital/P047"."""
        return f"{self.scene}/{self.sequence}"


def read_index(path: Path | str) -> list[Entry]:
    """Read an index file: '#' begins a comment, empty lines are skipped, columns are separated by commas.

    Args:
        path: The file, such as data/TarTanAir_train.txt.

    Returns:
        Its sequences, in the order of the file.

    Raises:
        InputError: The file is missing, unreadable or names no sequence; or a line has the wrong number of columns, an
            empty one, a frame count that is no positive whole number, or names a sequence for the second time.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the index file cannot be read ({error}); give the path of a list in data/") from None
    entries: list[Entry] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        where = f"{path}, line {number}"
        entry = _entry(line, where)
        if entry.name in seen:
            raise InputError(f"{where}: {entry.name} is already on line {seen[entry.name]}; remove one of the two")
        seen[entry.name] = number
        entries.append(entry)
    if not entries:
        raise InputError(f"{path}: names no sequence; write lines of the form: {COLUMNS}")
    return entries


def _entry(line: str, where: str) -> Entry:
    """One line without its comment."""
    columns = [column.strip() for column in line.split(",")]
    if len(columns) not in (3, 4) or not all(columns):
        raise InputError(f"{where}: {line!r} does not have the form: {COLUMNS}")
    scene, sequence, count, *prefix = columns
    if not count.isdecimal() or int(count) == 0:
        raise InputError(f"{where}: the number of frames is {count!r}; expected a whole number above 0")
    return Entry(scene, sequence, int(count), *prefix)
