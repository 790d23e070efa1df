"""Networks as folders and repositories of the Hugging Face hub, and torch.hub from local source."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from STDNet import InputError, STDNet, STDNetConfig, load
from STDNet.checkpoint import Checkpoint, build, locate, read, save
from STDNet.weight_file import write_weights

pytest.importorskip("huggingface_hub")

ROOT = Path(__file__).resolve().parents[2]
META = {"settings": {"max_depth": 10.0}, "max_depth_m": 10.0, "licence": "Apache-2.0"}


@pytest.fixture
def net() -> STDNet:
    made = STDNet(STDNetConfig(scale=8, channels=4)).eval()
    for value in made.parameters():
        value.data.add_(torch.randn_like(value))
    made.meta = dict(META)
    return made


@pytest.fixture
def folder(net: STDNet, tmp_path: Path) -> Path:
    net.save_pretrained(tmp_path / "net")
    return tmp_path / "net"


def _same(a: STDNet, b: STDNet) -> bool:
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    return a.config == b.config and a.meta == b.meta and all(n == m and torch.equal(x, y) for (n, x), (m, y) in pairs)


def test_a_folder_gives_back_the_same_network(net: STDNet, folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert json.loads((folder / "config.json").read_text()) == {**asdict(net.config), "meta": META}
    loaded = STDNet.from_pretrained(folder)
    assert _same(net, loaded) and not loaded.training
    assert _same(net, load(folder)) and _same(net, load(str(folder), scale=8))
    assert read(folder).max_depth_m == 10.0 and locate(folder).name == "model.safetensors"
    assert STDNet.from_pretrained(folder, deform_backend="plain").stages[0].passes.forward_1.deform_backend == "plain"


def test_facts_travel_from_a_checkpoint_to_the_folder(net: STDNet, tmp_path: Path) -> None:
    save(tmp_path / "net.pth", Checkpoint(net.config, net.state_dict(), META))
    load(tmp_path / "net.pth").save_pretrained(tmp_path / "net")
    assert STDNet.from_pretrained(tmp_path / "net").meta == META
    assert build(Checkpoint(net.config, net.state_dict())).meta == {}


def test_weights_that_ship_serve_as_a_folder(tmp_path: Path) -> None:
    shutil.copy(locate("stdnet-s-x4"), tmp_path / "model.safetensors")
    loaded = STDNet.from_pretrained(tmp_path)
    expected = load("stdnet-s-x4").state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in loaded.state_dict().items() if not k.startswith("heads."))


def test_a_repository_in_the_hubs_own_cache(net: STDNet, folder: Path, tmp_path: Path) -> None:
    commit, cache = "0" * 40, tmp_path / "cache"
    repository = cache / "models--someone--stdnet"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert _same(net, STDNet.from_pretrained("someone/stdnet", cache_dir=cache, local_files_only=True))


@pytest.mark.parametrize("source", ["someone/nothing", "/no/such/folder"])
def test_what_is_not_there(source: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a folder nor a repository"):
        STDNet.from_pretrained(source, cache_dir=tmp_path, local_files_only=True)


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        ({"scale": 8, "channels": 5}, {}, "size mismatch"),
        ({"scale": 8, "width": 4}, {}, "unexpected keyword"),
        ({"scale": 8, "channels": 4}, {"extra": torch.zeros(1)}, "1 names differ, the first is 'extra'"),
    ],
)
def test_wrong_files(net: STDNet, tmp_path: Path, config: dict, change: dict, message: str) -> None:
    write_weights(tmp_path / "model.safetensors", config, {**net.state_dict(), **change}, {})
    with pytest.raises(InputError, match=message):
        STDNet.from_pretrained(tmp_path)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.safetensors"):
        STDNet.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="no such checkpoint"):
        load(tmp_path)


def test_torch_hub_from_local_source(folder: Path) -> None:
    def get(entry: str, **options: object) -> STDNet:
        return torch.hub.load(str(ROOT), entry, source="local", **options)

    assert get("stdnet", scale=16).config == STDNetConfig(16, 64)
    small = get("stdnet_s", scale=8)
    assert small.config == STDNetConfig(8, 16) and small.meta["max_depth_m"] == 10.0 and not small.training
    assert get("stdnet_s", scale=8, weights=None).meta == {}
    with pytest.raises(InputError, match="64 channels"):
        get("stdnet", weights=str(folder), scale=8)
    with pytest.raises(InputError, match="stdnet-s-x12"):
        get("stdnet_s", scale=12)
