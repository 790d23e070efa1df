"""Runs of the page: scored as the evaluation scores them, one after the other, never mixed, and leaving nothing."""

from __future__ import annotations

import io
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import captures
import numpy as np
import pytest
import torch
from conftest import moving_disc, save
from PIL import Image

from STDNet import InputError, STDNet, STDNetConfig, checkpoint
from STDNet.datasets import videos
from STDNet.evaluation import score_videos
from STDNet.page import sessions as sessions_module
from STDNet.page.run import Task, describe, perform
from STDNet.page.sessions import Session, Sessions
from STDNet.page.unpack import Limits


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = STDNet(STDNetConfig(scale=4, channels=2)).eval()
    for value in net.parameters():
        value.data.add_(0.004 * torch.randn_like(value))
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    checkpoint.save(path, checkpoint.Checkpoint(net.config, net.state_dict()))
    return path


@pytest.fixture
def task(weights: Path, tmp_path: Path) -> Callable[..., Task]:
    def made(capture: Path | None, frames: int = 3) -> Task:
        return Task(capture, str(weights), 4, frames, "cpu", tmp_path / "sample")

    return made


def scored_capture(root: Path, frames: int = 4) -> Path:
    """rgb/, lr/ and the depth/ that it comes from."""
    lr, rgb, gt = moving_disc(3, 1, frames, 32, 48, 4)
    for t in range(frames):
        save(root / "rgb" / f"{t}.png", (rgb[0, t] * 255).round().byte().permute(1, 2, 0).numpy())
        save(root / "lr" / f"{t}.npy", 10 * lr[0, t, 0].numpy())
        save(root / "depth" / f"{t}.npy", 10 * gt[0, t, 0].numpy())
    return root


def ignored(stage: str, share: float) -> None:
    """Progress that nobody looks at."""


def test_scores_are_those_of_the_evaluation(task: Callable, weights: Path, tmp_path: Path) -> None:
    capture, folder = scored_capture(tmp_path / "c"), tmp_path / "run"
    folder.mkdir()
    shares: list[float] = []
    result = perform(task(capture, frames=4), folder, lambda stage, share: shares.append(share))
    (video,) = videos("folder", capture, scale=4, protocol="metric", lr="files")
    (score,) = score_videos(checkpoint.load(weights), [video], device=torch.device("cpu"), protocol="metric")
    assert result.scores["stdnet"] == pytest.approx(score.network)
    assert result.scores["bilinear"] == pytest.approx(score.baselines["bilinear"])
    assert shares == sorted(shares) and shares[-1] < 1 and len(set(shares)) > 4
    with zipfile.ZipFile(folder / "result.zip") as archive:
        names = archive.namelist()
        packed = np.load(io.BytesIO(archive.read("result/depth_m/2.npy")), allow_pickle=False)
    assert {"result/depth_mm/2.png", "result/summary.json"} < set(names)
    assert np.array_equal(packed, result.depth("stdnet", 2))


def test_views(task: Callable, tmp_path: Path) -> None:
    capture, folder = scored_capture(tmp_path / "c"), tmp_path / "run"
    hole = np.load(capture / "lr" / "1.npy")
    hole[2, 3] = 0
    np.save(capture / "lr" / "1.npy", hole)
    folder.mkdir()
    result = perform(task(capture), folder, ignored)
    assert result.kinds == ("rgb", "lr", "bilinear", "stdnet", "truth", "error_bilinear", "error_stdnet")
    grey = [128, 128, 128]
    for kind in result.kinds:
        content, _ = result.picture(kind, 1)
        with Image.open(io.BytesIO(content)) as image:
            pixels = np.asarray(image)
        assert pixels.shape[:2] == ((8, 12) if kind == "lr" else (32, 48))
        assert (pixels[2, 3].tolist() == grey) == (kind == "lr")
        if kind != "rgb":
            with Image.open(io.BytesIO(result.row_over_time(kind, 8))) as image:
                over_time = np.asarray(image)
            assert over_time.shape[0] == 3
            assert np.array_equal(over_time[1], pixels[2 if kind == "lr" else 8])
    points = np.frombuffer(result.points("stdnet", 1), [("xyz", "<f4", 3), ("rgb", "u1", 4)])
    assert len(points) == 32 * 48 - 16  # all but the hole's block
    depth = result.depth("stdnet", 1)
    assert points["xyz"][0, 2] == depth[0, 0]
    focal = 24 / np.tan(np.radians(30))
    assert points["xyz"][0, :2] == pytest.approx([(0.5 - 24) / focal * depth[0, 0], (0.5 - 16) / focal * depth[0, 0]])
    assert not result.camera_known
    for wrong in (lambda: result.picture("secret", 0), lambda: result.picture("rgb", 9), lambda: result.depth("lr", 3)):
        with pytest.raises(InputError):
            wrong()


def test_every_format(task: Callable, tmp_path: Path) -> None:
    pytest.importorskip("av")
    for name in ("folder", "stray", "arkitscenes", "tum"):
        capture = getattr(captures, name)(tmp_path / name)
        facts = describe(capture)
        assert (facts.format, facts.scale) == (name, 4)
        folder = tmp_path / f"{name}-run"
        folder.mkdir()
        result = perform(task(capture, frames=2), folder, ignored)
        # The depth of TUM is as fine as its RGB; the blocks of 4 x 4 that are one come from the ratio.
        assert (result.grid.output, result.grid.downsample) == ((32, 48), 4 if name == "tum" else 1)
        assert not result.scores and len(result.names) == 2
        assert result.camera_known == (name in ("stray", "arkitscenes"))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Sessions]:
    root = tmp_path / "sessions"
    root.mkdir()
    made = Sessions(root, Limits(10**7, 10**7, 100), most=2)
    yield made
    made.stop()
    assert list(root.iterdir()) == []  # nothing is left, whatever the test did


def uploaded(desk: Sessions, session: Session, capture: Path) -> None:
    archive = Path(shutil.make_archive(str(session.folder / "up"), "zip", capture))
    desk.take(session, archive)
    assert not archive.exists()


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_at_once_do_not_mix(desk: Sessions, task: Callable, tmp_path: Path) -> None:
    sizes = {"a": (32, 48), "b": (32, 32)}
    opened = {}
    for name, size in sizes.items():
        capture = captures.folder(tmp_path / name, frames=2, size=size)
        for path in (capture / "lr").iterdir():
            np.save(path, np.load(path)[:, : size[1] // 4])
        opened[name] = desk.get(desk.start())
        uploaded(desk, opened[name], capture)
    jobs = {name: desk.submit(session, task(session.capture)) for name, session in opened.items()}
    wait_for(lambda: all(job.state == "done" for job in jobs.values()))
    for name, job in jobs.items():
        assert job.result is not None and job.result.grid.output == sizes[name]
        assert job.folder.parent == opened[name].folder
    with pytest.raises(InputError, match="2 pages are open already"):
        desk.start()
    for session in opened.values():
        session.seen -= 1000
    desk.start()  # those that were not heard of for long make room


def test_waiting_cancelling_and_replacing(
    desk: Sessions, task: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(task: Task, folder: Path, report: Callable[[str, float], None]) -> None:
        (folder / "half").mkdir()
        entered.set()
        go_on.wait(60)
        report("on", 0.5)  # where a cancelled run ends

    monkeypatch.setattr(sessions_module, "perform", slow)
    name = desk.start()
    one, two = desk.get(name), desk.get(desk.start())
    uploaded(desk, one, captures.folder(tmp_path / "c"))
    running, waiting = desk.submit(one, task(one.capture)), desk.submit(two, task(None))
    assert entered.wait(60)
    assert (desk.ahead(waiting), waiting.state) == (1, "waiting")
    with pytest.raises(InputError, match="a run is going on"):
        uploaded_zip = Path(shutil.make_archive(str(one.folder / "up"), "zip", tmp_path / "c"))
        desk.take(one, uploaded_zip)
    with pytest.raises(InputError, match="a run is going on"):
        desk.submit(one, task(None))
    desk.cancel(two)
    assert waiting.state == "cancelled"
    desk.end(name)  # while its run is going on
    with pytest.raises(InputError, match="was closed"):
        desk.get(name)
    go_on.set()
    wait_for(lambda: running.state == "cancelled" and not one.folder.exists())
    before = waiting.folder
    monkeypatch.setattr(sessions_module, "perform", lambda *_: 1 / 0)
    job = desk.submit(two, task(None))
    wait_for(lambda: job.state == "failed")
    assert "Something went wrong inside" in job.error and not before.exists()


def test_messages_name_files_as_the_user_knows_them(desk: Sessions, task: Callable, tmp_path: Path) -> None:
    session = desk.get(desk.start())
    capture = captures.folder(tmp_path / "c")
    uploaded(desk, session, capture)
    first = session.upload
    (capture / "rgb" / "f1.png").write_bytes(b"no picture")
    uploaded(desk, session, capture)
    assert first is not None and not first.exists()
    job = desk.submit(session, task(session.capture))
    wait_for(lambda: job.state == "failed")
    assert job.error.startswith("rgb/f1.png: not a whole picture") and str(tmp_path) not in job.error
    (capture / "lr" / "f3.npy").unlink()
    with pytest.raises(InputError, match=r"^the capture: 4 RGB frames but 3 files in lr/"):
        uploaded(desk, session, capture)
    assert session.capture is None
