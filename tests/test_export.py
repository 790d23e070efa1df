"""Exported files give what the network gives, at sizes they have not seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from STDNet import InputError, STDNet, STDNetConfig, load
from STDNet import export as exports
from STDNet.datasets import videos
from STDNet.export import METADATA, OPSET, export, main, onnxruntime_has_deform_conv, size_step, trace
from STDNet.ops import deform_conv2d

NEW_ENOUGH = tuple(map(int, torch.__version__.split("+")[0].split(".")[:2])) >= exports.TORCH
needs_torch = pytest.mark.skipif(not NEW_ENOUGH, reason="this torch cannot export with free sizes")
FRAMES, SCALE = 3, 8

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "clips" / "DyDToF"


@pytest.fixture(scope="module")
def net() -> STDNet:
    torch.manual_seed(0)
    made = STDNet(STDNetConfig(scale=SCALE, channels=4)).eval()
    for value in made.parameters():
        value.data.add_(0.05 * torch.randn_like(value))  # so that offsets and residuals are not 0
    made.meta = {"max_depth_m": 10.0, "name": "tiny"}
    return made


@pytest.fixture(scope="module")
def folder(net: STDNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network in both formats; traced once, since that takes most of the time."""
    program = trace(net, FRAMES, "torchvision")
    made = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "trace", lambda *_: program)
        export(net, made / "net.pt2", frames=FRAMES, format="torch.export", deform_conv="native")
        if onnxruntime_has_deform_conv():
            pytest.importorskip("onnxscript")
            export(net, made / "net.onnx", frames=FRAMES)
    return made


def _inputs(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Of rows x columns LR pixels."""
    lr = 0.3 + 0.1 * torch.rand(1, FRAMES, 1, rows, columns)
    return lr, torch.rand(1, FRAMES, 3, SCALE * rows, SCALE * columns)


@needs_torch
def test_torch_export_round_trip(net: STDNet, folder: Path) -> None:
    facts = {METADATA: ""}
    loaded = torch.export.load(folder / "net.pt2", extra_files=facts).module()
    assert json.loads(facts[METADATA])["max_depth_m"] == 10.0
    for rows, columns in ((3, 5), (6, 2)):
        inputs = _inputs(rows, columns)
        with torch.no_grad():
            assert (loaded(*inputs) - net(*inputs).depth).abs().max() < 1e-5


@needs_torch
def test_onnx_at_two_sizes(net: STDNet, folder: Path) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    if not (folder / "net.onnx").is_file():
        pytest.skip("this onnxruntime lacks DeformConv")
    model = onnx.load(folder / "net.onnx")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["max_depth_m"] == "10.0" and facts["name"] == "tiny" and facts["frames"] == str(FRAMES)
    assert [entry.version for entry in model.opset_import if not entry.domain] == [OPSET]
    assert sum(node.op_type == "DeformConv" for node in model.graph.node) == 8  # two stages, four passes
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for rows, columns in ((3, 5), (6, 2)):
        lr, rgb = _inputs(rows, columns)
        (found,) = session.run(None, {"lr": lr.numpy(), "rgb": rgb.numpy()})
        with torch.no_grad():
            expected = net(lr, rgb).depth
        assert found.shape == tuple(expected.shape) == (1, FRAMES, 1, SCALE * rows, SCALE * columns)
        assert (torch.from_numpy(found) - expected).abs().max() < 1e-5


class _Aligned(nn.Module):
    def forward(self, x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
        return deform_conv2d(x, offset, mask, weight, backend="plain")


@needs_torch
def test_plain_operators_in_onnx() -> None:
    """The form for runtimes that lack DeformConv: the one operation that differs."""
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")

    def inputs(height: int, width: int) -> tuple[Tensor, ...]:
        channels = {8: 1.0, 18: 2.0, 9: 0.5}
        return (*(f * torch.randn(2, c, height, width) for c, f in channels.items()), torch.randn(8, 4, 3, 3))

    free = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    program = torch.export.export(_Aligned(), inputs(6, 7), dynamic_shapes=(free, free, free, None))
    content = exports._onnx(program, {})
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert b"DeformConv" not in content
    values = inputs(9, 5)
    names = [value.name for value in session.get_inputs()]
    (found,) = session.run(None, dict(zip(names, (value.numpy() for value in values), strict=True)))
    assert (torch.from_numpy(found) - _Aligned()(*values)).abs().max() < 1e-4


def test_forms_and_steps(net: STDNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [size_step(scale) for scale in (4, 8, 16)] == [8, 8, 16]
    asked: list[str] = []

    def stop(net: STDNet, frames: int, backend: str) -> None:
        asked.append(backend)
        raise InputError("far enough")

    monkeypatch.setattr(exports, "trace", stop)
    for lacking in (False, True):
        has: Callable[[], bool] = lambda lacking=lacking: not lacking  # noqa: E731
        monkeypatch.setattr(exports, "onnxruntime_has_deform_conv", has)
        for form in ("auto", "native", "plain"):
            with pytest.raises(InputError, match="far enough"):
                export(net, tmp_path / "x", frames=2, deform_conv=form)
    assert asked == ["torchvision", "torchvision", "plain", "plain", "torchvision", "plain"]
    with pytest.raises(InputError, match="far enough"):
        export(net, tmp_path / "x", frames=2, format="torch.export")
    assert asked[-1] == "gather" and not list(tmp_path.iterdir())


def test_what_cannot_be_exported(net: STDNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="choose onnx or torch.export"):
        export(net, tmp_path / "x", frames=3, format="tflite")
    monkeypatch.setattr(torch, "__version__", "2.1.0+cpu")
    with pytest.raises(InputError, match=r"needs torch 2\.6 or later, this is 2\.1\.0\+cpu"):
        main(["--weights", "stdnet-s-x4", "--out", str(tmp_path / "x.onnx")])
    monkeypatch.undo()
    if NEW_ENOUGH:
        with pytest.raises(InputError, match="frames must be at least 1"):
            main(["--frames", "0", "--out", str(tmp_path / "x.onnx")])
    assert not list(tmp_path.iterdir())


@needs_torch
@pytest.mark.skipif(not CLIPS.is_dir(), reason="the real clips are not here")
def test_shipped_weights_on_the_real_clip(tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    if not onnxruntime_has_deform_conv():
        pytest.skip("this onnxruntime has no DeformConv")
    trained, path = load("stdnet-s-x4"), tmp_path / "net.onnx"
    export(trained, path, frames=2)
    index = Path(__file__).resolve().parents[1] / "data" / "DyDToF_test_subset.txt"
    clip = videos("dydtof", CLIPS, index, scale=4, protocol="paper")[0].read(0, 2)
    lr, rgb = clip.lr[None, ..., :24, :32] / 10, clip.rgb[None, ..., :96, :128]
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"lr": lr.contiguous().numpy(), "rgb": rgb.contiguous().numpy()})
    with torch.inference_mode():
        expected = trained(lr, rgb).depth
    assert (torch.from_numpy(found) - expected).abs().max() * 10_000 < 0.5  # mm; 0.01 was measured
