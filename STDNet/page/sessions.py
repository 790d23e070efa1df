"""Who has the page open: one folder a session, one run at a time, everything removed when it is no longer needed."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from STDNet.errors import InputError
from STDNet.page.result import Result
from STDNet.page.run import Facts, Task, describe, perform
from STDNet.page.unpack import Limits, unpack

log = logging.getLogger(__name__)
IDLE_S = 3600.0  # a page says that it is open every minute; a closed laptop gets its result back within the hour
SILENT_S = 180.0  # of a page that misses its minute: it makes room for a new one
SWEEP_S = 60.0
OVER = ("done", "failed", "cancelled")


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """Raised in a run that nobody waits for any more."""


@dataclass(eq=False)
class Job:
    """One run: waiting, running, then done, failed or cancelled.

    `state` is changed by the worker alone; `stop` asks it to end the run, `unwanted` to remove the folder too.
    """

    task: Task
    folder: Path
    key: str = field(default_factory=lambda: secrets.token_urlsafe(8))
    state: str = "waiting"
    stage: str = ""
    share: float = 0.0
    started: float = 0.0
    seconds: float = 0.0
    error: str = ""
    result: Result | None = None
    stop: bool = False
    unwanted: bool = False

    def run(self) -> None:
        """From waiting to an end."""
        try:
            self.started = time.monotonic()
            self._report("starting", 0.0)
            self.state = "running"
            with _plain_errors(self.task.capture, self.folder / "capture", self.folder):
                self.result = perform(self.task, self.folder, self._report)
            self._report("done", 1.0)
            self.state = "done"
        except Stopped:
            self.state = "cancelled"
        except InputError as error:
            self.error, self.state = str(error), "failed"
        except Exception:
            log.exception("a run failed")
            self.error = "Something went wrong inside the program; its log has the details."
            self.state = "failed"
        finally:
            self.seconds = time.monotonic() - self.started

    def _report(self, stage: str, share: float) -> None:
        if self.stop:
            raise Stopped
        self.stage, self.share = stage, share


@dataclass(eq=False)
class Session:
    """One open page: at most one capture and one run."""

    folder: Path
    seen: float = field(default_factory=time.monotonic)
    capture: Path | None = None
    upload: Path | None = None  # what holds `capture`
    job: Job | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def busy(self) -> bool:
        """Whether a run is waiting or going on."""
        return self.job is not None and self.job.state not in OVER


class Sessions:
    """All open pages, and the worker that runs their jobs one after the other.

    Every method may be called from any thread. `InputError` is what the user should read.
    """

    def __init__(self, root: Path, limits: Limits, most: int) -> None:
        self.root, self.limits, self.most = root, limits, most
        self._open: dict[str, Session] = {}
        self._waiting: list[Job] = []
        self._changed = threading.Condition()
        self._current: Job | None = None
        for target in (self._work, self._sweep):
            threading.Thread(target=target, daemon=True).start()

    def start(self) -> str:
        """A new session; its name, which only its page knows."""
        if len(self._open) >= self.most:
            self._end_silent(SILENT_S)
        with self._changed:
            if len(self._open) >= self.most:
                raise InputError(f"{self.most} pages are open already; close one of them and load this page again")
            name = secrets.token_urlsafe(16)
            self._open[name] = Session(self.root / name)
        self._open[name].folder.mkdir()
        return name

    def get(self, name: str) -> Session:
        """The session called `name`."""
        session = self._open.get(name)
        if session is None:
            raise InputError("this page was closed or left alone for an hour; load it again")
        session.seen = time.monotonic()
        return session

    def end(self, name: str) -> None:
        """Forget a session and remove its files, those of a run as soon as it has stopped."""
        with self._changed:
            session = self._open.pop(name, None)
        if session is None:
            return
        busy = session.busy
        self._discard(session)
        if not busy:
            shutil.rmtree(session.folder, ignore_errors=True)

    def take(self, session: Session, archive: Path) -> Facts:
        """Replace the session's capture by an uploaded one; the archive is removed."""
        with session.lock:
            try:
                if session.busy:
                    raise InputError("a run is going on; cancel it before you upload another capture")
                self.forget_capture(session)
                folder = session.folder / f"upload-{secrets.token_hex(4)}"
                with _plain_errors(folder):
                    capture = unpack(archive, folder, self.limits)
                session.upload, session.capture = folder, capture
            finally:
                archive.unlink(missing_ok=True)
            try:
                with _plain_errors(capture, folder):
                    return describe(capture)
            except BaseException:
                self.forget_capture(session)
                raise

    def forget_capture(self, session: Session) -> None:
        """Remove the session's upload."""
        if session.upload is not None:
            shutil.rmtree(session.upload, ignore_errors=True)
        session.upload = session.capture = None

    def submit(self, session: Session, task: Task) -> Job:
        """Queue a run; the result of the one before is removed."""
        with session.lock:
            if session.busy:
                raise InputError("a run is going on; cancel it before you start another")
            self._discard(session)
            folder = session.folder / f"run-{secrets.token_hex(4)}"
            folder.mkdir()
            session.job = Job(task, folder)
            with self._changed:
                self._waiting.append(session.job)
                self._changed.notify_all()
            return session.job

    def cancel(self, session: Session) -> None:
        """Stop the session's run at its next frame; one that waits is over at once."""
        job = session.job
        if job is not None:
            job.stop = True
            with self._changed:
                if job in self._waiting:
                    self._waiting.remove(job)
                    job.state = "cancelled"

    def ahead(self, job: Job) -> int:
        """How many runs come before a waiting one."""
        with self._changed:
            running = self._current is not None and self._current is not job
            return (self._waiting.index(job) if job in self._waiting else 0) + running

    def stop(self) -> None:
        """Stop all runs and wait a moment for the one that is going on, so that its folder can be removed."""
        for name in list(self._open):
            self.end(name)
        deadline = time.monotonic() + 10
        while self._current is not None and time.monotonic() < deadline:
            time.sleep(0.05)

    def _discard(self, session: Session) -> None:
        """Stop the session's run and see to it that its folder is removed."""
        job = session.job
        if job is None:
            return
        job.unwanted = True
        self.cancel(session)
        if job.state in OVER:
            shutil.rmtree(job.folder, ignore_errors=True)
        session.job = None

    def _work(self) -> None:
        """One run after the other, for ever."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                self._current = job = self._waiting.pop(0)
            job.run()
            with self._changed:
                self._current = None
            if job.unwanted:
                # Its session may be over; then this is all that is left of it.
                shutil.rmtree(job.folder, ignore_errors=True)
                if job.folder.parent not in {session.folder for session in list(self._open.values())}:
                    shutil.rmtree(job.folder.parent, ignore_errors=True)

    def _sweep(self) -> None:
        """End sessions whose page has not been heard of for long."""
        while True:
            time.sleep(SWEEP_S)
            self._end_silent(IDLE_S)

    def _end_silent(self, seconds: float) -> None:
        for name, session in list(self._open.items()):
            if time.monotonic() - session.seen > seconds and not session.busy:
                self.end(name)


def status(sessions: Sessions, job: Job) -> dict[str, Any]:
    """What the page is told of a run."""
    seconds = job.seconds or (time.monotonic() - job.started if job.started else 0.0)
    told = {"key": job.key, "state": job.state, "stage": job.stage, "share": job.share, "seconds": round(seconds, 1)}
    return {**told, "error": job.error, "ahead": sessions.ahead(job) if job.state == "waiting" else 0}


@contextmanager
def _plain_errors(*folders: Path | None) -> Iterator[None]:
    """Messages name files as the user knows them, not as they lie in a temporary folder."""
    try:
        yield
    except InputError as error:
        text = str(error)
        for folder in folders:
            if folder is not None:
                text = text.replace(f"{folder}{os.sep}", "").replace(str(folder), "the capture")
        raise InputError(text) from None
