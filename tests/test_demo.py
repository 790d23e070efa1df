"""The demo: on a procedural video with tiny weights, everything that it promises is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import demo
from STDNet import STDNet, STDNetConfig
from STDNet.checkpoint import Checkpoint, save
from STDNet.datasets import videos

ROOT = Path(__file__).resolve().parents[1]


def test_the_demo_writes_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    config, out = STDNetConfig(scale=4, channels=2), tmp_path / "out"
    save(tmp_path / "net.pth", Checkpoint(config, STDNet(config).state_dict(), {"settings": {"max_depth": 10.0}}))
    flags = ["--scale", "4", "--model", str(tmp_path / "net.pth"), "--synthetic", "3", "--frames", "3"]
    monkeypatch.setattr(sys, "argv", ["demo.py", *flags, "--out", str(out), "--device", "cpu"])
    demo.main()
    numbers = json.loads((out / "metrics.json").read_text())
    # At x4, an untrained network is bilinear upsampling.
    assert numbers["network"]["rmse_cm"] == pytest.approx(numbers["baselines"]["bilinear"]["rmse_cm"], rel=1e-4)
    assert numbers["baselines"]["nearest"]["tepe_cm"] > 0
    depth, millimetres = sorted(out.rglob("S000003*.npy")), sorted(out.rglob("S000003/*.png"))
    depth = [path for path in depth if "input" not in path.parts]
    millimetres = [path for path in millimetres if "input" not in path.parts]
    assert len(depth) == len(millimetres) == 3
    assert np.abs(np.load(depth[0]) * 1000 - np.asarray(Image.open(millimetres[0]))).max() < 0.51
    assert (out / "comparison.png").stat().st_size > 10_000 and (out / "side_by_side.mp4").stat().st_size > 10_000


def test_the_sample_is_whole_and_small() -> None:
    folder = ROOT / "dataset" / "sample"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 8e6
    (video,) = videos("dynamic_replica", folder, folder / "index.txt", scale=16, protocol="metric", lr="simulate")
    assert (len(video), video.height, video.width) == (16, 480, 640)
    clip = video.read(7, 9)
    assert clip.gt is not None and 0.3 < clip.gt[clip.gt > 0].min() < clip.gt.max() < 40
    flow = video.flow(7)
    assert flow is not None and 0.05 < flow.abs().median() < 50
    assert len(np.loadtxt(folder / "room" / "poses.txt")) == 16
