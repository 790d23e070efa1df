"""Files appear whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from STDNet.files import atomic_write, write_json, write_npy


def test_a_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.bin"
    with atomic_write(path) as file:
        file.write(b"abc")
        assert not path.exists()
    assert path.read_bytes() == b"abc" and [p.name for p in path.parent.iterdir()] == ["a.bin"]
    assert path.stat().st_mode & 0o777 == (tmp_path / "new").stat().st_mode & 0o666


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_arrays_and_json(tmp_path: Path) -> None:
    write_npy(tmp_path / "a.npy", np.arange(3))
    write_json(tmp_path / "a.json", {"a": 1})
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2]
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
