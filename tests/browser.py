"""The page in a real browser: app.py as a process of its own, driven by Playwright in the system's Chromium.

`python tests/browser.py Figs/app.png` makes the picture of the README: all frames of the sample at x4.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from STDNet.files import write_image

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# WebGL without a graphics card.
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@contextmanager
def app(*flags: str, wait_s: float = 600) -> Iterator[tuple[str, subprocess.Popen]]:
    """A running app.py on a free port: its address and its process, which is ended by SIGTERM."""
    command = [sys.executable, str(ROOT / "app.py"), "--port", "0", "--device", "cpu", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    lines: list[str] = []
    ready = threading.Event()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if "the page is at" in line:
                ready.set()
        ready.set()

    threading.Thread(target=read, daemon=True).start()
    try:
        assert ready.wait(wait_s), "app.py does not start"
        found = re.search(r"http://\S+/", "".join(lines))
        assert found, "".join(lines)
        yield found.group(), process
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def page(url: str, width: int = 1280, height: int = 800) -> Iterator[tuple[Any, list[str]]]:
    """The page in headless Chromium, and everything that went wrong there or was asked for from elsewhere."""
    from playwright.sync_api import sync_playwright

    wrong: list[str] = []

    def route(request: Any) -> None:
        if request.request.url.startswith((url, "data:", "blob:")):
            request.continue_()
        else:
            wrong.append(f"asked for {request.request.url}")
            request.abort()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        opened = browser.new_page(viewport={"width": width, "height": height})
        opened.set_default_timeout(60_000)
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
        opened.route("**/*", route)
        opened.goto(url)
        opened.wait_for_selector("body[data-ready]")
        yield opened, wrong
        browser.close()


def until(opened: Any, true: str, wait_s: float = 60) -> None:
    """Wait for a JavaScript expression; Playwright's own waiting is what the page's policy forbids."""
    deadline = time.monotonic() + wait_s
    while not opened.evaluate(true):
        assert time.monotonic() < deadline, true
        opened.wait_for_timeout(20)


def super_resolve(opened: Any, frames: int, wait_s: float = 60) -> None:
    """Run what is chosen on the page, and wait until its result is there."""
    opened.fill("#frames", str(frames))
    opened.click("#start")
    until(opened, "!document.querySelector('#start').disabled", wait_s)
    assert opened.locator("#error").is_hidden(), opened.inner_text("#error")
    until(opened, "[...document.querySelectorAll('#result img')].every(image => image.naturalWidth)")
    until(opened, "document.querySelector('#cloud-text').textContent.includes('points')")


def main() -> None:
    """Photograph the result of the sample."""
    with app() as (url, _), page(url, 1280, 900) as (opened, _):
        super_resolve(opened, 16, wait_s=1800)
        # Another view of the points than the pictures have.
        box = opened.locator("#cloud").bounding_box()
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        opened.mouse.move(*middle)
        opened.mouse.down()
        opened.mouse.move(middle[0] + 20, middle[1] + 12, steps=4)
        opened.mouse.up()
        opened.wait_for_timeout(1000)
        picture = Image.open(io.BytesIO(opened.screenshot(full_page=True))).convert("RGB")
        write_image(sys.argv[1], picture.quantize(256, dither=Image.Dither.NONE), optimize=True)


if __name__ == "__main__":
    main()
