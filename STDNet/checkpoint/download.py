"""Files from the net: resumed, checked, retried, and there whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock
from tqdm import tqdm

from STDNet.errors import InputError

log = logging.getLogger(__name__)

TRIES = 5  # in a row without a new byte
TIMEOUT_S = 30.0
CHUNK = 1 << 16
TRANSIENT = (408, 425, 429)  # besides 5xx
DRIVE_HOSTS = ("drive.google.com", "drive.usercontent.google.com", "docs.google.com")


class _Refused(Exception):
    """An answer that a retry will not change."""


class _Retry(Exception):
    """An attempt that failed, and may succeed when repeated."""


def as_url(source: Path | str) -> str | None:
    """`source` if it is an http address, else None. A `Path` of an address has lost a slash, which comes back."""
    found = re.fullmatch(r"(https?):/+(.+)", str(source))
    return f"{found[1]}://{found[2]}" if found else None


def cache_folder() -> Path:
    """$STDNET_CACHE, else $XDG_CACHE_HOME/stdnet, else ~/.cache/stdnet."""
    if own := os.environ.get("STDNET_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "stdnet"


def fetch(url: str, *, sha256: str | None = None, wait_s: float = 1.0) -> Path:
    """The file behind an address, from the cache folder where it is there already.

    Args:
        url: http or https; a link to one file on Google Drive needs gdown. It may end in `#sha256=...`.
        sha256: The expected checksum in hex; without one (nor one in `url`) any content is taken.
        wait_s: Seconds before the first retry; they double with each.

    Returns:
        The file in the cache. It appears when it is whole and its checksum right.

    Raises:
        InputError: Not an address, not found, wrong content, or still no answer after some retries.
    """
    address, _, fragment = url.partition("#")
    if as_url(address) != address or not urlsplit(address).hostname:
        raise InputError(f"{url}: not an http(s) address of a file")
    if fragment.startswith("sha256="):
        sha256 = fragment.removeprefix("sha256=")
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise InputError(f"{url}: a sha256 checksum has 64 hexadecimal digits, got {sha256!r}")
    sha256 = None if sha256 is None else sha256.lower()
    name = re.sub(r"[^\w.-]", "_", Path(urlsplit(address).path).name) or "file"
    path = cache_folder() / hashlib.sha256(address.encode()).hexdigest()[:16] / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f"{name}.lock")):  # several processes of one training ask at once
            if not path.is_file() or (sha256 is not None and checksum(path) != sha256):
                _download(address, path, sha256, wait_s)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error}); STDNET_CACHE names another folder") from None
    return path


def checksum(path: Path) -> str:
    """The sha256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass
class _Part:
    """A file that is on its way.

    Attributes:
        path: What has come so far.
        checked: A checksum will tell whether the halves of a resumed file belong together.
        validator: The server's name for this version of the file (a strong ETag, or its date), once it has said it.
    """

    path: Path
    checked: bool
    validator: str | None = None

    def size(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def unusable(self, reason: str) -> _Retry:
        """Forget it."""
        self.path.unlink(missing_ok=True)
        return _Retry(reason)


def _download(url: str, path: Path, sha256: str | None, wait_s: float) -> None:
    """Fill `path`.part until it is whole and right, then rename it."""
    part = _Part(path.with_name(f"{path.name}.part"), checked=sha256 is not None)
    attempt = _from_drive if urlsplit(url).hostname in DRIVE_HOSTS else _attempt
    failures, best, wrong = 0, 0, 0
    log.info("downloading %s", url)
    while True:
        try:
            attempt(url, part)
            found = checksum(part.path)
            if sha256 is None or found == sha256:
                break
            part.path.unlink()
            wrong += 1
            if wrong == 2:
                raise _Refused(f"sha256 is {found}, expected {sha256}: another file than the one that was meant")
            log.info("%s: wrong checksum, once more from the start", url)
        except _Refused as error:
            raise InputError(f"{url}: {error}") from None
        except _Retry as error:
            failures = 1 if part.size() > best else failures + 1
            best = max(best, part.size())
            if failures == TRIES:
                raise InputError(f"{url}: gave up after {TRIES} tries ({error}); try again later") from None
            log.info("%s: %s; trying again", url, error)
            time.sleep(wait_s * 2 ** (failures - 1))
    part.path.replace(path)
    log.info("%s: %d bytes, sha256 %s%s", path, path.stat().st_size, found, "" if sha256 else " (not checked)")


def _attempt(url: str, part: _Part) -> None:
    """Ask once, from where the part ends, and append what comes."""
    have = part.size() if part.checked or part.validator else 0
    headers = {"User-Agent": "STDNet", **({"Range": f"bytes={have}-"} if have else {})}
    if have and part.validator:
        headers["If-Range"] = part.validator
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S) as answer:
            part.validator = _validator(answer.headers)
            if answer.status == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise part.unusable("the server sent another part of the file than the one asked for")
            have = have if answer.status == 206 else 0  # a server may ignore Range, and sends all
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else None
            _append(answer, part.path, have, total)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            raise part.unusable("what is on disk is not a beginning of the file") from None
        if error.code >= 500 or error.code in TRANSIENT:
            raise _Retry(f"the server answers {error.code} {error.reason}") from None
        raise _Refused(f"the server answers {error.code} {error.reason}; check the address") from None
    except urllib.error.URLError as error:
        raise _Retry(f"no connection ({error.reason})") from None
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _Retry(f"the connection broke ({type(error).__name__})") from None
    if total is not None and part.size() < total:
        raise _Retry(f"{part.size()} of {total} bytes came")


def _validator(headers: Any) -> str | None:
    """What tells one version of a file from another; weak tags do not."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _append(answer: Any, part: Path, have: int, total: int | None) -> None:
    """Write the body behind the first `have` bytes of `part`."""
    shown = sys.stderr.isatty()
    with (
        part.open("r+b" if have else "wb") as file,
        tqdm(initial=have, total=total, unit="B", unit_scale=True, desc=part.stem, disable=not shown) as bar,
    ):
        file.seek(have)
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
        file.flush()
        os.fsync(file.fileno())


def _from_drive(url: str, part: _Part) -> None:
    """One file of Google Drive by gdown, which knows its confirmation pages."""
    try:
        import gdown
    except ImportError:
        raise _Refused("files on Google Drive need gdown: pip install 'gdown>=6'") from None
    try:
        quiet = not sys.stderr.isatty()
        made = gdown.download(url, str(part.path), quiet=quiet, use_cookies=False, resume=True, timeout=TIMEOUT_S)
    except gdown.exceptions.FileURLRetrievalError as error:
        raise _Refused(f"Google Drive does not give the file ({_line(error)}); the link must be of one file") from None
    except Exception as error:  # requests' and gdown's own are many
        status = getattr(getattr(error, "response", None), "status_code", None) or 500
        kind = _Retry if status >= 500 or status in TRANSIENT else _Refused
        raise kind(f"gdown: {_line(error)}") from None
    if made is None or not part.path.is_file():
        raise _Retry("gdown wrote no file")


def _line(error: Exception) -> str:
    """A message of many lines as one."""
    return " ".join(str(error).split()) or type(error).__name__
