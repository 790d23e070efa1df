"""Checkpoints: self-describing files of our own, and the official `.pth` form by one rename table, both ways."""

from __future__ import annotations

import dataclasses
import logging
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from STDNet.command_line import option, parse, run
from STDNet.errors import InputError
from STDNet.files import atomic_write
from STDNet.models import STDNet, STDNetConfig
from STDNet.models.temporal_difference import PASSES

FORMAT = "STDNet checkpoint"
VERSION = 1
NETWORK_PREFIX = "Video_Rec."
HEADS_PREFIX = "Diff_Rec."

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        config: Which network the weights belong to.
        state: The weights under our names; the training-only `heads.*` may be absent (official files lack them).
        meta: Where they come from: `max_depth_m` (the normaliser in training, metres), data set, metrics, versions ...
        training: Optimiser, schedule and counters to go on from; empty in files made for use alone.
    """

    config: STDNetConfig
    state: dict[str, Tensor]
    meta: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


def load(path: Path | str, *, scale: int | None = None, device: torch.device | str = "cpu") -> STDNet:
    """Build the network that a file describes, ready for use.

    Args:
        path: A checkpoint of ours or an official `.pth` file.
        scale: Needed for official files, which do not say theirs; must agree with a checkpoint of ours.
        device: Where the network shall live.

    Returns:
        The network in evaluation mode.

    Raises:
        InputError: The file is missing, damaged, not a checkpoint, or of another network or scale.
    """
    checkpoint = read(path, scale=scale)
    net = STDNet(checkpoint.config)
    fill(net, checkpoint.state, source=str(path))
    return net.to(device).eval()


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


def read(path: Path | str, *, scale: int | None = None) -> Checkpoint:
    """Read a checkpoint of ours or an official `.pth` file; arguments and errors as in `load`."""
    content = _unpickle(Path(path))
    if "format" not in content and "model" not in content:
        return _read_official(path, content, scale)
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise InputError(
            f"{path}: format {content.get('format')!r} version {content.get('version')!r} is not "
            f"{FORMAT!r} version {VERSION}; use a checkpoint written by train.py or an official .pth file"
        )
    try:
        config = STDNetConfig(**content["config"])
        checkpoint = Checkpoint(config, content["model"], content["meta"], content["training"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged checkpoint ({type(error).__name__}: {error}); get it again") from None
    if scale is not None and scale != config.scale:
        raise InputError(f"{path}: trained for scale {config.scale}, asked for {scale}; give the matching file")
    check_names(checkpoint.state, config, source=str(path))
    return checkpoint


def write_official(path: Path | str, state: Mapping[str, Tensor]) -> None:
    """Write weights under our names as the official code saves them: a bare state dict without prefix and heads."""
    network = {name: value for name, value in state.items() if not name.startswith("heads.")}
    official = {name.removeprefix(NETWORK_PREFIX): value.clone() for name, value in to_official(network).items()}
    with atomic_write(path) as file:
        torch.save(official, file)


def fill(net: STDNet, state: Mapping[str, Tensor], *, source: str = "state") -> None:
    """Load weights strictly; only the training heads may be absent, they then keep their values."""
    check_names(state, net.config, source=source)
    net.load_state_dict(dict(state), strict=False)


def check_names(state: Mapping[str, Tensor], config: STDNetConfig, *, source: str) -> None:
    """Refuse weights that are not exactly this network's, with the first difference named."""
    with torch.device("meta"):
        expected = STDNet(config).state_dict()
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


def from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename official weights to ours.

    Args:
        state: Official names, with or without the prefix `Video_Rec.` (and the `module.` of a wrapped network); the
            heads `Diff_Rec.*` may be there or not.

    Returns:
        The same tensors under our names.

    Raises:
        InputError: A name that the official network does not have, a missing one, or one that is there twice.
    """
    ours = {official: name for name, official in official_names().items()}
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        name = str(key).removeprefix("module.")
        if not name.startswith((NETWORK_PREFIX, HEADS_PREFIX)):
            name = NETWORK_PREFIX + name
        if name not in ours:
            raise InputError(f"official weights: unknown name {key!r}; not a state dict of the official network")
        if ours[name] in renamed:
            raise InputError(f"official weights: {name!r} is there twice, with and without a prefix")
        renamed[ours[name]] = value
    missing = [official for official, name in ours.items() if name not in renamed]
    missing_heads = [name for name in missing if name.startswith(HEADS_PREFIX)]
    if len(missing) > len(missing_heads) or len(missing_heads) not in (0, 6):
        raise InputError(f"official weights: {len(missing)} names are missing, the first is {missing[0]!r}")
    return renamed


def to_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename our weights to the official names with their prefixes; unknown names raise `InputError`."""
    names = official_names()
    unknown = [name for name in state if name not in names]
    if unknown:
        raise InputError(f"no official name for {unknown[0]!r}; not a state dict of STDNet")
    return {names[name]: value for name, value in state.items()}


def official_names() -> dict[str, str]:
    """The rename table: our name -> official name, for every tensor of the network and its heads."""
    return dict(_rename_table())


def _rename_table() -> Iterator[tuple[str, str]]:
    """The table, built from its regular parts."""
    for stage in (1, 2):
        ours, theirs = f"stages.{stage - 1}", NETWORK_PREFIX + "{}" + f".hg_{stage}"
        for name, official in (("guide_encoder", "conv_guide_init"), ("depth_encoder", "conv_dep_init")):
            yield from _encoder(f"{ours}.{name}", theirs.format(official))
        yield from _spatial_difference(f"{ours}.spatial_difference", theirs.format("feat_extract_f"))
        yield from _conv_block(f"{ours}.features", theirs.format("feat_extract"), blocks=5)
        for name in PASSES:
            yield from _temporal_difference(f"{ours}.passes.{name}", f"{theirs.format('deform_align')}.{name}")
        yield from _conv_block(f"{ours}.reconstruction.fuse", theirs.format("reconstruction"), blocks=5)
        last = theirs.format("final_pred")
        yield from _conv(f"{ours}.reconstruction.upsample1.conv", f"{last}.0.upsample_conv")
        yield from _conv(f"{ours}.reconstruction.upsample2.conv", f"{last}.2.upsample_conv")
        yield from _conv(f"{ours}.reconstruction.conv", f"{last}.4")
        yield from _conv(f"{ours}.reconstruction.head", f"{last}.6")
    for name, official in (("spatial", "upD_Intra"), ("adjacent", "upD_Inter"), ("cross", "upD_Inter_cross")):
        yield f"heads.{name}.reduce.weight", f"{HEADS_PREFIX}{official}.conv2.weight"
        yield f"heads.{name}.scale.weight", f"{HEADS_PREFIX}{official}.con1x1.weight"


def _conv(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield f"{ours}.weight", f"{theirs}.weight"
    yield f"{ours}.bias", f"{theirs}.bias"


def _conv_block(ours: str, theirs: str, blocks: int) -> Iterator[tuple[str, str]]:
    yield from _conv(f"{ours}.conv", f"{theirs}.main.0")
    for block in range(blocks):
        for conv in ("conv1", "conv2"):
            yield from _conv(f"{ours}.blocks.{block}.{conv}", f"{theirs}.main.2.{block}.{conv}")


def _encoder(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    for layer in (0, 2, 5):
        yield from _conv(f"{ours}.{layer}", f"{theirs}.{layer}")
    yield from _conv_block(f"{ours}.4", f"{theirs}.4", blocks=1)
    yield from _conv_block(f"{ours}.7", f"{theirs}.7", blocks=2)


def _residual_group(ours: str, theirs: str, blocks: int) -> Iterator[tuple[str, str]]:
    for block in range(blocks):
        body = f"{theirs}.body.{block}.body"
        yield from _conv(f"{ours}.blocks.{block}.conv1", f"{body}.0")
        yield from _conv(f"{ours}.blocks.{block}.conv2", f"{body}.2")
        yield from _conv(f"{ours}.blocks.{block}.attention.squeeze", f"{body}.3.conv_du.0")
        yield from _conv(f"{ours}.blocks.{block}.attention.excite", f"{body}.3.conv_du.2")
    yield from _conv(f"{ours}.conv", f"{theirs}.body.{blocks}")


def _spatial_difference(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield f"{ours}.beta", f"{theirs}.beta"
    yield from _conv(f"{ours}.difference_conv", f"{theirs}.conv_diff")
    yield from _conv(f"{ours}.weight_conv", f"{theirs}.conv_du")
    yield from _residual_group(f"{ours}.kernel_generator.group", f"{theirs}.kg.rg", blocks=1)
    yield from _conv(f"{ours}.kernel_generator.conv", f"{theirs}.kg.conv")
    yield from _residual_group(f"{ours}.fusion", f"{theirs}.rg", blocks=1)
    yield from _conv(f"{ours}.fusion_conv", f"{theirs}.conv_re")


def _temporal_difference(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield f"{ours}.align_weight", f"{theirs}.w"
    yield f"{ours}.align_bias", f"{theirs}.b"
    yield from _conv(f"{ours}.current_conv", f"{theirs}.conv_du")
    yield from _conv(f"{ours}.difference_conv", f"{theirs}.conv_diff")
    yield from _conv(f"{ours}.offset_mask_conv", f"{theirs}.conv_offset_mask")
    yield from _conv(f"{ours}.aligned_conv", f"{theirs}.conv_outDCN")
    yield from _residual_group(f"{ours}.fusion", f"{theirs}.rg1", blocks=2)
    yield from _conv(f"{ours}.fusion_conv", f"{theirs}.conv_re")


def _unpickle(path: Path) -> dict[str, Any]:
    """Read a dictionary of tensors and plain values; code in the file is never run."""
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, zipfile.BadZipFile, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: not a readable checkpoint (damaged, or more than weights): {reason}") from None
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: holds a {type(content).__name__}, expected a checkpoint or a state dict")
    return content


def _read_official(path: Path | str, content: dict[str, Any], scale: int | None) -> Checkpoint:
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
    return Checkpoint(config, state, meta={"source": f"official weights {Path(path).name}"})


def _first(names: list[str]) -> str:
    return names[0] if names else "none"


@dataclass(frozen=True)
class _Convert:
    """Flags of the command line."""

    show: Path | None = option(None, "describe this checkpoint and stop")
    convert: Path | None = option(None, "read this checkpoint: ours becomes official, official becomes ours")
    out: Path | None = option(None, "where to write the converted file")
    scale: int | None = option(None, "scale of official weights, which do not say it")


def main(argv: list[str] | None = None) -> None:
    """Describe or convert a checkpoint: `python -m STDNet.checkpoint --help`."""
    flags = parse(_Convert, argv, description="Describe a checkpoint, or convert to and from the official .pth form.")
    source = flags.show or flags.convert
    if source is None or (flags.convert and not flags.out):
        raise InputError("give --show FILE, or --convert FILE --out FILE")
    checkpoint = read(source, scale=flags.scale)
    if flags.show:
        count = sum(value.numel() for value in checkpoint.state.values())
        print(f"{source}: scale {checkpoint.config.scale}, {checkpoint.config.channels} channels, {count:,} numbers")
        for key, value in checkpoint.meta.items():
            print(f"  {key}: {value}")
        return
    assert flags.out is not None
    if str(checkpoint.meta.get("source", "")).startswith("official"):
        save(flags.out, checkpoint)
    else:
        write_official(flags.out, checkpoint.state)
    log.info("wrote %s", flags.out)


if __name__ == "__main__":
    run(main)
