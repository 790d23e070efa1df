"""Evaluation: scores equal the whole-sequence metrics, any share-out gives the same numbers, files are written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_tartanair
from PIL import Image

from STDNet import InputError, STDNet, STDNetConfig
from STDNet.checkpoint import Checkpoint, save
from STDNet.datasets import Video, videos
from STDNet.evaluation import EvaluationConfig, evaluate, predict, score_videos, upsample_bilinear
from STDNet.evaluation.__main__ import main
from STDNet.evaluation.scoring import _share
from STDNet.metrics import mae, rmse, tepe

CPU = torch.device("cpu")


@pytest.fixture
def net() -> STDNet:
    torch.manual_seed(0)
    net = STDNet(STDNetConfig(channels=4)).eval()
    for value in net.parameters():
        value.data.add_(0.005 * torch.randn_like(value))
    return net


@pytest.fixture
def video(tmp_path: Path) -> Video:
    index = write_tartanair(tmp_path / "data", {"P000": 20})
    return videos("tartanair", tmp_path / "data", index, scale=4)[0]


def test_scores_are_the_whole_sequence_metrics(net: STDNet, video: Video) -> None:
    clip = video.read(0, 20)
    with torch.no_grad():
        whole = net(clip.lr[None] / 30, clip.rgb[None]).depth[0] * 30
    (score,) = score_videos(net, [video], device=CPU)
    flow = torch.zeros(19, 32, 32, 2)  # the camera does not move
    assert clip.gt is not None
    for found, depth in ((score.network, whole), (score.baselines["bilinear"], upsample_bilinear(clip.lr, 4))):
        gt, prediction = clip.gt[:, 0], depth[:, 0]
        assert found["rmse_cm"] == pytest.approx(100 * rmse(gt, prediction), rel=1e-4)
        assert found["mae_cm"] == pytest.approx(100 * mae(gt, prediction), rel=1e-4)
        assert found["tepe_cm"] == pytest.approx(100 * tepe(gt, prediction, flow, protocol="paper"), rel=1e-4)


def test_frames_are_those_of_the_whole_sequence(net: STDNet, video: Video) -> None:
    whole = [depth for _, depth, _ in predict(net, video, device=CPU)]
    part = list(predict(net, video, 11, 14, device=CPU))
    assert len(whole) == 20 and len(part) == 3
    for (clip, depth, _), expected, t in zip(part, whole[11:14], range(11, 14), strict=True):
        assert torch.allclose(depth, expected, atol=1e-4)
        assert torch.equal(clip.rgb, video.read(t, t + 1).rgb)


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_all_frames_are_shared_out_once(ranks: int) -> None:
    shares = [span for rank in range(ranks) for span in _share([5, 1, 9], rank, ranks)]
    frames = [(i, t) for i, start, stop in shares for t in range(start, stop)]
    assert frames == [(i, t) for i, length in enumerate([5, 1, 9]) for t in range(length)]


def test_several_processes_give_the_numbers_of_one(net: STDNet, video: Video, monkeypatch: pytest.MonkeyPatch) -> None:
    from STDNet import distributed

    (alone,) = score_videos(net, [video], device=CPU)
    sums: list[list[torch.Tensor]] = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(distributed, "world_size", lambda: 3)
        parts: list[torch.Tensor] = []
        monkeypatch.setattr(distributed, "sum_over_ranks", lambda x, parts=parts: parts.append(x) or x)
        score_videos(net, [video], device=CPU)
        sums.append(parts)
    from STDNet.metrics import ErrorSums

    total = ErrorSums.from_tensor(sum(parts[1] for parts in sums)).metrics()  # parts[0] are the seconds
    for name, value in alone.network.items():
        assert total[name] == pytest.approx(value, rel=1e-4), name


def _config(tmp_path: Path, net: STDNet, **changes: object) -> EvaluationConfig:
    write_tartanair(tmp_path / "set", {"P000": 4, "P001": 3})
    save(tmp_path / "net.pth", Checkpoint(net.config, net.state_dict()))
    values = {
        "root_dir": tmp_path / "set",
        "list": tmp_path / "set" / "index.txt",
        "model_dir": tmp_path / "net.pth",
        "results_dir": tmp_path / "results",
        "device": "cpu",
    }
    return EvaluationConfig(**values | changes)  # type: ignore[arg-type]


def test_evaluate_prints_and_writes(net: STDNet, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    scores = evaluate(_config(tmp_path, net, save=("npy", "png")), "tartanair", Path("unused"))
    text = capsys.readouterr().out
    assert "protocol paper" in text and "| mean | 7 | STDNet |" in text and "| room/P001 | 3 | bilinear |" in text
    result = json.loads((tmp_path / "results" / "results.json").read_text())
    assert result["protocol"] == "paper" and result["sequences"][0]["network"] == scores[0].network
    expected = sum(score.network["rmse_cm"] for score in scores) / 2  # type: ignore[misc]
    assert result["mean"]["network"]["rmse_cm"] == pytest.approx(expected)
    depth = np.load(tmp_path / "results" / "room" / "P000" / "000003_left_depth.npy")
    image = np.asarray(Image.open(tmp_path / "results" / "room" / "P000" / "000003_left_depth.png"))
    assert depth.shape == image.shape == (32, 32) and image.max() > 255  # 16 bits
    assert np.abs(image / 1000 - depth).max() <= 0.000501


def test_metric_protocol_is_named(net: STDNet, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    evaluate(_config(tmp_path, net, protocol="metric", frames=2), "tartanair", Path("unused"))
    assert "protocol metric" in capsys.readouterr().out


def test_bad_input(net: STDNet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose npy"):
        _config(tmp_path / "a", net, save=("exr",))
    with pytest.raises(InputError, match="trained for scale 4"):
        evaluate(_config(tmp_path / "b", net, scale=8), "tartanair", Path("unused"))
    with pytest.raises(InputError, match="no such checkpoint"):
        evaluate(_config(tmp_path / "c", net, model_dir=tmp_path / "absent.pth"), "tartanair", Path("unused"))


def test_without_ground_truth_depth_is_written_alone(net: STDNet, tmp_path: Path) -> None:
    save(tmp_path / "net.pth", Checkpoint(net.config, net.state_dict()))
    for t in range(3):
        for folder, name in (("rgb", f"{t}.png"), ("lr", f"{t}.npy")):
            (tmp_path / "own" / "walk" / folder).mkdir(parents=True, exist_ok=True)
            path = tmp_path / "own" / "walk" / folder / name
            if folder == "rgb":
                Image.fromarray(np.full((16, 24, 3), 50 * t, np.uint8)).save(path)
            else:
                np.save(path, np.full((4, 6), 2 + t, np.float32))
    flags = ["--root_dir", str(tmp_path / "own"), "--model_dir", str(tmp_path / "net.pth"), "--device", "cpu"]
    flags += ["--results_dir", str(tmp_path / "results")]
    main([*flags, "--save", "npy"])
    depths = [np.load(path) for path in sorted((tmp_path / "results").rglob("*.npy"))]
    assert len(depths) == 3 and all(depth.shape == (16, 24) for depth in depths)
    with pytest.raises(InputError, match="no ground truth"):
        main(flags)
