"""The network as a file for other runtimes, ONNX or torch.export: python -m STDNet.export --help lists the flags.

The file maps a window of T frames, lr [1, T, 1, H/s, W/s] in network units and rgb [1, T, 3, H, W] in 0..1, to depth
[1, T, 1, H, W] in network units. T is fixed, H and W are free: any multiples of `size_step(scale)`. Other sizes are
first extended by their last row and column (`STDNet.models.inputs.extend`, as `STDNet.forward` does itself) and cropped
afterwards. What the file is, and `max_depth_m` to convert metres, stands in its metadata.
"""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from STDNet import checkpoint
from STDNet.command_line import option, parse, run
from STDNet.errors import InputError
from STDNet.files import atomic_write
from STDNet.models import STDNet
from STDNet.models.stdnet import GRID

log = logging.getLogger(__name__)

FORMATS = {"onnx": ".onnx", "torch.export": ".pt2"}
OPSET = 20  # DeformConv came with 19
TORCH = (2, 6)
METADATA = "stdnet.json"  # of a torch.export file
LARGEST = 8192  # H and W


@dataclass(frozen=True)
class ExportConfig:
    """The flags."""

    weights: str = option("stdnet-s-x4", "a name, file or address of weights (python -m STDNet.checkpoint list)")
    scale: int | None = option(None, "scale of official weights, which do not say theirs")
    frames: int = option(5, "frames of the window that the file takes; fixed")
    format: str = option("onnx", "onnx, or torch.export (a .pt2 file)", choices=tuple(FORMATS))
    out: Path | None = option(None, "the file to write (None: <weights>-<frames>.onnx or .pt2)")
    deform_conv: str = option(
        "auto",
        "deformable convolution as one operator (native: DeformConv of ONNX, torchvision's in torch.export), or from "
        "plain operators; auto: in ONNX native where the onnxruntime installed here has it, in torch.export plain",
        choices=("auto", "native", "plain"),
    )


class Window(nn.Module):
    """What is exported: tensors in, one tensor out."""

    def __init__(self, net: STDNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, lr: Tensor, rgb: Tensor) -> Tensor:
        """[1, T, 1, H/s, W/s] and [1, T, 3, H, W] -> [1, T, 1, H, W]."""
        return self.net(lr, rgb).depth


def size_step(scale: int) -> int:
    """What H and W are multiples of: the scale, and at x4 8, since the network halves its grid of H/4 x W/4 once."""
    return max(scale, 2 * GRID)


def export(net: STDNet, path: Path | str, *, frames: int, format: str = "onnx", deform_conv: str = "auto") -> str:
    """Write the network as a file for other runtimes, atomically.

    Args:
        net: The network; it stays as it is.
        path: The file.
        frames: T, the length of the window; a fixed part of the file.
        format: "onnx" or "torch.export".
        deform_conv: "native", "plain" or "auto", see `ExportConfig`.

    Returns:
        The form of the deformable convolution, "native" or "plain".

    Raises:
        InputError: An unknown format, torch is too old, or onnx and onnxscript are not installed.
    """
    if format not in FORMATS:
        raise InputError(f"format {format!r} is unknown; choose {' or '.join(FORMATS)}")
    if deform_conv == "auto":
        deform_conv = "native" if format == "onnx" and onnxruntime_has_deform_conv() else "plain"
    backend = "torchvision" if deform_conv == "native" else "plain" if format == "onnx" else "gather"
    program = trace(net, frames, backend)
    known = {**net.meta, "scale": net.config.scale, "channels": net.config.channels, "frames": frames}
    known |= {"size_step": size_step(net.config.scale), "deform_conv": deform_conv, "units": "metres / max_depth_m"}
    if format == "onnx":
        content = _onnx(program, known)
        with atomic_write(path) as file:
            file.write(content)
    else:
        with atomic_write(path) as file:
            torch.export.save(program, file, extra_files={METADATA: json.dumps(known, default=str)})
    return deform_conv


def trace(net: STDNet, frames: int, deform_backend: str) -> torch.export.ExportedProgram:
    """The window of `frames` frames as an exported program, with H and W free.

    Raises:
        InputError: torch is too old, or `frames` is below 1.
    """
    _check_torch()
    if frames < 1:
        raise InputError(f"frames must be at least 1, got {frames}")
    copy = STDNet(net.config, deform_backend=deform_backend)
    copy.load_state_dict(net.state_dict())
    scale, step = net.config.scale, size_step(net.config.scale)
    sizes = [torch.export.Dim(name, min=1, max=LARGEST // step) for name in ("rows", "columns")]
    small = {axis: step // scale * size if step > scale else size for axis, size in zip((3, 4), sizes, strict=True)}
    large = {axis: step * size for axis, size in zip((3, 4), sizes, strict=True)}
    # Any sizes will do as an example, but 0 and 1 would be taken as fixed.
    rows, columns = 2 * step, 3 * step
    example = torch.rand(1, frames, 1, rows // scale, columns // scale), torch.rand(1, frames, 3, rows, columns)
    with torch.no_grad():
        return torch.export.export(Window(copy.eval()), example, dynamic_shapes=(small, large))


def onnxruntime_has_deform_conv() -> bool:
    """Whether the onnxruntime that is installed runs DeformConv on a CPU; True where none is installed."""
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return True
    shapes = {"x": 1, "weight": 1, "offset": 2, "y": 1}
    kernel = {name: onnx.helper.make_tensor_value_info(name, 1, [1, n, 1, 1]) for name, n in shapes.items()}
    *inputs, output = kernel.values()
    node = onnx.helper.make_node("DeformConv", [value.name for value in inputs], [output.name], kernel_shape=[1, 1])
    opset = onnx.helper.make_opsetid("", OPSET)
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "probe", inputs, [output]), opset_imports=[opset], ir_version=9
    )
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception:  # onnxruntime's own, whose classes differ between versions
        return False
    return True


def _onnx(program: torch.export.ExportedProgram, known: dict[str, Any]) -> bytes:
    """The program as an ONNX file."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f"--format onnx needs {error.name}: pip install onnx onnxscript") from None
    for name in ("onnxscript", "onnx_ir"):  # a line for every node
        logging.getLogger(name).setLevel(logging.WARNING)
    names: dict[str, Any] = {"input_names": ["lr", "rgb"], "output_names": ["depth"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the exporter's own code
        made = torch.onnx.export(program, (), dynamo=True, opset_version=OPSET, verbose=False, **names)
    assert made is not None
    model = made.model_proto
    for key, value in known.items():
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        model.metadata_props.add(key=key, value=text)
    return model.SerializeToString()


def _check_torch() -> None:
    """Refuse versions of torch that cannot export with free sizes."""
    version = torch.__version__.split("+")[0].split(".")[:2]
    if tuple(map(int, version)) < TORCH:
        raise InputError(f"export needs torch {TORCH[0]}.{TORCH[1]} or later, this is {torch.__version__}")


def main(argv: list[str] | None = None) -> None:
    """Export weights as the flags say."""
    description = (
        "Write weights as a file for other runtimes: a window of T frames, any height and width. Inputs lr [1, T, 1, "
        "H/s, W/s] (metres / max_depth_m) and rgb [1, T, 3, H, W] (0..1), output depth [1, T, 1, H, W]."
    )
    config = parse(ExportConfig, argv, description=description)
    _check_torch()
    net = checkpoint.load(config.weights, scale=config.scale)
    if not isinstance(net, STDNet):
        raise InputError(f"--weights {config.weights}: holds {net.config.name}; only STDNet can be exported")
    name = Path(config.weights.partition("#")[0]).name.removesuffix(".pth").removesuffix(".safetensors")
    out = config.out or Path(f"{name}-{config.frames}{FORMATS[config.format]}")
    form = export(net, out, frames=config.frames, format=config.format, deform_conv=config.deform_conv)
    scale, step = net.config.scale, size_step(net.config.scale)
    log.info(
        "wrote %s: %.1f MB, %d frames, x%d, heights and widths in multiples of %d, deformable convolution %s",
        *(out, out.stat().st_size / 1e6, config.frames, scale, step, form),
    )


if __name__ == "__main__":
    run(main)
