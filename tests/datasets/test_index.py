"""Index files: the paper's splits, and every way a line can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from STDNet import InputError
from STDNet.datasets import Entry, read_index

DATA = Path(__file__).resolve().parents[2] / "data"


@pytest.mark.parametrize(
    ("name", "sequences", "frames"),
    [
        ("TarTanAir_train", 11, 6164),
        ("TarTanAir_test", 3, 1228),
        ("TarTanAir_val_paper", 1, 345),
        ("TarTanAir_val", 1, 308),
        ("DyDToF_test", 2, 576),
        ("DyDToF_test_subset", 1, 30),
        ("DynamicReplica_test", 1, 500),
    ],
)
def test_the_papers_splits_have_the_papers_frame_counts(name, sequences, frames):
    entries = read_index(DATA / f"{name}.txt")
    assert (len(entries), sum(entry.frames for entry in entries)) == (sequences, frames)


def test_the_training_windows_are_the_papers():
    assert sum(entry.frames - 2 - 7 + 1 for entry in read_index(DATA / "TarTanAir_train.txt")) == 6076


def test_only_the_papers_own_validation_shares_a_sequence_with_the_test_list():
    test, honest, paper, train = (
        {entry.name for entry in read_index(DATA / f"TarTanAir_{name}.txt")}
        for name in ("test", "val", "val_paper", "train")
    )
    assert not honest & test
    assert not train & test
    assert paper <= test


def test_comments_blanks_and_the_prefix_column(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# head\n\n office , Easy/P003 , 5 # five\nschool, shot, 2, shot.\n")
    assert read_index(path) == [Entry("office", "Easy/P003", 5), Entry("school", "shot", 2, "shot.")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no sequence"),
        ("# nothing\n\n", "names no sequence"),
        ("office, P000\n", "line 1: 'office, P000' does not have the form"),
        ("a, b, 3\n# x\noffice, , 7\n", "line 3: 'office, , 7' does not have the form"),
        ("a, b, 3, c, d\n", "line 1"),
        ("a, b, many\n", "line 1: the number of frames is 'many'"),
        ("a, b, 0\n", "line 1: the number of frames is '0'"),
        ("a, b, -4\n", "line 1: the number of frames is '-4'"),
        ("a, b, 2.5\n", "line 1: the number of frames is '2.5'"),
        ("a, b, 3\na, c, 3\na, b, 4\n", "line 3: a/b is already on line 1"),
    ],
)
def test_a_bad_line_is_named_with_its_number(tmp_path, text, message):
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(InputError, match="list.txt") as error:
        read_index(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_or_binary_index_file(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x81")
    for name in ("absent", "binary"):
        with pytest.raises(InputError, match="cannot be read"):
            read_index(tmp_path / name)
