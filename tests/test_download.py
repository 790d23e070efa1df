"""Downloads from a real local server that drops connections, ignores ranges, sends short or wrong bytes, 404, 500."""

from __future__ import annotations

import hashlib
import http.server
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from STDNet import InputError, STDNet, STDNetConfig
from STDNet.checkpoint import download as downloads
from STDNet.checkpoint import fetch, load, locate, read, write_official, write_safetensors
from STDNet.checkpoint.__main__ import main

CONTENT = bytes(range(256)) * 2000  # half a megabyte: several chunks
SHA = hashlib.sha256(CONTENT).hexdigest()


class Faulty(http.server.ThreadingHTTPServer):
    """Serves `content`; each request takes one fault off the list."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.faults: list[str] = []
        self.ranges = True
        self.etag: str | None = '"1"'
        self.asked: list[tuple[str, str | None]] = []

    def url(self, name: str = "net.bin") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Faulty

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append((self.path, wanted))
        fault = server.faults.pop(0) if server.faults else ""
        if fault.isdigit():
            self.send_error(int(fault))
            return
        start, body = 0, server.content
        if wanted and server.ranges and self.headers.get("If-Range", server.etag) == server.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        body = body[start:]
        if fault == "wrong":
            body = b"x" * len(body)
        self.wfile.write(body[: len(body) // 2] if fault == "short" else body)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    monkeypatch.setenv("STDNET_CACHE", str(tmp_path / "cache"))
    with Faulty() as made:
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield made
        made.shutdown()


def get(server: Faulty, sha256: str | None = SHA) -> Path:
    return fetch(server.url(), sha256=sha256, wait_s=0.0)


def _left(path: Path) -> set[str]:
    """What lies in the file's folder, without the lock."""
    return {found.name for found in path.parent.iterdir() if found.suffix != ".lock"}


def test_a_file_is_downloaded_once(server: Faulty, tmp_path: Path) -> None:
    path = get(server)
    assert path.read_bytes() == CONTENT and path.name == "net.bin" and tmp_path / "cache" in path.parents
    assert get(server) == path and len(server.asked) == 1
    assert _left(path) == {"net.bin"}


@pytest.mark.parametrize("sha256", [SHA, None])
def test_a_dropped_connection_is_resumed(server: Faulty, sha256: str | None) -> None:
    server.faults = ["short", "short"]
    assert get(server, sha256).read_bytes() == CONTENT
    half, quarter = len(CONTENT) // 2, len(CONTENT) // 4
    assert [wanted for _, wanted in server.asked] == [None, f"bytes={half}-", f"bytes={half + quarter}-"]


def test_a_server_that_ignores_ranges(server: Faulty) -> None:
    server.ranges, server.faults = False, ["short"]
    assert get(server).read_bytes() == CONTENT


def test_a_file_that_changes_on_the_way_is_begun_anew(server: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    server.faults = ["short"]
    append = downloads._append

    def change(*arguments: object) -> None:
        append(*arguments)  # type: ignore[arg-type]
        server.content, server.etag = CONTENT[::-1], '"2"'

    monkeypatch.setattr(downloads, "_append", change)
    assert get(server, None).read_bytes() == CONTENT[::-1]


def test_server_errors_are_retried(server: Faulty) -> None:
    server.faults = ["500", "503", "429"]
    assert get(server).read_bytes() == CONTENT
    assert len(server.asked) == 4


def test_progress_resets_the_count_of_failures(server: Faulty) -> None:
    server.faults = ["short"] * 8
    assert get(server).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("faults", "message", "asked"),
    [
        (["500"] * 9, "gave up after 5 tries", 5),
        (["404"], "404", 1),
        (["403"], "403", 1),
        (["wrong"] * 9, "sha256 is", 2),
    ],
)
def test_what_does_not_come_leaves_nothing(server: Faulty, faults: list[str], message: str, asked: int) -> None:
    server.faults = faults
    with pytest.raises(InputError, match=message):
        get(server)
    assert len(server.asked) == asked and not [path for path in downloads.cache_folder().rglob("*.bin")]


def test_wrong_bytes_once_are_repaired(server: Faulty) -> None:
    server.faults = ["short", "wrong"]
    assert get(server).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, f"bytes={len(CONTENT) // 2}-", None]


def test_a_stopped_download_goes_on_in_the_next_process(server: Faulty) -> None:
    server.faults = ["short", "404"]
    with pytest.raises(InputError, match="404"):
        get(server)
    assert get(server).read_bytes() == CONTENT
    assert server.asked[-1][1] == f"bytes={len(CONTENT) // 2}-"


def test_without_a_checksum_a_strangers_half_is_not_used(server: Faulty) -> None:
    server.faults = ["short", "404"]
    with pytest.raises(InputError, match="404"):
        get(server, None)
    assert get(server, None).read_bytes() == CONTENT
    assert server.asked[-1][1] is None


def test_a_part_longer_than_the_file_is_dropped(server: Faulty) -> None:
    path = get(server)
    path.rename(path.with_name("net.bin.part")).write_bytes(CONTENT * 2)
    assert get(server).read_bytes() == CONTENT


def test_a_damaged_file_in_the_cache_is_replaced(server: Faulty) -> None:
    get(server).write_bytes(b"damaged")
    assert get(server).read_bytes() == CONTENT


def test_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STDNET_CACHE", str(tmp_path))
    with Faulty() as gone:
        url = gone.url()
    with pytest.raises(InputError, match=r"gave up after 5 tries \(no connection"):
        fetch(url, wait_s=0.0)


def _fetch(url: str) -> bytes:
    return fetch(url, sha256=SHA, wait_s=0.01).read_bytes()


def test_processes_that_ask_at_once_download_once(server: Faulty) -> None:
    server.faults = ["short"]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_fetch, [server.url()] * 2) == [CONTENT] * 2
    assert len(server.asked) == 2  # the short one and its rest


@pytest.mark.parametrize(
    ("url", "message"),
    [("ftp://host/a", "not an http"), ("https://", "not an http"), ("http://host/a#sha256=12", "64 hexadecimal")],
)
def test_what_is_not_an_address(url: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fetch(url)


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STDNET_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert downloads.cache_folder() == Path("/x/stdnet")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert downloads.cache_folder() == Path.home() / ".cache/stdnet"
    monkeypatch.setenv("STDNET_CACHE", "/y")
    assert downloads.cache_folder() == Path("/y")


@pytest.fixture
def net() -> STDNet:
    return STDNet(STDNetConfig(scale=8, channels=4)).eval()


def _serve(server: Faulty, path: Path) -> str:
    server.content = path.read_bytes()
    return hashlib.sha256(server.content).hexdigest()


def test_load_from_an_address(server: Faulty, net: STDNet, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    write_safetensors(path, net.config, net.state_dict(), {"max_depth_m": 10.0})
    sha256 = _serve(server, path)
    loaded = load(f"{server.url(path.name)}?download=true#sha256={sha256}")
    assert loaded.config == net.config and loaded.meta == {"max_depth_m": 10.0}
    # A flag of type Path loses a slash.
    assert read(Path(f"{server.url(path.name)}?download=true")).config == net.config and len(server.asked) == 1
    with pytest.raises(InputError, match="sha256 is"):
        load(f"{server.url(path.name)}#sha256={SHA}")


def test_official_weights_from_an_address_are_renamed(server: Faulty, net: STDNet, tmp_path: Path) -> None:
    write_official(tmp_path / "official.pth", net.config, net.state_dict())
    _serve(server, tmp_path / "official.pth")
    out = tmp_path / "ours.pth"
    main(["convert", server.url("official.pth"), "--out", str(out), "--scale", "8"])
    assert torch.equal(load(out).stages[1].features.conv.weight, net.stages[1].features.conv.weight)


def test_the_command_prints_the_path(server: Faulty, capsys: pytest.CaptureFixture) -> None:
    main(["download", server.url()])
    assert Path(capsys.readouterr().out.strip()).read_bytes() == CONTENT
    with pytest.raises(InputError, match="neither an http"):
        main(["download", "net.pth"])


@pytest.fixture
def by_gdown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the local server pass for Google Drive: gdown itself downloads from any address."""
    pytest.importorskip("gdown")
    monkeypatch.setattr(downloads, "DRIVE_HOSTS", ("127.0.0.1",))


def test_gdown_downloads(server: Faulty, by_gdown: None) -> None:
    server.faults = ["500"]
    assert get(server).read_bytes() == CONTENT


@pytest.mark.parametrize(("faults", "message"), [(["404"] * 9, "gdown: 404"), (["500"] * 9, "gave up")])
def test_gdown_fails(server: Faulty, by_gdown: None, faults: list[str], message: str) -> None:
    server.faults = faults
    with pytest.raises(InputError, match=message):
        get(server)


def test_names_in_the_table_may_be_downloaded(server: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    from STDNet.checkpoint import Weights, table

    row: Callable[[str], Weights] = lambda sha256: Weights(STDNetConfig(), sha256, {}, server.url())  # noqa: E731
    monkeypatch.setattr(table, "WEIGHTS", {"far": row(SHA), "wrong": row("0" * 64)})
    assert locate("far").read_bytes() == CONTENT
    with pytest.raises(InputError, match="sha256 is"):
        locate("wrong")
