"""Checkpoints: round trips, the rename table, and files that are refused."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import STDNet as package
from STDNet import InputError, STDNet, STDNetConfig
from STDNet.checkpoint import (
    WEIGHTS,
    Checkpoint,
    checksum,
    from_official,
    load,
    locate,
    official_names,
    read,
    save,
    shipped,
    to_official,
    write_official,
    write_safetensors,
)
from STDNet.checkpoint.__main__ import main

SMALL = STDNetConfig(scale=8, channels=4)


@pytest.fixture
def net() -> STDNet:
    return STDNet(SMALL).eval()


@pytest.fixture
def ours(net: STDNet, tmp_path: Path) -> Path:
    path = tmp_path / "net.pth"
    save(path, Checkpoint(SMALL, net.state_dict(), {"max_depth_m": 30.0}))
    return path


@pytest.fixture
def official(net: STDNet, tmp_path: Path) -> Path:
    path = tmp_path / "official.pth"
    write_official(path, net.config, net.state_dict())
    return path


def _equal(a: STDNet, b: STDNet, heads: bool = True) -> bool:
    other = b.state_dict()
    mine = {name: value for name, value in a.state_dict().items() if heads or "heads" not in name}
    return all(torch.equal(value, other[name]) for name, value in mine.items())


def test_round_trip(net: STDNet, ours: Path) -> None:
    loaded = package.load(ours)
    assert loaded.config == SMALL and not loaded.training and _equal(net, loaded)
    assert read(ours).meta == {"max_depth_m": 30.0}


def test_official_round_trip(net: STDNet, official: Path) -> None:
    content = torch.load(official, weights_only=True)
    assert len(content) == 490 and "conv_guide_init.hg_1.0.weight" in content
    loaded = load(official, scale=8)
    assert loaded.config == SMALL and _equal(net, loaded, heads=False)


@pytest.mark.parametrize("prefix", ["", "module.", "Video_Rec.", "module.Video_Rec."])
def test_official_prefixes(net: STDNet, prefix: str) -> None:
    state = {name.removeprefix("Video_Rec."): value for name, value in to_official(net.state_dict()).items()}
    network = {prefix + name: value for name, value in state.items() if not name.startswith("Diff_Rec.")}
    assert set(from_official(network)) == {name for name in net.state_dict() if not name.startswith("heads.")}
    heads = {name: value for name, value in state.items() if name.startswith("Diff_Rec.")}
    assert set(from_official(network | heads)) == set(net.state_dict())


def test_rename_table_is_one_to_one_and_complete(shared: Path) -> None:
    expected = json.loads((shared / "reference" / "official_state_dict.json").read_text())
    names = official_names()
    shapes = {names[name]: list(value.shape) for name, value in STDNet().state_dict().items()}
    assert shapes == expected


def test_rename_table_covers_every_tensor() -> None:
    names = official_names()
    assert set(names) == set(STDNet(SMALL).state_dict())
    assert len(set(names.values())) == len(names) == 496


def test_renaming_refuses_what_it_does_not_know(net: STDNet) -> None:
    state = to_official(net.state_dict())
    name = "Video_Rec.conv_guide_init.hg_1.0.weight"
    with pytest.raises(InputError, match="unknown name"):
        from_official(state | {"Video_Rec.extra.weight": torch.zeros(1)})
    with pytest.raises(InputError, match="there twice"):
        from_official(state | {name.removeprefix("Video_Rec."): state[name]})
    with pytest.raises(InputError, match="missing"):
        from_official({key: value for key, value in state.items() if key != name})
    with pytest.raises(InputError, match="no official name"):
        to_official({"stages.7.weight": torch.zeros(1)})


class _Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch should_not_exist",)


def _write(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="not a readable checkpoint"):
        load(_write(tmp_path / "evil.pth", {"model": _Evil()}))
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(_Evil()))
    with pytest.raises(InputError, match="not a readable checkpoint"):
        load(tmp_path / "raw.pth")
    assert not (tmp_path / "should_not_exist").exists()


@pytest.mark.parametrize("keep", [0, 10, 5000])
def test_truncated_files(ours: Path, keep: int) -> None:
    ours.write_bytes(ours.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"net\.pth: not a readable checkpoint"):
        load(ours)


def _changed(net: STDNet, **changes: object) -> dict:
    state = dict(net.state_dict())
    for name, value in changes.items():
        if value is None:
            del state[name]
        else:
            state[name] = value  # type: ignore[assignment]
    return state


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("stages.0.features.conv.bias", None, "1 missing"),
        ("stages.0.extra", torch.zeros(1), "1 unknown"),
        ("stages.0.features.conv.bias", torch.zeros(5), "expected"),
        ("stages.0.features.conv.bias", torch.full((4,), float("nan")), "NaN"),
        ("stages.0.features.conv.bias", 3, "is int"),
    ],
)
def test_wrong_weights_are_named(net: STDNet, tmp_path: Path, name: str, value: object, message: str) -> None:
    path = tmp_path / "wrong.pth"
    save(path, Checkpoint(SMALL, _changed(net, **{name: value})))
    with pytest.raises(InputError, match=message):
        load(path)


def test_other_wrong_files(ours: Path, official: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such checkpoint"):
        load(tmp_path / "absent.pth")
    with pytest.raises(InputError, match="expected a checkpoint"):
        load(_write(tmp_path / "tensor.pth", torch.zeros(3)))
    with pytest.raises(InputError, match="do not say their scale"):
        load(official)
    with pytest.raises(InputError, match="trained for scale 8, asked for 4"):
        load(ours, scale=4)
    with pytest.raises(InputError, match="not 'STDNet checkpoint'"):
        load(_write(tmp_path / "other.pth", {"format": "other", "model": {}}))
    with pytest.raises(InputError, match="damaged"):
        load(_write(tmp_path / "part.pth", {"format": "STDNet checkpoint", "version": 1, "config": {}}))
    with pytest.raises(InputError, match="unknown name"):
        load(_write(tmp_path / "foreign.pth", {"conv.weight": torch.zeros(1)}), scale=4)


def test_an_interrupted_save_leaves_the_old_file(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ours.read_bytes()

    def fail(content: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save(ours, Checkpoint(SMALL, {}))
    assert ours.read_bytes() == before
    assert [path.name for path in ours.parent.iterdir()] == ["net.pth"]


def test_command_line_converts_both_ways(ours: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    to, back = tmp_path / "to.pth", tmp_path / "back.pth"
    main(["convert", str(ours), "--out", str(to)])
    main(["convert", str(to), "--out", str(back), "--scale", "8"])
    assert _equal(load(ours), load(back), heads=False)
    main(["convert", str(back), "--out", str(to)])
    assert "conv_guide_init.hg_1.0.weight" in torch.load(to, weights_only=True)
    main(["show", str(ours)])
    assert "scale 8, 4 channels" in capsys.readouterr().out
    with pytest.raises(InputError, match="--out is missing"):
        main(["convert", str(ours)])


def test_the_list_shows_every_name(capsys: pytest.CaptureFixture) -> None:
    main(["list"])
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == list(WEIGHTS)
    for line, name in zip(lines, WEIGHTS, strict=True):
        found = read(name)
        validation = found.meta["validation"]  # as the file itself says
        scores = f"{validation['rmse_cm']:.2f} / {validation['mae_cm']:.2f}"
        assert line.startswith(f"| {name} | x{found.config.scale} | 16 | 2.6 | {scores} |")


def test_safetensors_hold_the_network_in_half_precision(net: STDNet, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    write_safetensors(path, SMALL, net.state_dict(), {"settings": {"max_depth": 10.0}, "steps": 3})
    found = read(path, scale=8)
    assert found.config == SMALL and found.meta["steps"] == 3 and found.max_depth_m == 10.0
    for name, value in found.state.items():
        assert torch.equal(value, net.state_dict()[name].half().float())
    assert not any(name.startswith("heads.") for name in found.state)
    load(path)
    for scale, content in ((4, path.read_bytes()), (8, path.read_bytes()[:200]), (8, b"")):
        broken = tmp_path / "broken.safetensors"
        broken.write_bytes(content)
        with pytest.raises(InputError, match="broken.safetensors"):
            read(broken, scale=scale)


def test_convert_to_safetensors(ours: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    main(["convert", str(ours), "--out", str(out)])
    assert read(out).meta == {"max_depth_m": 30.0}
    facts = tmp_path / "facts.json"
    facts.write_text('{"licence": "Apache-2.0"}')
    main(["convert", str(ours), "--out", str(out), "--facts", str(facts)])
    assert read(out).meta == {"licence": "Apache-2.0"}


def test_a_normaliser_stays_with_the_weights_only_where_it_was_chosen() -> None:
    assert Checkpoint(SMALL, {}, {"max_depth_m": 30.0, "settings": {"max_depth": None}}).max_depth_m is None
    assert Checkpoint(SMALL, {}, {"settings": {"max_depth": 10.0}}).max_depth_m == 10.0
    assert Checkpoint(SMALL, {}).max_depth_m is None


def test_the_table_has_every_file_that_ships() -> None:
    assert sorted(path.stem for path in locate(shipped()[0]).parent.iterdir()) == shipped()


@pytest.mark.parametrize("name", shipped())
def test_the_table_says_what_the_files_say(name: str) -> None:
    row, found = WEIGHTS[name], read(name)
    assert row.sha256 == checksum(locate(name)) and row.config == found.config
    assert row.validation == {key: found.meta["validation"][key] for key in ("rmse_cm", "mae_cm")}


@pytest.mark.parametrize("name", shipped())
def test_weights_that_ship_are_small_and_say_what_they_are(name: str) -> None:
    assert locate(name).stat().st_size < 4e6
    found = read(name)
    assert name.endswith(f"x{found.config.scale}")
    assert {"settings", "licence", "max_depth_m"} <= set(found.meta)
    assert sum(value.numel() for value in found.state.values()) < 1.5e6


def test_an_unknown_name_lists_what_ships() -> None:
    with pytest.raises(InputError, match="weights by name: stdnet-s-x4"):
        load("stdnet-xxl")


def test_weights_of_another_scale_are_read_when_asked_for(ours: Path) -> None:
    with pytest.raises(InputError, match="trained for scale 8"):
        read(ours, scale=4)
    assert read(ours, scale=4, any_scale=True).config == SMALL


def test_without_the_hugging_face_hub_all_but_its_methods_work(ours: Path) -> None:
    code = f"""
import sys
sys.modules["huggingface_hub"] = None  # importing it now fails
from STDNet import STDNet, load
net = load({str(ours)!r})
for call in (lambda: net.save_pretrained("x"), lambda: STDNet.from_pretrained("x"), lambda: net.push_to_hub("x")):
    try:
        call()
    except ValueError as error:
        print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.count("needs huggingface_hub: pip install huggingface_hub") == 3
