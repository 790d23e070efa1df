"""python -m STDNet.datasets: every problem is reported, doubtful units are warned about, samples become a picture."""

from __future__ import annotations

import numpy as np
import pytest
from making import depth_of, dydtof, rgb_of, save, tartanair, write_index
from PIL import Image

from STDNet import InputError, command_line
from STDNet.datasets.__main__ import main


def arguments(name, root, index, *more) -> list[str]:
    return [name, "--root", str(root), "--list", str(index), *more]


def test_a_sound_data_set(tmp_path, capsys):
    root, index = tartanair(tmp_path)
    np.savetxt(root / "HR_RGB/hall/P000/pose_left.txt", np.tile([0, 0, 0, 0, 0, 0, 1.0], (4, 1)))
    main(arguments("tartanair", root, index, "--picture", str(tmp_path / "a.png")))
    printed = capsys.readouterr().out
    row = [cell.strip() for cell in printed.splitlines()[2].strip("|").split("|")]
    assert row[:5] == ["hall/P000", "4", "16 x 24", "4 x 6", "simulated"]
    assert row[6:] == ["0.0 %", "poses", "0"]
    assert "warning" not in printed
    assert printed.endswith("tartanair: 1 sequence(s), 4 frames, no problems\n")
    with Image.open(tmp_path / "a.png") as picture:
        colours = {colour for _, colour in picture.getcolors(10**6)}
    assert len(colours) > 100


def test_all_problems_are_listed(tmp_path, capsys):
    root, _ = tartanair(tmp_path, frames=6)
    folder = root / "HR_RGB/hall/P000"
    (folder / "image_left/000001_left.png").unlink()
    path = folder / "depth_left/000002_left_depth.npy"
    path.write_bytes(path.read_bytes()[:300])
    save(folder / "depth_left/000003_left_depth.npy", depth_of(3)[:, :-2])
    save(folder / "depth_left/000004_left_depth.npy", -depth_of(3))
    path = folder / "image_left/000005_left.png"
    path.write_bytes(path.read_bytes()[:-300])
    index = write_index(tmp_path / "list.txt", "hall, P000, 6", "hall, P001, 3")
    with pytest.raises(InputError, match=r"6 problem\(s\), 1 more than printed"):
        main(arguments("tartanair", root, index, "--limit", "5", "--picture", str(tmp_path / "a.png")))
    printed = capsys.readouterr().out
    assert printed.count("problem: ") == 5
    with pytest.raises(InputError, match=r"6 problem\(s\);"):
        main(arguments("tartanair", root, index))
    printed = capsys.readouterr().out
    for words in (
        "000001_left.png: no such file",
        "000002_left_depth.npy: not a whole .npy file",
        "000003_left_depth.npy: 16 x 22 pixels",
        "000004_left_depth.npy: depth -",
        "000005_left.png: not a whole picture",
        "hall/P001: not found; looked for",
    ):
        assert printed.count(words) == 1
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("factor", "message"), [(1000, "looks like millimetres"), (0.05, "looks normalised to 0..1"), (0, "has any depth")]
)
def test_doubtful_units_are_a_warning(tmp_path, capsys, factor, message):
    root, index = dydtof(tmp_path)
    for path in root.rglob("*.npy"):
        np.save(path, np.load(path) / 6 * np.float32(factor))
    main(arguments("dydtof", root, index))
    assert message in capsys.readouterr().out


def test_lr_depth_in_another_unit_is_a_warning(tmp_path, capsys):
    for t in range(2):
        save(tmp_path / "a/rgb" / f"{t}.png", rgb_of(t))
        save(tmp_path / "a/depth" / f"{t}.npy", np.full((16, 24), 3, np.float32))
        save(tmp_path / "a/lr" / f"{t}.npy", np.full((4, 6), 300, np.float32))
    main(["folder", "--root", str(tmp_path), "--every", "2"])
    assert "LR depth is 100 times HR depth" in capsys.readouterr().out


def test_as_a_program(tmp_path, monkeypatch, capsys):
    for argv, words in (
        (["kitti"], "error: data set 'kitti' is unknown; the first argument is one of tartanair, dydtof"),
        ([], "error: no data set is named; the first argument is one of"),
        (["dydtof", "--root", str(tmp_path)], "error: dydtof needs an index file"),
        (arguments("dydtof", tmp_path, tmp_path / "none.txt"), "error: "),
        (["dydtof", "--every", "0"], "error: --every"),
    ):
        monkeypatch.setattr("sys.argv", ["datasets", *argv])
        with pytest.raises(SystemExit) as stop:
            command_line.run(main)
        error = capsys.readouterr().err
        assert stop.value.code == 2
        assert error.startswith(words)
        assert error.count("\n") == 1
