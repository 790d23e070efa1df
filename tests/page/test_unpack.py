"""Uploaded archives: captures come out, and nothing else gets in or out."""

from __future__ import annotations

import stat
import struct
import zipfile
from pathlib import Path

import captures
import numpy as np
import pytest

from STDNet import InputError
from STDNet.page.unpack import Limits, unpack
from STDNet.super_resolve import open_capture

LIMITS = Limits(10**7, 10**6, 50)


def archive(path: Path, members: dict[str, bytes] | list[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items() if isinstance(members, dict) else members:
            file.writestr(name, content)
    return path


def refused(tmp_path: Path, members: dict[str, bytes] | list, match: str, limits: Limits = LIMITS) -> None:
    before = {path for path in tmp_path.rglob("*")}
    with pytest.raises(InputError, match=match):
        unpack(archive(tmp_path / "a.zip", members), tmp_path / "in" / "deep", limits)
    left = {path for path in tmp_path.rglob("*")} - before
    assert left <= {tmp_path / "a.zip", tmp_path / "in"}  # nothing of it, neither inside nor outside


@pytest.mark.parametrize("around", ["", "phone/", "downloads/phone/"])
def test_a_capture_comes_out(tmp_path: Path, around: str) -> None:
    capture = captures.arkitscenes(tmp_path / "made")
    members = {around + path.relative_to(capture).as_posix(): path.read_bytes() for path in capture.rglob("*.*")}
    extra = {"__MACOSX/._a.png": b"", ".hidden/a.png": b"", f"{around}mesh.ply": b"ply", f"{around}weights.pkl": b"."}
    folder = unpack(archive(tmp_path / "a.zip", {**extra, **members}), tmp_path / "out", LIMITS)
    found = open_capture(folder)
    assert (found.format, len(found.frames)) == ("arkitscenes", 4)
    assert {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()} == {".png", ".pincam"}


@pytest.mark.parametrize(
    "name",
    ["../out.png", "rgb/../../out.png", "/tmp/out.png", "C:/out.png", "..\\out.png", "rgb/../../x.pkl", "a.png\0.txt"],
)
def test_paths_outside(tmp_path: Path, name: str) -> None:
    entry = zipfile.ZipInfo("x")
    entry.filename = name  # as an attacker writes it; the constructor would clean it
    refused(tmp_path, [("rgb/0.png", b"1"), (entry, b"2")], "a path outside of its folder")


def test_links_and_special_files(tmp_path: Path) -> None:
    for kind in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR):
        entry = zipfile.ZipInfo("rgb/0.png")
        entry.external_attr = (kind | 0o777) << 16
        refused(tmp_path, [(entry, b"/etc/passwd")], "a link or special file")


def test_bombs(tmp_path: Path) -> None:
    refused(tmp_path, {"rgb/0.npy": bytes(2 * 10**6)}, "unpacks to 2 MB, at most 1 MB")
    refused(tmp_path, {f"rgb/{t}.npy": bytes(600_000) for t in range(2)}, "unpacks to 1 MB")
    refused(tmp_path, {f"rgb/{t}.png": b"" for t in range(60)}, "60 files, at most 50")
    refused(tmp_path, {f"{t}.dat": b"" for t in range(200)}, "more than 50 files")


def test_a_size_that_is_a_lie(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"rgb/0.npy": bytes(2 * 10**6)})
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 1000)
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a whole zip archive|more than it says"):
        unpack(path, tmp_path / "out", LIMITS)
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_is_no_archive(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"rgb/0.png": bytes(range(256)) * 40})
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[60] ^= 0xFF
    for content in (b"", b"hello", whole[:-30], bytes(damaged)):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a whole zip archive"):
            unpack(path, tmp_path / "out", LIMITS)
        assert not (tmp_path / "out").exists()
    refused(tmp_path, {"notes.md": b"hello"}, "no picture, video or depth file")
    refused(tmp_path, [("rgb/0.png", b"1"), ("rgb/0.png", b"2")], "'rgb/0.png' twice")
    refused(tmp_path, [("rgb.png", b"1"), ("rgb.png/0.png", b"2")], "'rgb.png/0.png' twice")


def test_an_encrypted_archive(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"rgb/0.png": b"1"})
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="encrypted"):
        unpack(path, tmp_path / "out", LIMITS)


def test_a_playlist_is_no_film(tmp_path: Path) -> None:
    refused(
        tmp_path, {"rgb.mp4": b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"}, "'rgb.mp4' of the upload is not a whole video"
    )


def test_pickles_are_not_read(tmp_path: Path) -> None:
    capture = captures.folder(tmp_path / "made", frames=3)
    np.save(capture / "lr" / "f0.npy", np.array([[{"a": 1}]], object), allow_pickle=True)
    members = {path.relative_to(capture).as_posix(): path.read_bytes() for path in capture.rglob("*.*")}
    folder = unpack(archive(tmp_path / "a.zip", members), tmp_path / "out", LIMITS)
    from STDNet.page.run import describe

    with pytest.raises(InputError, match=r"f0\.npy: not a whole \.npy file"):
        describe(folder)
