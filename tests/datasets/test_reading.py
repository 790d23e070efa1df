"""File formats, whole and broken."""

from __future__ import annotations

import builtins
from fractions import Fraction

import numpy as np
import pytest
from making import depth_of, rgb_of, save

from STDNet import InputError
from STDNet.datasets import reading


@pytest.mark.parametrize("shape", [(3, 4), (1, 3, 4), (1, 1, 3, 4)])
def test_npy_of_rank_2_3_and_4_is_mapped_not_loaded(tmp_path, shape):
    save(tmp_path / "a.npy", np.arange(12, dtype=np.float32).reshape(shape))
    values = reading.read_depth(tmp_path / "a.npy")
    assert isinstance(values, np.memmap)
    assert np.array_equal(values, np.arange(12).reshape(3, 4))


@pytest.mark.parametrize("shape", [(12,), (2, 3, 4), (3, 4, 1)])
def test_npy_of_another_shape_is_refused(tmp_path, shape):
    save(tmp_path / "a.npy", np.zeros(shape, np.float32))
    with pytest.raises(InputError, match="expected one depth map"):
        reading.read_depth(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["a.npy", "a.png"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.6])
def test_a_truncated_depth_file_is_named(tmp_path, name, kept):
    path = tmp_path / name
    save(path, depth_of(0) if name == "a.npy" else (depth_of(0) * 1000).astype(np.uint16))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match=f"{name}: not a whole"):
        reading.read_depth(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_truncated_picture_is_named(tmp_path, name):
    path = tmp_path / name
    save(path, rgb_of(0))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=f"{name}: not a whole picture"):
        reading.read_image(path)


def test_pickles_archives_and_other_kinds_are_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with (tmp_path / "archive.npy").open("wb") as file:
        np.savez(file, a=np.zeros(3))
    save(tmp_path / "eight.png", np.zeros((4, 4), np.uint8))
    save(tmp_path / "sixteen.png", np.zeros((4, 4), np.uint16))
    (tmp_path / "a.txt").write_text("1")
    for name in ("objects.npy", "archive.npy", "eight.png", "a.txt", "absent.npy", "absent.png", "absent.exr"):
        with pytest.raises(InputError, match=name):
            reading.read_depth(tmp_path / name)
    with pytest.raises(InputError, match="mode I.*expected 8-bit RGB"):
        reading.read_image(tmp_path / "sixteen.png")


def test_16_bit_png_keeps_every_value(tmp_path):
    values = np.array([[0, 1, 255], [256, 40000, 65535]], np.uint16)
    save(tmp_path / "a.png", values)
    assert np.array_equal(reading.read_depth(tmp_path / "a.png"), values)


def test_exr_depth(tmp_path):
    openexr = pytest.importorskip("OpenEXR")
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    with openexr.File(header, {"Z": depth_of(3)}) as file:
        file.write(str(tmp_path / "a.exr"))
    assert np.array_equal(reading.read_depth(tmp_path / "a.exr"), depth_of(3))
    (tmp_path / "b.exr").write_bytes(b"no exr")
    with pytest.raises(InputError, match="b.exr: not a readable EXR"):
        reading.read_depth(tmp_path / "b.exr")


@pytest.mark.parametrize(("module", "path", "extra"), [("av", "a.mp4", "video"), ("OpenEXR", "a.exr", "exr")])
def test_a_missing_library_names_the_extra(tmp_path, monkeypatch, module, path, extra):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == module:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=rf"pip install 'STDNet\[{extra}\]'"):
        reading.video_length(tmp_path / path) if module == "av" else reading.read_depth(tmp_path / path)


def write_video(path, frames: int) -> None:
    """Frame t is grey of brightness 8 t; a key frame now and then, frames in between refer to both sides."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(25), options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt, stream.max_b_frames = 32, 16, "yuv420p", 2
        stream.bit_rate = 10**6
        for t in range(frames):
            picture = np.full((16, 32, 3), 8 * t, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
def test_video_frames_are_found_from_anywhere(tmp_path, suffix):
    path = tmp_path / f"rgb{suffix}"
    write_video(path, 17)
    assert reading.image_size(path) == (16, 32)
    assert reading.video_length(path) == 17
    for start, stop, step in ((0, 17, 1), (7, 9, 1), (12, 17, 2), (16, 17, 1)):
        pictures = list(reading.rgb_frames([path] * 17, start, stop, step))
        found = [round(float(picture.mean()) / 8) for picture in pictures]
        assert found == list(range(start, stop, step))
        assert pictures[0].shape == (16, 32, 3)


def test_a_broken_video_is_named(tmp_path):
    pytest.importorskip("av")
    (tmp_path / "rgb.mp4").write_bytes(b"no video at all")
    for broken in (reading.image_size, reading.video_length):
        with pytest.raises(InputError, match="rgb.mp4: not a whole video"):
            broken(tmp_path / "rgb.mp4")
    with pytest.raises(InputError, match="no such file"):
        reading.video_length(tmp_path / "absent.mp4")
