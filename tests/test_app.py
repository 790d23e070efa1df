"""app.py as a user meets it: in headless Chromium, and over plain HTTP where a browser cannot misbehave enough."""

from __future__ import annotations

import http.client
import importlib
import importlib.util
import json
import shutil
import signal
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import browser
import captures
import numpy as np
import pytest

from STDNet import InputError
from STDNet.command_line import parse
from STDNet.datasets import synthetic
from STDNet.page.config import PageConfig

if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
    pytest.skip("needs the extra app: pip install 'STDNet[app]'", allow_module_level=True)

needs_browser = pytest.mark.skipif(
    browser.CHROMIUM is None or importlib.util.find_spec("playwright") is None,
    reason="needs a Chromium (Debian: apt-get install chromium) and the extra browser (Playwright)",
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page with a small sample, that takes 1 MB."""
    root = tmp_path_factory.mktemp("sample")
    clip = synthetic.render(3, 3, 96, 128)
    synthetic.write(clip, "DynamicReplica", root, "sample/room", scales=())
    header = "# fx fy cx cy = {} {} {} {} pixels\n".format(*clip.intrinsics)
    sequence = next(path.parent for path in root.glob("*/images"))
    (sequence / "poses.txt").write_text(header)
    with browser.app("--sample", str(root), "--max_upload_mb", "1") as (address, process):
        before = {path.name for path in Path(tempfile.gettempdir()).glob("stdnet-page-*")}
        assert before
        yield address
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert len({path.name for path in Path(tempfile.gettempdir()).glob("stdnet-page-*")} & before) < len(before)


def talk(url: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    if isinstance(body, dict):
        body, headers = json.dumps(body), {"Content-Type": "application/json", **headers}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    assert "default-src 'self'" in answer.headers.get("Content-Security-Policy", "") or answer.status == 400
    return answer.status, json.loads(content) if b"{" in content[:1] else content


@needs_browser
def test_the_sample_and_broken_uploads_in_a_browser(url: str, tmp_path: Path) -> None:
    with browser.page(url) as (page, wrong):
        browser.super_resolve(page, 3)
        rows = page.locator("#scores tbody tr").all_inner_texts()
        values = {row.split()[0]: [float(cell) for cell in row.split()[1:]] for row in rows}
        assert list(values) == ["Bilinear", "STDNet"] and all(len(row) == 5 for row in values.values())
        assert 0 < values["STDNet"][0] < 1000

        _look_around(page)
        with page.expect_download() as download:
            page.click("#download")
        with zipfile.ZipFile(download.value.path()) as archive:
            assert sum(name.endswith(".npy") for name in archive.namelist()) == 3
            assert {"result/summary.json", "result/preview.mp4"} < set(archive.namelist())
        assert wrong == []

        page.check("input[value=capture]")
        (tmp_path / "broken.zip").write_bytes(b"this is no archive")
        with zipfile.ZipFile(tmp_path / "escape.zip", "w") as archive:
            archive.writestr("../../escaped.png", b"1")
        (tmp_path / "large.zip").write_bytes(bytes(1_100_000))
        for name, message in {
            "broken.zip": "The upload is not a whole zip archive",
            "escape.zip": "a path outside of its folder",
            "large.zip": "at most 1 MB are taken",
        }.items():
            page.set_input_files("#file", tmp_path / name)
            page.locator("#error").get_by_text(message).wait_for()
        assert "Traceback" not in page.inner_text("body")

        capture = Path(shutil.make_archive(str(tmp_path / "whole"), "zip", captures.arkitscenes(tmp_path / "c")))
        page.set_input_files("#file", capture)
        page.locator("#capture-facts").get_by_text("arkitscenes: 4 frames, RGB 48 x 32, depth 12 x 8; x4").wait_for()
        assert page.locator("#error").is_hidden()
        browser.super_resolve(page, 2)
        assert page.locator("#scores").is_hidden() and page.locator("#no-truth").is_visible()
        assert "2 frames, 12 x 8 to 48 x 32" in page.inner_text("#facts")


def _look_around(page: Any) -> None:
    """Scrub, move the line, choose another row, turn the points: each changes what is seen."""
    shown = page.get_attribute("#under", "src")
    page.locator("#time").fill("0")
    browser.until(page, "document.querySelector('#under').src.endsWith('/frames/stdnet/0')")
    assert page.get_attribute("#under", "src") != shown
    assert page.inner_text("#time-text") == "frame 1 of 3"
    page.select_option("#left", "truth")
    browser.until(page, "document.querySelector('#over').src.endsWith('/frames/truth/0')")
    box = page.locator("#stack").bounding_box()
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 20)
    assert page.get_attribute("#handle", "aria-valuenow") == "25"
    page.locator("#row").fill("10")
    browser.until(
        page,
        "[...document.querySelectorAll('#slices img')].every(i => i.src.endsWith('/10') && i.naturalHeight === 3)",
    )
    before = page.locator("#cloud").screenshot()
    box = page.locator("#cloud").bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 70)
    page.mouse.up()
    page.wait_for_timeout(200)
    turned = page.locator("#cloud").screenshot()
    assert turned != before
    page.click("#cloud-reset")
    page.wait_for_timeout(200)
    assert page.locator("#cloud").screenshot() == before


@needs_browser
def test_on_a_phone_nothing_sticks_out(url: str) -> None:
    with browser.page(url, 390, 800) as (page, wrong):
        browser.super_resolve(page, 1)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert wrong == []


def test_what_a_page_never_asks(url: str) -> None:
    status, told = talk(url, "POST", "/api/sessions", {})
    own = f"/api/sessions/{told['session']}"
    assert status == 200 and talk(url, "GET", own) == (200, {"run": None})
    for path, body, message in (
        ("/run", {"source": "sample", "weights": "../../x.pth", "frames": 1}, "choose one of the weights"),
        ("/run", {"source": "sample", "weights": "stdnet-s-x4", "frames": 10**6}, "must be 1 to 120"),
        ("/run", {"source": "sample", "weights": "stdnet-s-x4", "frames": True}, "must be 1 to 120"),
        ("/run", {"source": "capture", "weights": "stdnet-s-x4", "frames": 1}, "upload a capture first"),
        ("/capture", bytes(1_100_000), "larger than 1 MB"),
        ("/capture", b"", "not a whole zip archive"),
    ):
        status, told = talk(url, "POST", own + path, body)
        assert status == 400 and message in told["error"], told
    # Other sites can send forms, not JSON; and a name of theirs that points here is not this page's.
    assert talk(url, "POST", "/api/sessions", b"{}")[0] == 415
    assert talk(url, "GET", "/", Host="evil.example")[0] == 400
    assert talk(url, "GET", "/static/../server.py")[0] == 404
    assert talk(url, "GET", "/static/%2e%2e/server.py")[0] == 404
    assert "closed" in talk(url, "GET", "/api/sessions/guessed")[1]["error"]
    assert talk(url, "GET", f"{own}/runs/x/frames/rgb/0")[0] == 400
    assert talk(url, "POST", f"{own}/end", b"")[0] == 204
    assert "closed" in talk(url, "GET", own)[1]["error"]


def test_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    config = parse(PageConfig, [], description="")
    assert (config.host, config.port, config.max_upload_mb) == ("127.0.0.1", 7860, 500)
    assert config.loopback and PageConfig(host="::1").loopback and PageConfig(host="localhost").loopback
    assert not PageConfig(host="0.0.0.0").loopback and not PageConfig(host="box.lan").loopback
    for wrong in ({"port": 70000}, {"max_upload_mb": 0}, {"max_frames": -1}):
        with pytest.raises(InputError, match="must be"):
            PageConfig(**wrong)


def test_weights_that_cannot_be_read_end_the_program(tmp_path: Path) -> None:
    from STDNet.page.server import serve

    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(InputError, match="not a readable checkpoint"):
        serve(PageConfig(weights=(str(tmp_path / "x.npy"),)))


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "STDNet.page.server", raising=False)
    with pytest.raises(InputError, match=r"pip install 'STDNet\[app\]'"):
        importlib.import_module("STDNet.page.server")
