"""Captures to files: equal to the network on the whole clip, resumed or not; holes, ratios, lazy reads, refusals."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captures
import numpy as np
import pytest
import torch
from PIL import Image

from STDNet import InputError, STDNet, STDNetConfig, command_line
from STDNet.checkpoint import Checkpoint, save, shipped
from STDNet.datasets import reading
from STDNet.super_resolve import SuperResolveConfig, open_capture, super_resolve
from STDNet.super_resolve import output as output_module
from STDNet.super_resolve.__main__ import main
from STDNet.super_resolve.inputs import downsampled, fill_holes
from STDNet.super_resolve.run import run_config, spans


def network(scale: int = 4) -> STDNet:
    torch.manual_seed(0)
    net = STDNet(STDNetConfig(scale=scale, channels=4)).eval()
    for value in net.parameters():
        value.data.add_(0.02 * torch.randn_like(value))
    return net


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    folder = tmp_path_factory.mktemp("weights")

    def of_scale(scale: int) -> Path:
        path, net = folder / f"x{scale}.pth", network(scale)
        if not path.is_file():
            save(path, Checkpoint(net.config, net.state_dict()))
        return path

    return of_scale


@pytest.fixture
def run(weights: Callable[[int], Path], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """`super_resolve` into tmp_path/out with tiny weights; no film unless asked for."""

    def call(capture: Path, scale: int = 4, **options: Any) -> dict[str, Any]:
        options = {"weights": str(weights(scale)), "device": "cpu", "preview": False} | options
        return super_resolve(capture, tmp_path / "out", **options)

    return call


def expected(
    frames: int, rgb: Callable[[int], np.ndarray], lr_m: Callable[[int], np.ndarray], scale: int = 4, max_m: float = 30
) -> np.ndarray:
    """[T, H, W] metres: the network on the whole clip."""
    colours = np.stack([rgb(t) for t in range(frames)]).transpose(0, 3, 1, 2)
    depth = np.stack([lr_m(t) for t in range(frames)])[:, None].astype(np.float32)
    with torch.no_grad():
        lr, guide = torch.from_numpy(depth)[None] / max_m, torch.from_numpy(colours)[None].float() / 255
        return network(scale)(lr, guide).depth[0, :, 0].numpy() * max_m


def metres(t: int) -> np.ndarray:
    return captures.mm_of(t).astype(np.float32) / np.float32(1000)


def results(tmp_path: Path, kind: str = "depth_m") -> np.ndarray:
    found = sorted((tmp_path / "out" / kind).iterdir())
    return np.stack([reading.read_depth(path) for path in found])


def assert_close(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-4, "metres"
    assert wanted.std() > 0.1


@pytest.mark.parametrize("kind", ["npy", "png"])
def test_a_folder(run: Callable, tmp_path: Path, kind: str) -> None:
    summary = run(captures.folder(tmp_path / "in", 5, kind=kind))
    whole = expected(5, captures.rgb_of, metres)
    assert_close(results(tmp_path), whole)
    assert results(tmp_path).dtype == np.float32 and results(tmp_path, "depth_mm").dtype == np.uint16
    assert np.abs(results(tmp_path, "depth_mm") / 1000 - np.maximum(whole, 0)).max() < 7e-4
    assert np.asarray(Image.open(tmp_path / "out" / "valid" / "f0.png")).min() == 255
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    assert (summary["format"], summary["frames"], summary["scale"], summary["max_depth_m"]) == ("folder", 5, 4, 30.0)
    assert summary["depth_range_m"] == pytest.approx([whole.min(), whole.max()], abs=1e-4)
    assert summary["frames_per_s"] > 0 and summary["invalid_share"] == 0
    assert summary["units"]["depth_m/*.npy"] == "metres, float32"
    assert summary["beyond_max_depth"] == {"lr_pixels": 0, "share": 0.0, "first_frame": None}


def test_a_stray_scanner_capture(run: Callable, tmp_path: Path) -> None:
    pytest.importorskip("av")
    capture = captures.stray(tmp_path / "in", 6)
    (capture / "depth" / "000002.png").unlink()
    (capture / "depth" / "000005.png").unlink()
    summary = run(capture, ply=(2,), preview=True)
    pictures = list(reading.rgb_frames([capture / "rgb.mp4"] * 6, 0, 6))
    kept = [0, 1, 3, 4]
    assert_close(results(tmp_path), expected(4, lambda i: pictures[kept[i]], lambda i: metres(kept[i])))
    assert (summary["format"], summary["frames"], summary["frames_left_out"]) == ("stray", 4, 2)
    assert open_capture(capture).frames_per_s == pytest.approx(60, rel=1e-3)
    assert (tmp_path / "out" / "ply" / "000003.ply").is_file()
    film = tmp_path / "out" / "preview.mp4"
    assert reading.video_length(film) == 4 and reading.image_size(film)[1] > 3 * 400
    assert Image.open(tmp_path / "out" / "slices.png").width > 2 * 400


@pytest.mark.parametrize("rgb", ["lowres_wide", "wide"])
def test_an_arkitscenes_sequence(run: Callable, tmp_path: Path, rgb: str) -> None:
    capture = captures.arkitscenes(tmp_path / "in", rgb=rgb)
    if rgb == "wide":  # the coarser pictures are there, too
        captures.save(capture / "lowres_wide" / "407_6855.200.png", captures.rgb_of(0, 8, 12))
    summary = run(capture)
    assert_close(results(tmp_path), expected(4, captures.rgb_of, metres))
    assert (summary["format"], summary["frames"], summary["frames_left_out"]) == ("arkitscenes", 4, 1)
    camera = open_capture(capture).camera(2)
    assert camera is not None and camera.intrinsics(64, 96) == (84, 84, 48, 32)
    assert open_capture(capture).frames_per_s == pytest.approx(10)


def test_a_tum_sequence(run: Callable, tmp_path: Path) -> None:
    capture = captures.tum(tmp_path / "in")
    with pytest.raises(InputError, match=r"is x1, the network needs coarser depth.*--downsample_depth 4"):
        run(capture)
    summary = run(capture, downsample_depth=4)
    assert_close(results(tmp_path), expected(4, captures.rgb_of, metres))
    assert (summary["format"], summary["lr_size"], summary["output_size"]) == ("tum", [8, 12], [32, 48])
    names = [frame.name for frame in open_capture(capture).frames]
    lines = [f"{t}.010000 depth/{t}.010000.png {t}.0 rgb/{t}.000000.png\n" for t in range(4)]
    (capture / "associations.txt").write_text("".join(lines))
    assert [frame.name for frame in open_capture(capture).frames] == names == [f"{t}.000000" for t in range(4)]


def test_a_video_file(run: Callable, tmp_path: Path) -> None:
    pytest.importorskip("av")
    capture = captures.folder(captures.stray(tmp_path / "in").rename(tmp_path / "own"))
    for path in (capture / "rgb").iterdir():
        path.unlink()
    run(capture, format="folder")
    pictures = list(reading.rgb_frames([capture / "rgb.mp4"] * 4, 0, 4))
    assert_close(results(tmp_path), expected(4, lambda t: pictures[t], metres))
    assert (tmp_path / "out" / "depth_m" / "000003.npy").is_file()


def test_stopped_and_resumed_is_the_same(run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = 22
    capture = captures.folder(tmp_path / "in", frames)
    captures.save(capture / "lr" / "f12.npy", np.zeros((8, 12), np.float32))
    run(capture)
    whole = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.suffix in (".npy", ".png")}
    assert len(whole) == 3 * frames
    (tmp_path / "out").rename(tmp_path / "whole")

    written: list[str] = []
    write = output_module.Output.write

    def stop_after_thirteen(self: Any, name: str, *rest: Any) -> None:
        if len(written) == 13:
            raise KeyboardInterrupt
        written.append(name)
        write(self, name, *rest)

    monkeypatch.setattr(output_module.Output, "write", stop_after_thirteen)
    with pytest.raises(KeyboardInterrupt):
        run(capture)
    assert len(list((tmp_path / "out" / "valid").iterdir())) == 13
    monkeypatch.setattr(output_module.Output, "write", write)
    before = (tmp_path / "out" / "depth_m" / "f12.npy").stat().st_mtime_ns
    summary = run(capture)
    assert (summary["frames_kept"], summary["frames_computed"]) == (13, 9)
    assert (tmp_path / "out" / "depth_m" / "f12.npy").stat().st_mtime_ns == before
    assert all(path.read_bytes() == content for path, content in whole.items())
    assert run(capture)["frames_per_s"] is None


def test_only_the_first_frames(run: Callable, tmp_path: Path) -> None:
    assert run(captures.folder(tmp_path / "c", frames=5), frames=2)["frames"] == 2
    assert [path.name for path in sorted((tmp_path / "out" / "depth_m").iterdir())] == ["f0.npy", "f1.npy"]


def test_a_run_is_watched_and_stopped(weights: Callable[[int], Path], tmp_path: Path) -> None:
    out, steps = tmp_path / "out", 0
    capture = captures.folder(tmp_path / "c", frames=3)
    config = SuperResolveConfig(capture=capture, out=out, weights=str(weights(4)), device="cpu", preview=False)

    def watch() -> None:
        nonlocal steps
        steps += 1
        if steps == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_config(config, watch)
    assert len(list((out / "depth_m").iterdir())) == 2  # three were read, two are written
    run_config(config, watch)
    assert steps == 5 + 3 + 1 + 3


def test_a_lost_frame_is_made_again(run: Callable, tmp_path: Path) -> None:
    capture = captures.folder(tmp_path / "in", 20)
    run(capture, save=("npy",))
    path = tmp_path / "out" / "depth_m" / "f11.npy"
    before = np.load(path)
    path.unlink()
    assert run(capture, save=("npy",))["frames_computed"] == 1
    assert np.abs(np.load(path) - before).max() < 1e-4


def test_spans_cover_the_missing_frames() -> None:
    assert spans([]) == []
    assert spans([13, 14, 15]) == [(8, 16)]
    assert spans([1, 5, 40, 70]) == [(0, 6), (36, 41), (64, 71)]


def test_holes_and_low_confidence(run: Callable, tmp_path: Path) -> None:
    capture = captures.arkitscenes(tmp_path / "in")
    files = open_capture(capture).frames
    depth, confidence = captures.mm_of(1), np.full((8, 12), 2, np.uint8)
    depth[2, 3:6] = 0
    confidence[5, 7], confidence[0, 0] = 0, 1
    captures.save(files[1].depth, depth)
    assert files[1].confidence is not None
    captures.save(files[1].confidence, confidence)

    def filled(t: int) -> np.ndarray:
        known = np.ones((8, 12), bool)
        if t == 1:
            known[2, 3:6] = known[5, 7] = False
        return fill_holes(metres(t), known)

    summary = run(capture)
    assert_close(results(tmp_path), expected(4, captures.rgb_of, filled))
    valid = np.stack([np.asarray(Image.open(p)) for p in sorted((tmp_path / "out" / "valid").iterdir())])
    mask = np.ones((4, 8, 12), bool)
    mask[1, 2, 3:6] = mask[1, 5, 7] = False
    assert valid.dtype == np.uint8 and np.array_equal(valid, 255 * mask.repeat(4, 1).repeat(4, 2).astype(np.uint8))
    assert summary["invalid_share"] == pytest.approx(4 / (4 * 96))
    (tmp_path / "out").rename(tmp_path / "confident")
    assert run(capture, min_confidence=2)["invalid_share"] == pytest.approx(5 / (4 * 96))


def test_a_hole_takes_the_nearest_depth() -> None:
    depth = np.array([[1, 0, 0, 5], [1, 0, 0, 6]], np.float32)
    assert fill_holes(depth, depth > 0).tolist() == [[1, 1, 5, 5], [1, 1, 6, 6]]
    assert np.array_equal(fill_holes(depth, np.ones_like(depth, bool)), depth)


def test_a_frame_without_depth_takes_that_of_its_neighbour(run: Callable, tmp_path: Path) -> None:
    capture = captures.folder(tmp_path / "in", 5)
    for t in (0, 3):
        captures.save(capture / "lr" / f"f{t}.npy", np.full((8, 12), np.nan, np.float32))
    summary = run(capture)
    source = [1, 1, 2, 2, 4]
    assert_close(results(tmp_path), expected(5, captures.rgb_of, lambda t: metres(source[t])))
    assert summary["invalid_share"] == pytest.approx(0.4)


def test_downsampling_takes_a_measured_depth() -> None:
    depth = np.array([[1, 1, 0, 3], [9, 9, 0, 0]], np.float32)
    low, known = downsampled(depth, depth > 0, 2)
    assert low.tolist() == [[1, 0]] and known.tolist() == [[True, False]]


def test_ratio_of_seven_and_a_half(run: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    capture = captures.folder(tmp_path / "in", 3, size=(60, 90))
    summary = run(capture, scale=8)

    def resized(t: int) -> np.ndarray:
        return np.asarray(Image.fromarray(captures.rgb_of(t, 60, 90)).resize((96, 64), Image.Resampling.BICUBIC))

    assert_close(results(tmp_path), expected(3, resized, metres, scale=8))
    assert summary["output_size"] == [64, 96] and summary["scale"] == 8
    assert "RGB 60 x 90 over LR depth 8 x 12 is x7.5: RGB is enlarged to 64 x 96 for x8" in caplog.text


def test_weights_that_ship_are_chosen_by_the_ratio(tmp_path: Path) -> None:
    capture = captures.folder(tmp_path / "in", 1, size=(60, 90))
    if "stdnet-s-x8" in shipped():
        summary = super_resolve(capture, tmp_path / "out", device="cpu", preview=False)
        assert (summary["weights"], summary["scale"]) == ("stdnet-s-x8", 8)
    with pytest.raises(InputError, match="stdnet-s-x20: no such checkpoint file; weights by name"):
        super_resolve(capture, tmp_path / "out20", scale=20, device="cpu")


def test_depth_beyond_the_normaliser_is_reported(
    run: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    summary = run(captures.folder(tmp_path / "in"), max_depth=2.2)
    beyond = [int((metres(t) > np.float32(2.2)).sum()) for t in range(4)]
    first = next(t for t, count in enumerate(beyond) if count)
    share = sum(beyond) / (4 * 96)
    assert summary["beyond_max_depth"] == {"lr_pixels": sum(beyond), "share": share, "first_frame": first}
    assert "are beyond --max_depth 2.2 m, the first in frame" in caplog.text
    assert_close(results(tmp_path), expected(4, captures.rgb_of, metres, max_m=2.2))


def test_the_normaliser_of_training_stays_with_the_weights(run: Callable, tmp_path: Path) -> None:
    net = network()
    save(tmp_path / "five.pth", Checkpoint(net.config, net.state_dict(), {"settings": {"max_depth": 5.0}}))
    capture = captures.folder(tmp_path / "in", 2)
    assert run(capture, weights=str(tmp_path / "five.pth"))["max_depth_m"] == 5.0
    assert_close(results(tmp_path), expected(2, captures.rgb_of, metres, max_m=5))


def test_point_clouds(run: Callable, tmp_path: Path) -> None:
    capture = captures.folder(tmp_path / "in")
    depth = metres(1)
    depth[0, 0] = 0
    captures.save(capture / "lr" / "f1.npy", depth)
    with pytest.raises(InputError, match=r"--ply 1: .* has no intrinsics; give the focal length .*48 pixels.* --focal"):
        run(capture, ply=(1,))
    run(capture, ply=(1,), focal=40.0)
    content = (tmp_path / "out" / "ply" / "f1.ply").read_bytes()
    header, body = content.split(b"end_header\n", 1)
    kinds = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])
    points = np.frombuffer(body, kinds)
    depth_m = results(tmp_path)[1]
    seen = np.ones((32, 48), bool)
    seen[:4, :4] = False
    seen &= depth_m > 0
    assert f"element vertex {seen.sum()}".encode() in header and len(points) == seen.sum()
    row, column = np.nonzero(seen)
    assert np.allclose(points["xyz"][:, 2], depth_m[seen])
    assert np.allclose(points["xyz"][:, 0], depth_m[seen] * (column + 0.5 - 24) / 40, atol=1e-5)
    assert np.allclose(points["xyz"][:, 1], depth_m[seen] * (row + 0.5 - 16) / 40, atol=1e-5)
    assert np.array_equal(points["rgb"], captures.rgb_of(1)[seen])


def test_exr(run: Callable, tmp_path: Path) -> None:
    pytest.importorskip("OpenEXR")
    run(captures.folder(tmp_path / "in", 2), save=("exr", "npy"))
    assert np.array_equal(results(tmp_path, "depth_exr"), results(tmp_path))
    assert not (tmp_path / "out" / "depth_mm").exists()


def test_what_does_not_fit_a_png_is_no_value_there() -> None:
    depth = np.array([-1, 0.0001, 0.5, 65.535, 65.6, np.nan, np.inf], np.float32)
    assert output_module.millimetres(depth).tolist() == [0, 0, 500, 65535, 0, 0, 0]


def test_without_av_there_is_no_film(
    run: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    run(captures.folder(tmp_path / "in"), preview=True)
    assert "preview.mp4 is left out: films need the package av" in caplog.text
    assert (tmp_path / "out" / "slices.png").is_file() and not (tmp_path / "out" / "preview.mp4").exists()


def test_frames_are_read_when_they_are_needed(run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    ahead: list[int] = []
    read_image, write = reading.read_image, output_module.Output.write
    monkeypatch.setattr(reading, "read_image", lambda path, *kind: read.append(path) or read_image(path, *kind))

    def count(self: Any, name: str, *rest: Any) -> None:
        ahead.append(len(read) - int(name[1:]))
        write(self, name, *rest)

    monkeypatch.setattr(output_module.Output, "write", count)
    run(captures.folder(tmp_path / "in", 24), save=("npy",))
    assert len(ahead) == 24 and max(ahead) <= 8 + 2 * 4 + 2
    assert len(read) == 2 * 24  # once for the network, once for the report


def test_the_command_line(
    weights: Callable[[int], Path], tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = str(captures.folder(tmp_path / "in", 2))
    flags = ["--out", str(tmp_path / "out"), "--weights", str(weights(4)), "--device", "cpu", "--no-preview"]
    main([capture, *flags, "--save", "npy"])
    assert results(tmp_path).shape == (2, 32, 48)
    monkeypatch.setattr(sys, "argv", ["super_resolve", str(tmp_path / "absent"), *flags])
    with pytest.raises(SystemExit) as stopped:
        command_line.run(main)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {tmp_path / 'absent'}: no such folder")
