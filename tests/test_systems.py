"""Every system by name: shapes, gradients, one frame, odd sizes, checkpoints, streams, videos, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import moving_disc, write_tartanair
from torch import Tensor

from STDNet import InputError, build, checkpoint, stream
from STDNet.baselines.depth_video import windows
from STDNet.checkpoint import Checkpoint, read, save, write_safetensors
from STDNet.colour_video import ColourBicubic
from STDNet.datasets import videos
from STDNet.evaluation import EvaluationConfig, evaluate, for_inference, predict
from STDNet.losses import charbonnier, supervised_loss
from STDNet.models import DepthVideoModel
from STDNet.super_resolve import super_resolve
from STDNet.systems import SYSTEMS, UNTRAINED, WIDTHS, BaselineConfig, configuration
from STDNet.training import TrainConfig, train

CPU = torch.device("cpu")
TRAINED = [name for name in SYSTEMS if name not in UNTRAINED]
PAPERS = {"stdnet": 19.917, "dvsr": 15.495, "d3dnet": 2.580, "lgtd": 6.88, "dsdmsr": 0.516}  # million parameters


def small(name: str, scale: int = 4) -> DepthVideoModel:
    """A narrow one with weights large enough that every branch matters."""
    net = build(name, scale, 8 if name in WIDTHS else None).eval()
    for value in net.parameters():
        value.data.add_(0.03 * torch.randn_like(value))
    return net


def clip(frames: int, height: int = 16, width: int = 24) -> tuple[Tensor, Tensor]:
    """[T, 1, h, w] and [T, 3, H, W]."""
    lr, rgb, _ = moving_disc(frames, 1, frames, height, width, 4)
    return lr[0], rgb[0]


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize(("frames", "size"), [(1, (16, 24)), (3, (9, 14))])
def test_forward_and_backward(name: str, frames: int, size: tuple[int, int]) -> None:
    net = small(name)
    lr, rgb = torch.rand(2, frames, 1, -(-size[0] // 4), -(-size[1] // 4)), torch.rand(2, frames, 3, *size)
    lr.requires_grad_()
    out = net(lr, rgb)
    assert out.depth.shape == (2, frames, 1, *size)
    (out.depth * torch.randn_like(out.depth)).sum().backward()
    assert lr.grad is not None and lr.grad.any()
    silent = {name for name, value in net.named_parameters() if value.grad is None or not value.grad.any()}
    if frames > 1:  # without a neighbour, what aligns it has no gradient
        # The heads serve the losses alone; the one squeezed channel of an attention may be negative everywhere.
        assert all(name.startswith("heads.") or ".attention." in name for name in silent)


@pytest.mark.parametrize("name", PAPERS)
def test_parameter_counts(name: str) -> None:
    with torch.device("meta"):
        net = build(name)
    count = sum(value.numel() for value in net.parameters()) / 1e6
    assert round(count, 2 if name == "lgtd" else 3) == PAPERS[name]


@pytest.mark.parametrize("name", SYSTEMS)
def test_checkpoint_round_trip(name: str, tmp_path: Path) -> None:
    net = small(name)
    lr, rgb = clip(2)
    with torch.no_grad():
        expected = net(lr[None], rgb[None]).depth
    config = configuration(name, 4, 8 if name in WIDTHS else None)
    save(tmp_path / "net.pth", Checkpoint(config, net.state_dict()))
    loaded = checkpoint.load(tmp_path / "net.pth", scale=4)
    assert loaded.config == config and not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(lr[None], rgb[None]).depth, expected)
    if name in TRAINED:
        write_safetensors(tmp_path / "net.safetensors", config, net.state_dict(), {})
        assert read(tmp_path / "net.safetensors").config == config
        with pytest.raises(InputError, match="trained for scale 4"):
            read(tmp_path / "net.pth", scale=8)


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name not in ("stdnet", "dvsr")])
@pytest.mark.parametrize("chunk", [1, 4])
def test_streams_equal_the_whole_clip(name: str, chunk: int) -> None:
    net = small(name)
    for frames in (1, 11):
        lr, rgb = clip(frames)
        with torch.no_grad():
            whole = net(lr[None], rgb[None]).depth[0]
        found = torch.stack(list(stream(net, zip(lr, rgb, strict=True), chunk=chunk)))
        torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-5)


def test_a_stream_waits_for_the_reach_of_its_model() -> None:
    lr, rgb = clip(9)
    for name, reach in (("bilinear", 0), ("lgtd", 2), ("d3dnet", 3)):
        net, taken = small(name), []
        frames = ((taken.append(t), (lr[t], rgb[t]))[1] for t in range(9))
        next(stream(net, frames, chunk=1))
        assert len(taken) == reach + 1 == net.reach + 1
        with pytest.raises(InputError, match=f"lookahead must be 0 to {reach}"):
            next(stream(net, iter(()), lookahead=reach + 1))


def test_a_frame_given_early_sees_a_shorter_video() -> None:
    net = small("d3dnet")
    lr, rgb = clip(7)
    found = list(stream(net, zip(lr, rgb, strict=True), lookahead=1))
    with torch.no_grad():
        expected = [net(lr[None, : t + 2], rgb[None, : t + 2]).depth[0, t] for t in range(7)]
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_dvsr_sees_a_short_video_whole_and_pieces_of_a_long_one() -> None:
    net = small("dvsr")
    assert (net.reach, net.chunk) == (8, 16)
    net.reach, net.chunk = 2, 4
    lr, rgb = clip(10, 8, 8)
    with torch.no_grad():
        whole = net(lr[None, :4], rgb[None, :4]).depth[0]
        second = net(lr[None, 2:10], rgb[None, 2:10]).depth[0, 2:6]
    torch.testing.assert_close(torch.stack(list(stream(net, zip(lr[:4], rgb[:4], strict=True)))), whole)
    found = torch.stack(list(stream(net, zip(lr, rgb, strict=True))))
    assert len(found) == 10
    torch.testing.assert_close(found[4:8], second)


def test_windows_repeat_the_ends() -> None:
    assert windows(torch.arange(3)[None], 2).tolist() == [[[0, 0, 0, 1, 2], [0, 0, 1, 2, 2], [0, 1, 2, 2, 2]]]


@pytest.mark.parametrize("name", ["dvsr", "d3dnet", "dsdmsr"])
def test_a_part_of_a_video_is_that_of_the_whole(name: str, tmp_path: Path) -> None:
    index = write_tartanair(tmp_path, {"P000": 11}, size=16)
    video = videos("tartanair", tmp_path, index, scale=4)[0]
    net = small(name)
    net.reach, net.chunk = min(net.reach, 3), 4
    whole = [depth for _, depth, _ in predict(net, video, device=CPU)]
    part = [depth for _, depth, _ in predict(net, video, 7, 9, device=CPU)]
    assert len(whole) == 11 and len(part) == 2
    torch.testing.assert_close(part, whole[7:9], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", TRAINED)
def test_channels_last_changes_no_value(name: str) -> None:
    net = small(name)
    lr, rgb = clip(3)
    with torch.no_grad():
        expected = net(lr[None], rgb[None]).depth
        found = for_inference(net, CPU)(lr[None], rgb[None]).depth
    convolutions = [value for value in net.parameters() if value.dim() == 4 and min(value.shape) > 1]
    assert all(value.is_contiguous(memory_format=torch.channels_last) for value in convolutions) and convolutions
    torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.std()) + 1e-6, rtol=0)


@pytest.mark.parametrize("name", ["bicubic", "joint_bilateral"])
def test_models_without_training_need_no_weights(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    index = write_tartanair(tmp_path / "set", {"P000": 3})
    options = {"root_dir": tmp_path / "set", "list": index, "results_dir": tmp_path, "device": "cpu"}
    evaluate(EvaluationConfig(model=name, **options), "tartanair", None)  # type: ignore[arg-type]
    assert f"| room/P000 | 3 | {name} |" in capsys.readouterr().out
    assert json.loads((tmp_path / "results.json").read_text())["model"] == name
    with pytest.raises(InputError, match="has no weights"):
        evaluate(EvaluationConfig(model=name, model_dir=tmp_path, **options), "tartanair", None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in TRAINED if name != "stdnet"])
def test_train_and_test(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    index = write_tartanair(tmp_path / "set", {"P000": 5, "P001": 4}, size=16)
    config = TrainConfig(
        model=name,
        channels=8 if name in WIDTHS else 64,
        root_dir=tmp_path / "set",
        train_list=index,
        val_list=str(index),
        val_frames=2,
        frames=2,
        patch_size=16,
        batchsize=1,
        steps=2,
        num_workers=0,
        device="cpu",
        result_root=tmp_path / "run",
    )
    train(config)
    if name == "dvsr":
        with pytest.raises(InputError, match="other settings .steps 2 -> 3"):
            train(replace(config, steps=3))
    else:
        train(replace(config, steps=3))  # goes on
        assert read(tmp_path / "run" / "last.pth").training["step"] == 3
    assert read(tmp_path / "run" / "final.pth").config == configuration(name, 4, 8 if name in WIDTHS else None)
    options = {"root_dir": tmp_path / "set", "list": index, "results_dir": tmp_path, "device": "cpu", "frames": 2}
    evaluate(EvaluationConfig(model_dir=tmp_path / "run" / "final.pth", **options), "tartanair", None)  # type: ignore[arg-type]
    assert f"| room/P001 | 2 | {name} |" in capsys.readouterr().out
    other = EvaluationConfig(model="stdnet", model_dir=tmp_path / "run" / "final.pth", **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"weights of {name}, not of stdnet"):
        evaluate(other, "tartanair", None)


@pytest.mark.parametrize("name", ["d3dnet", "lgtd"])
def test_untrained_is_bilinear_upsampling_of_the_same_frame(name: str) -> None:
    lr, rgb = torch.rand(1, 6, 1, 4, 6), torch.rand(1, 6, 3, 16, 24)
    torch.testing.assert_close(build(name, 4, 8)(lr, rgb).depth, build("bilinear", 4)(lr, rgb).depth)


def test_units_of_dsdmsr(tmp_path: Path) -> None:
    net = build("dsdmsr", 8, unit="vdsr")
    assert round(sum(value.numel() for value in net.parameters()) / 1e6, 3) == 3.849
    save(tmp_path / "net.pth", Checkpoint(TrainConfig(model="dsdmsr", scale=8, unit="vdsr").system(), net.state_dict()))
    assert checkpoint.load(tmp_path / "net.pth").config == net.config != configuration("dsdmsr", 8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert net(torch.rand(1, 1, 1, 2, 2), torch.rand(1, 1, 3, 16, 16)).depth.dtype == torch.float32


def test_the_length_of_dvsr_decides_its_weights() -> None:
    """Deep supervision lasts a third of it."""
    assert "steps" not in TrainConfig(model="d3dnet", steps=6).identity()
    assert TrainConfig(model="dvsr", steps=6).identity() != TrainConfig(model="dvsr", steps=3).identity()


def test_deep_supervision_by_hand() -> None:
    gt, valid = torch.ones(1, 1, 1, 4, 4), torch.ones(1, 1, 1, 4, 4, dtype=torch.bool)
    gt[..., :2, :2], valid[..., 0, 0] = 9, False
    half = torch.tensor([[1.0, 3], [1, 1]]).expand(1, 1, 1, 2, 2)  # its first pixel covers one that is not valid
    loss = supervised_loss(gt + 0.5, [half], gt, valid=valid, weight=0.1)
    torch.testing.assert_close(loss.reconstruction, torch.tensor(0.5))
    torch.testing.assert_close(loss.total, torch.tensor(0.5 + 0.1 * 2 / 3))
    torch.testing.assert_close(supervised_loss(gt, [half], gt).total, charbonnier(gt, gt))


@pytest.mark.parametrize("model", ["bilinear", "d3dnet"])
def test_super_resolve(model: str, tmp_path: Path) -> None:
    from super_resolve import captures

    net, weights = small(model), None
    if model not in UNTRAINED:
        weights = tmp_path / "net.pth"
        save(weights, Checkpoint(configuration(model, 4, 8), net.state_dict()))
    capture = captures.folder(tmp_path / "in", 5)
    options = {"device": "cpu", "preview": False, "save": ("npy",)}
    out = super_resolve(capture, tmp_path / "out", model=model, weights=weights and str(weights), **options)
    assert (out["frames"], out["frames_computed"]) == (5, 5)
    again = super_resolve(capture, tmp_path / "out", model=model, weights=weights and str(weights), **options)
    assert again["frames_kept"] == 5


def test_what_is_refused() -> None:
    for build_it, message in (
        (lambda: build("edvr"), "unknown system 'edvr', choose one of stdnet"),
        (lambda: build("dsdmsr", 3), "scale must be one of"),
        (lambda: build("dsdmsr", 4, 16), "has no width"),
        (lambda: build("dvsr", 4, unit="vdsr"), "there is no option unit"),
        (lambda: build("dsdmsr", 4, unit="unet"), "unknown unit 'unet'"),
        (lambda: BaselineConfig("dvsr", unit="vdsr"), "has no units to choose"),
        (lambda: build("d3dnet", 4, 0), "channels must be"),
        (lambda: build("lgtd", 4, 0), "multiple of 8"),
        (lambda: build("stdnet", 4, 0), "channels"),
        (lambda: build("d3dnet", 8), "scale must be 4"),
        (lambda: build("lgtd", 16), "scale must be 4"),
        (lambda: build("dvsr", 4, 12), "multiple of 8"),
        (lambda: build("dvsr", 4, colour=1), "there is no option colour"),
        (lambda: build("bilinear", 0), "whole number"),
        (lambda: TrainConfig(model="dvsr", paper_exact=True), "--paper_exact is for --model stdnet"),
        (lambda: TrainConfig(model="dsdmsr", channels=8), "has no width"),
        (lambda: TrainConfig(model="dvsr", unit="vdsr"), "--unit is for --model dsdmsr"),
        (lambda: TrainConfig(model="lgtd", alpha_spatial=0.0), "--alpha_spatial is for --model stdnet"),
        (lambda: TrainConfig(model="bilinear"), "nothing to train"),
        (lambda: EvaluationConfig(scale=0), "--scale must be at least 1"),
        (lambda: ColourBicubic(0), "scale must be at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            build_it()
    for name in SYSTEMS:
        net = small(name)
        for lr, rgb in (((1, 2, 1, 4, 4), (1, 2, 3, 20, 16)), ((1, 2, 1, 4, 4), (1, 3, 3, 16, 16))):
            with pytest.raises(InputError, match=rf"(?i){name}"):
                net(torch.rand(lr), torch.rand(rgb))
