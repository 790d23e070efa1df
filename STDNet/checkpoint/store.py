"""Checkpoint files: self-describing ones of our own and the official form; strictly read, atomically written."""

from __future__ import annotations

import dataclasses
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from STDNet.checkpoint.official import NETWORK_PREFIX, from_official, to_official
from STDNet.checkpoint.table import WEIGHTS, locate
from STDNet.colour_video import ColourVideoModel
from STDNet.errors import InputError
from STDNet.files import atomic_write
from STDNet.models import DepthVideoModel, STDNetConfig
from STDNet.systems import UNTRAINED, BaselineConfig, SystemConfig, create, from_plain
from STDNet.weight_file import SUFFIX, read_weights, write_weights

FORMAT = "STDNet checkpoint"
VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        config: Which model the weights belong to; it has the model's name.
        state: The weights under our names; the training-only `heads.*` may be absent (official files lack them).
        meta: Where they come from: `max_depth_m` (the normaliser in training, metres), data set, metrics, versions ...
        training: Optimiser, schedule and counters to go on from; empty in files made for use alone.
        official: True for what was just read from a file in the official form.
    """

    config: SystemConfig
    state: dict[str, Tensor]
    meta: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    official: bool = False

    @property
    def max_depth_m(self) -> float | None:
        """The normaliser that was chosen in training (--max_depth) and belongs to the weights from then on.

        None where training took that of its data set: testing then takes that of the data set it tests on, too.
        """
        return self.meta.get("settings", {}).get("max_depth")


def load(path: Path | str, *, scale: int | None = None, device: torch.device | str = "cpu") -> DepthVideoModel:
    """Build the model that a file describes, STDNet or another, ready for use.

    Args:
        path: The name of weights, such as "stdnet-s-x4" (`WEIGHTS` has them all); a checkpoint of ours, an official
            `.pth` file, or a folder of `STDNet.save_pretrained`; or the http(s) address of such a file, which is
            downloaded once (`#sha256=...` at its end is checked; Google Drive needs gdown).
        scale: Needed for official files, which do not say theirs; must agree with a checkpoint of ours.
        device: Where the network shall live.

    Returns:
        The model in evaluation mode.

    Raises:
        InputError: The file is missing, damaged, not a checkpoint, or of another network or scale; a download failed.
    """
    return build(read(path, scale=scale), source=str(path)).to(device)


def of_model(model: str | None, path: Path | str, *, scale: int | None, task: str = "depth") -> Checkpoint:
    """The checkpoint at `path`, of that model; for one without anything to train, an empty one.

    Args:
        model: A name of `STDNet.systems`; None takes the checkpoint's.
        path: What `load` takes; not looked at where there is nothing to train.
        scale: As in `load`; needed where there is nothing to train.
        task: Of a model that has nothing to train, "depth" or "colour".

    Raises:
        InputError: A checkpoint of another model; what `load` refuses.
    """
    if model in UNTRAINED:
        assert model is not None and scale is not None
        return Checkpoint(BaselineConfig(model, scale, task=task), {})
    found = read(path, scale=scale)
    if model not in (None, found.config.name):
        raise InputError(f"{path}: holds the weights of {found.config.name}, not of {model}")
    return found


def build(checkpoint: Checkpoint, *, source: str = "checkpoint") -> DepthVideoModel:
    """The model of a checkpoint with its facts, in evaluation mode; `source` names it in messages.

    Raises:
        InputError: Weights of another network, or of a model of colour video.
    """
    net = _built(checkpoint, source)
    if not isinstance(net, DepthVideoModel):
        raise InputError(
            f"{source}: holds {net.config.name} for colour video, not for depth; it works with "
            "python -m STDNet.evaluation --dataset colour"
        )
    return net


def build_colour(checkpoint: Checkpoint, *, source: str = "checkpoint") -> ColourVideoModel:
    """As `build`, for a model of colour video."""
    net = _built(checkpoint, source)
    if not isinstance(net, ColourVideoModel):
        raise InputError(
            f"{source}: holds {net.config.name} for depth video, not for colour; train one with "
            "train.py --dataset colour --model d3dnet (or lgtd)"
        )
    return net


def _built(checkpoint: Checkpoint, source: str) -> DepthVideoModel | ColourVideoModel:
    """The model of either task."""
    net = create(checkpoint.config)
    fill(net, checkpoint.state, source=source)
    net.meta = dict(checkpoint.meta)
    return net.eval()


def save(path: Path | str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint of ours, atomically."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "config": dataclasses.asdict(checkpoint.config),
        "model": checkpoint.state,
        "meta": checkpoint.meta,
        "training": checkpoint.training,
    }
    with atomic_write(path) as file:
        torch.save(content, file)


def read(path: Path | str, *, scale: int | None = None, any_scale: bool = False) -> Checkpoint:
    """Read what `load` takes; arguments and errors as there.

    With `any_scale`, a checkpoint of ours may be of another scale: the weights of all scales have the same shapes, and
    those of one are a good start for another.
    """
    path, expected_scale = locate(path), None if any_scale else scale
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file; weights by name: {', '.join(WEIGHTS)}")
    if path.suffix == SUFFIX:
        return _checked(_read_safetensors(path), path, expected_scale)
    content = _unpickle(path)
    if "format" not in content and "model" not in content:
        return _read_official(path, content, scale)
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise InputError(
            f"{path}: format {content.get('format')!r} version {content.get('version')!r} is not "
            f"{FORMAT!r} version {VERSION}; use a checkpoint written by train.py or an official .pth file"
        )
    try:
        config = from_plain(content["config"])
        checkpoint = Checkpoint(config, content["model"], content["meta"], content["training"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged checkpoint ({type(error).__name__}: {error}); get it again") from None
    return _checked(checkpoint, path, expected_scale)


def write_safetensors(
    path: Path | str, config: SystemConfig, state: Mapping[str, Tensor], meta: Mapping[str, Any]
) -> None:
    """Write the network without its training heads in fp16, with configuration and facts in the header."""
    halves = {name: value.half() for name, value in state.items() if not name.startswith("heads.")}
    write_weights(path, dataclasses.asdict(config), halves, meta)


def write_official(path: Path | str, config: SystemConfig, state: Mapping[str, Tensor]) -> None:
    """Write weights under our names as the official code saves them: a bare state dict without prefix and heads."""
    if not isinstance(config, STDNetConfig):
        raise InputError(f"only STDNet has an official form, these are weights of {config.name}")
    full = STDNetConfig(config.scale, config.channels)
    if config != full:
        switch = next(name for name, value in dataclasses.asdict(full).items() if getattr(config, name) != value)
        raise InputError(f"only the full STDNet has an official form, here {switch} is {getattr(config, switch)}")
    check_names(state, config, source=str(path))
    network = {name: value for name, value in state.items() if not name.startswith("heads.")}
    official = {name.removeprefix(NETWORK_PREFIX): value.clone() for name, value in to_official(network).items()}
    with atomic_write(path) as file:
        torch.save(official, file)


def fill(net: DepthVideoModel | ColourVideoModel, state: Mapping[str, Tensor], *, source: str = "state") -> None:
    """Load weights strictly; only the training heads may be absent, they then keep their values."""
    check_names(state, net.config, source=source)  # type: ignore[arg-type]
    net.load_state_dict(dict(state), strict=False)


def check_names(state: Mapping[str, Tensor], config: SystemConfig, *, source: str) -> None:
    """Refuse weights that are not exactly this network's, with the first difference named."""
    with torch.device("meta"):
        expected = create(config).state_dict()
    missing = [name for name in expected if name not in state and not name.startswith("heads.")]
    unknown = [name for name in state if name not in expected]
    if missing or unknown:
        raise InputError(
            f"{source}: not the weights of this network: {len(missing)} missing (first: {_first(missing)}), "
            f"{len(unknown)} unknown (first: {_first(unknown)})"
        )
    for name, value in state.items():
        if not isinstance(value, Tensor) or value.shape != expected[name].shape:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"{source}: {name} is {shape}, expected {tuple(expected[name].shape)}")
        if not value.isfinite().all():
            raise InputError(f"{source}: {name} holds NaN or infinity; the file is damaged or its training diverged")


def _checked(checkpoint: Checkpoint, path: Path, scale: int | None) -> Checkpoint:
    """The checkpoint, if it is of the scale asked for and complete."""
    config = checkpoint.config
    if scale is not None and scale != config.scale:
        raise InputError(f"{path}: trained for scale {config.scale}, asked for {scale}; give the matching file")
    check_names(checkpoint.state, config, source=str(path))
    return checkpoint


def _read_safetensors(path: Path) -> Checkpoint:
    """Such a file, its weights in fp32."""
    arguments, state, meta = read_weights(path)
    try:
        config = from_plain(arguments)
    except TypeError as error:
        raise InputError(f"{path}: not weights of this project ({error})") from None
    return Checkpoint(config, {name: value.float() for name, value in state.items()}, meta)


def _unpickle(path: Path) -> dict[str, Any]:
    """Read a dictionary of tensors and plain values; code in the file is never run."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, zipfile.BadZipFile, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: not a readable checkpoint (damaged, or more than weights): {reason}") from None
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: holds a {type(content).__name__}, expected a checkpoint or a state dict")
    return content


def _read_official(path: Path, content: dict[str, Any], scale: int | None) -> Checkpoint:
    """Official weights; the width is read off their first layer."""
    if scale is None:
        raise InputError(f"{path}: official weights do not say their scale; give it (--scale 4, 8 or 16)")
    try:
        state = from_official(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    first = state["stages.0.guide_encoder.0.weight"]
    if not isinstance(first, Tensor) or first.dim() != 4:
        raise InputError(f"{path}: official weights: the first layer is not a convolution kernel")
    config = STDNetConfig(scale=scale, channels=first.shape[0])
    check_names(state, config, source=str(path))
    return Checkpoint(config, state, {"source": f"official weights {path.name}"}, official=True)


def _first(names: list[str]) -> str:
    return names[0] if names else "none"
