"""The official names: one rename table, strict, in both directions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from STDNet.errors import InputError
from STDNet.models.temporal_difference import PASSES

NETWORK_PREFIX = "Video_Rec."
HEADS_PREFIX = "Diff_Rec."


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
