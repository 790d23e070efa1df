"""What is no capture, or a broken one: every refusal says what is wrong, where, and what to do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captures
import numpy as np
import pytest

from STDNet import InputError, STDNet, STDNetConfig
from STDNet.checkpoint import Checkpoint, save
from STDNet.super_resolve import SuperResolveConfig, open_capture, super_resolve
from STDNet.super_resolve.capture import match_times, rate
from STDNet.super_resolve.grid import nearest_scale


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    net = STDNet(STDNetConfig(scale=4, channels=4))
    save(tmp_path / "net.pth", Checkpoint(net.config, net.state_dict()))

    def call(capture: Path, **options: Any) -> dict[str, Any]:
        options = {"weights": str(tmp_path / "net.pth"), "device": "cpu", "preview": False} | options
        return super_resolve(capture, tmp_path / "out", **options)

    return call


def test_the_format_is_recognised(tmp_path: Path) -> None:
    assert open_capture(captures.folder(tmp_path / "a")).format == "folder"
    assert open_capture(captures.arkitscenes(tmp_path / "b")).format == "arkitscenes"
    both = captures.tum(tmp_path / "c")
    assert open_capture(both).format == "tum"
    captures.arkitscenes(both)
    with pytest.raises(InputError, match="could be arkitscenes or tum; name it with --format"):
        open_capture(both)
    assert open_capture(both, "arkitscenes").format == "arkitscenes"
    (tmp_path / "d").mkdir()
    with pytest.raises(InputError, match="no known kind of capture. Looked for folder: rgb/ .*tum: associations.txt"):
        open_capture(tmp_path / "d")
    with pytest.raises(InputError, match="--format zip: unknown; known: auto, folder, stray"):
        open_capture(tmp_path / "d", "zip")


def test_nearest_times() -> None:
    assert match_times([0.0, 0.1, 0.2], [0.005, 0.099, 0.5], 0.02) == [(0, 0), (1, 1)]
    assert match_times([0.0, 0.01, 0.02], [0.009], 0.02) == [(1, 0)]
    assert match_times([1.0], [], 0.02) == []
    assert rate([1.0]) is None and rate([0.0, 0.5, 1.0]) == 2


def test_the_nearest_scale() -> None:
    assert nearest_scale((1440, 1920), (192, 256), 1, "") == 8
    assert nearest_scale((480, 640), (192, 256), 1, "") == 4
    assert nearest_scale((480, 640), (480, 640), 8, "") == 8
    assert nearest_scale((1440, 1920), (24, 32), 1, "") == 16


def test_sizes_that_do_not_go_together(run: Callable, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"RGB is 48 x 32, depth 8 x 12 .*; one of them is turned by 90 degrees"):
        run(captures.folder(tmp_path / "a", 1, size=(48, 32)))
    with pytest.raises(InputError, match=r"RGB is 32 x 64, .*; crop RGB to what the depth shows"):
        run(captures.folder(tmp_path / "b", 1, size=(32, 64)))
    with pytest.raises(InputError, match="--downsample_depth 5: must divide the depth maps' 8 x 12 pixels"):
        run(captures.folder(tmp_path / "c", 1), downsample_depth=5)
    for name, file, values in (
        ("first picture has 32 x 48", "rgb/f2.png", captures.rgb_of(0, 16, 24)),
        ("first depth map has 8 x 12", "lr/f2.npy", np.ones((4, 6), np.float32)),
    ):
        capture = captures.folder(tmp_path / name)
        captures.save(capture / file, values)
        with pytest.raises(InputError, match=f"{file}.*{name}"):
            run(capture)
        for path in (tmp_path / "out").rglob("*"):
            if path.is_file():
                path.unlink()
    capture = captures.arkitscenes(tmp_path / "e")
    confidence = open_capture(capture).frames[1].confidence
    assert confidence is not None
    captures.save(confidence, np.full((4, 6), 2, np.uint8))
    with pytest.raises(InputError, match="4 x 6 pixels, expected those of its depth, 8 x 12"):
        super_resolve(capture, tmp_path / "out_e", weights=str(tmp_path / "net.pth"), device="cpu")


def test_folders_that_are_not_whole(tmp_path: Path) -> None:
    capture = captures.folder(tmp_path / "a", 3)
    (capture / "rgb" / "f2.png").unlink()
    with pytest.raises(InputError, match="2 RGB frames but 3 files in lr/: one a frame"):
        open_capture(capture)
    captures.save(capture / "lr" / "f1.png", captures.mm_of(1))
    with pytest.raises(InputError, match=r"\.npy and \.png files, whose units differ"):
        open_capture(capture)
    (tmp_path / "b" / "rgb").mkdir(parents=True)
    (tmp_path / "b" / "lr").mkdir()
    with pytest.raises(InputError, match="b/lr: no depth in it"):
        open_capture(tmp_path / "b")
    captures.save(tmp_path / "b" / "lr" / "0.npy", np.ones((8, 12), np.float32))
    with pytest.raises(InputError, match="no picture in rgb/"):
        open_capture(tmp_path / "b")
    capture = captures.folder(tmp_path / "c", 2)
    (capture / "rgb" / "f1.png").rename(capture / "rgb" / "f0.jpg")
    with pytest.raises(InputError, match="two frames are called 'f0'"):
        open_capture(capture)


def test_depth_in_the_wrong_unit_or_nowhere(run: Callable, tmp_path: Path) -> None:
    capture = captures.folder(tmp_path / "a", 2)
    captures.save(capture / "lr" / "f1.npy", captures.mm_of(1))
    with pytest.raises(InputError, match=r"f1\.npy: depth of type uint16; expected metres"):
        run(capture)
    capture = captures.folder(tmp_path / "b", 2)
    for t in range(2):
        captures.save(capture / "lr" / f"f{t}.npy", np.zeros((8, 12), np.float32))
    with pytest.raises(InputError, match="no frame has a depth above 0 with confidence of at least 1"):
        super_resolve(capture, tmp_path / "out_b", weights=str(tmp_path / "net.pth"), device="cpu")


def test_stray_captures_that_are_not_whole(tmp_path: Path) -> None:
    pytest.importorskip("av")
    capture = captures.stray(tmp_path / "a", 3)
    (capture / "confidence" / "000001.png").unlink()
    with pytest.raises(InputError, match=r"confidence/000001\.png: no such file; .* lacks 1 file"):
        open_capture(capture)
    (capture / "camera_matrix.csv").write_text("1, 0, 0\n0, one, 0\n0, 0, 1\n")
    with pytest.raises(InputError, match=r"camera_matrix\.csv: '0, one, 0' should begin with 3 number"):
        open_capture(capture)
    (capture / "camera_matrix.csv").write_text("1, 0, 0\n")
    with pytest.raises(InputError, match="1 lines; expected the three rows"):
        open_capture(capture)
    (capture / "depth" / "000002.png").rename(capture / "depth" / "last.png")
    with pytest.raises(InputError, match=r"last\.png: expected the number of the video frame"):
        open_capture(capture)
    (capture / "rgb.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"rgb\.mp4: not a whole video file"):
        open_capture(capture)


def test_lists_of_times_that_are_broken(tmp_path: Path) -> None:
    capture = captures.tum(tmp_path / "a")
    (capture / "rgb.txt").write_text("zero rgb/0.png\n")
    with pytest.raises(InputError, match=r"rgb\.txt: 'zero rgb/0\.png' should begin with 1 number"):
        open_capture(capture)
    (capture / "rgb.txt").write_text("0.0\n")
    with pytest.raises(InputError, match="has 1 columns, expected 2"):
        open_capture(capture)
    (capture / "rgb.txt").write_text("77.0 rgb/0.000000.png\n")
    with pytest.raises(InputError, match=r"no frame with both RGB and depth \(1 frames have no partner, format tum\)"):
        open_capture(capture)
    (capture / "rgb.txt").write_text("0.0 rgb/gone.png\n")
    with pytest.raises(InputError, match=r"gone\.png: no such file"):
        open_capture(capture)
    for outside in ("../b/rgb/0.png", "/b/rgb/0.png"):
        (capture / "rgb.txt").write_text(f"0.0 {outside}\n")
        with pytest.raises(InputError, match=r"rgb\.txt: .* names a file outside of the sequence"):
            open_capture(capture)
    capture = captures.arkitscenes(tmp_path / "b")
    captures.save(capture / "lowres_wide" / "holiday.png", captures.rgb_of(0))
    with pytest.raises(InputError, match=r"holiday\.png: expected a name such as 40753679_6855\.218\.png"):
        open_capture(capture)


def test_results_of_another_run_are_not_mixed_in(run: Callable, tmp_path: Path) -> None:
    capture = captures.folder(tmp_path / "a", 2)
    run(capture)
    with pytest.raises(InputError, match=r"made with max_depth_m 30\.0, this run has 9\.0; give another --out"):
        run(capture, max_depth=9.0)
    with pytest.raises(InputError, match="made with capture .*/a, this run has .*/b"):
        run(captures.folder(tmp_path / "b", 2))
    (tmp_path / "out" / "settings.json").write_text("{")
    with pytest.raises(InputError, match="not the settings of a result"):
        run(capture)
    (tmp_path / "out" / "settings.json").unlink()
    with pytest.raises(InputError, match=r"holds results but no settings\.json"):
        run(capture)


def test_flags(run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capture = captures.folder(tmp_path / "a", 2)
    with pytest.raises(InputError, match="CAPTURE: name the folder"):
        SuperResolveConfig(out=tmp_path)
    with pytest.raises(InputError, match="--out: name the folder"):
        SuperResolveConfig(capture=tmp_path)
    for flag in ("max_depth", "focal", "frames_per_s", "scale"):
        with pytest.raises(InputError, match=f"--{flag} must be positive, got -1"):
            run(capture, **{flag: -1})
    with pytest.raises(InputError, match="--save jpg: choose from npy, png, exr"):
        run(capture, save=("jpg",))
    with pytest.raises(InputError, match="--ply 2: the capture has the frames 0 to 1"):
        run(capture, ply=(2,), focal=40.0)
    with pytest.raises(InputError, match="trained for scale 4, asked for 8"):
        run(capture, scale=8)
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(InputError, match="--save exr needs OpenEXR"):
        run(capture, save=("exr",))
