"""STDNet (arXiv 2508.01259): depth video super-resolution from spatial and temporal differences; `forward` is figure 2.

Legend of the shapes in this package:
    B clips, T frames, N = B * T, C feature channels, P pairs of frames that meet in the temporal branch
    H x W         full resolution (RGB, output)
    H/s x W/s     resolution of the low-resolution depth, s the scale
    h x w         the network's grid, H/4 x W/4 at every scale: all features live here
Depth is in network units (metres divided by the normaliser of the data, `max_depth_m`), RGB in 0..1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from STDNet.errors import InputError
from STDNet.models.hub import HubMixin
from STDNet.models.inputs import fit
from STDNet.models.layers import ConvBlock, Encoder
from STDNet.models.reconstruction import Reconstruction, blend
from STDNet.models.regularizer import DifferenceHeads
from STDNet.models.spatial_difference import SpatialDifference
from STDNet.models.temporal_difference import NEIGHBOURS, PASSES, Pairs, TemporalDifference, temporal_differences
from STDNet.models.video_model import DepthVideoModel
from STDNet.weight_file import read_weights

GRID = 4  # full-resolution pixels per cell of the network's grid
DEPTH_GAIN, COLOUR_GAIN = 50.0, 3.0  # of the first kernels at the start, see start_from_differences

PRESETS = {  # name -> channels
    "stdnet": 64,  # the paper's: 19.917 M parameters
    "stdnet-s": 16,  # 1.27 M; its weights ship with the package
}


@dataclass(frozen=True)
class STDNetConfig:
    """What a network is; a checkpoint carries it.

    Attributes:
        scale: RGB pixels per depth pixel along each axis: 4, 8, 16 or another multiple of 4.
        channels: Width C of the features; 64 in the paper (19.917 M parameters).
        spatial_difference: False: depth and RGB features are concatenated instead (the paper's ablation).
        temporal_difference: False: neighbouring frames are concatenated instead of aligned (the paper's ablation).
        neighbours: 1, 2 or 3 frames to the side that a pass looks at: the adjacent one, one or two beyond it. A frame's
            depth depends on 4 times as many frames to either side.
    """

    name: ClassVar[str] = "stdnet"

    scale: int = 4
    channels: int = 64
    spatial_difference: bool = True
    temporal_difference: bool = True
    neighbours: int = NEIGHBOURS

    def __post_init__(self) -> None:
        if self.scale < GRID or self.scale % GRID:
            raise InputError(f"scale must be a multiple of {GRID} (4, 8, 16 ...), got {self.scale}")
        if self.channels < 1:
            raise InputError(f"channels must be at least 1, got {self.channels}")
        if self.neighbours not in (1, 2, 3):
            raise InputError(f"neighbours must be 1, 2 or 3, got {self.neighbours}")

    @classmethod
    def preset(cls, name: str, scale: int = 4) -> STDNetConfig:
        """A network by name, see `PRESETS`."""
        if name not in PRESETS:
            raise InputError(f"no network is called {name!r}; there are {', '.join(PRESETS)}")
        return cls(scale=scale, channels=PRESETS[name])


@dataclass(frozen=True)
class StageOutput:
    """What one stage found.

    Attributes:
        depth: [B, T, 1, H, W], network units.
        confidence: [B, T, 1, H, W] in 0..1, after the softmax over the stages.
        spatial_difference: sigma, [B, T, C, h, w]; None where the configuration switches it off.
        temporal_difference: phi = |S_t - S_t+1|, [B, T - 1, C, h, w]; no frames where it is switched off.
        cross_difference: phi-hat = |S_t - S_t+2|, [B, T - 2, C, h, w]; no frames for T < 3, for one neighbour, or where
            it is switched off. (A third neighbour has no loss of its own.)
    """

    depth: Tensor
    confidence: Tensor
    spatial_difference: Tensor | None
    temporal_difference: Tensor
    cross_difference: Tensor


@dataclass(frozen=True)
class STDNetOutput:
    """The result: depth [B, T, 1, H, W] in network units, and what the two stages contributed."""

    depth: Tensor
    stages: tuple[StageOutput, ...]


class StageFeatures(NamedTuple):
    """Per-frame features of a stage, each [..., C, h, w]."""

    feature: Tensor  # S, what the temporal branch starts from
    rgb: Tensor  # the encoded guide
    weight: Tensor  # w
    sigma: Tensor | None


class StagePrediction(NamedTuple):
    """A stage before the blend: depth and confidence [B, T, 1, H, W], the rest [B, ., C, h, w]."""

    depth: Tensor
    confidence: Tensor  # before the softmax
    fused: Tensor
    sigma: Tensor | None
    adjacent: Tensor
    cross: Tensor


class Stage(nn.Module):
    """Encode guide and depth, fuse them in space, pass four times over time, reconstruct."""

    def __init__(self, config: STDNetConfig, previous: bool, deform_backend: str = "auto") -> None:
        super().__init__()
        channels, self.neighbours = config.channels, config.neighbours
        guide_gains = (DEPTH_GAIN, 1.0) if previous else (COLOUR_GAIN,) * 3  # depth and confidence, or RGB
        self.guide_encoder = Encoder(len(guide_gains), channels, stride=2, gains=guide_gains, precise=previous)
        self.depth_encoder = Encoder(1, channels, stride=1, gains=(DEPTH_GAIN,), precise=True)
        self.spatial_difference = SpatialDifference(channels, differences=config.spatial_difference)
        self.features = ConvBlock(2 * channels if previous else channels, channels, blocks=5)
        self.passes = nn.ModuleDict(
            {
                name: TemporalDifference(
                    channels, deform_backend, differences=config.temporal_difference, neighbours=config.neighbours
                )
                for name in PASSES
            }
        )
        self.reconstruction = Reconstruction(channels)

    def forward(self, guide: Tensor, grid: Tensor, previous: Tensor | None, run: Callable[..., Any]) -> StagePrediction:
        """Run the stage on whole clips.

        Args:
            guide: [B, T, 3 or 2, H, W]: RGB, or depth and confidence of the stage before.
            grid: [B, T, 1, h, w], the low-resolution depth on the grid.
            previous: [B, T, C, h, w], the fused feature of the stage before, or None.
            run: Calls a function with arguments; plain, or with gradient checkpointing.
        """
        frames = grid.shape[1]
        *flat, sigma = run(self.encode, guide.flatten(0, 1), grid.flatten(0, 1), _flat(previous))
        spatial, rgb, weight = (x.unflatten(0, (-1, frames)) for x in flat)
        pairs = Pairs.of(frames, self.neighbours)
        differences = self.differences(spatial, pairs)
        features = [spatial]
        for name, fusion in self.passes.items():
            features.append(run(fusion, name, features[-1], rgb, weight, differences, pairs, range(frames)))
        flattened = [x.flatten(0, 1) for x in features]
        fused, depth, confidence = run(self.reconstruction, flattened, grid.flatten(0, 1))
        fused, depth, confidence = (x.unflatten(0, (-1, frames)) for x in (fused, depth, confidence))
        sigma = None if sigma is None else sigma.unflatten(0, (-1, frames))
        adjacent, cross = (differences[:, pairs.at(distance)] for distance in (1, 2))
        return StagePrediction(depth, confidence, fused, sigma, adjacent, cross)

    def differences(self, spatial: Tensor, pairs: Pairs) -> Tensor:
        """[B, T, C, h, w] -> [B, P, C, h, w], phi and phi-hat; no pairs where they are switched off."""
        known = all(fusion.differences for fusion in self.passes.values())
        return temporal_differences(spatial, pairs) if known else spatial[:, :0]

    def encode(self, guide: Tensor, grid: Tensor, previous: Tensor | None) -> StageFeatures:
        """The part that sees each frame alone; arguments as in `forward` with B and T flattened to N."""
        rgb, depth = self.guide_encoder(guide), self.depth_encoder(grid)
        fused, weight, sigma = self.spatial_difference(depth, rgb)
        joint = fused if previous is None else torch.cat((fused, previous), 1)
        return StageFeatures(self.features(joint), rgb, weight, sigma)


class STDNet(HubMixin, DepthVideoModel):
    """Depth video super-resolution by two stages: the first guided by RGB, the second by the first.

    Args:
        config: Scale and width.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, about a third more time.
        deform_backend: Back-end of the deformable convolutions, see `STDNet.ops.deform_conv2d`.

    Attributes:
        config: As given.
        meta: What is known of the weights (`max_depth_m`, data, metrics, licence ...), filled in by whoever loads them;
            nothing here depends on it.
        heads: 195 parameters at C = 64, serve the training losses alone.

    `from_pretrained`, `save_pretrained` and `push_to_hub` come from huggingface_hub, see hub.py.
    """

    config: STDNetConfig
    reach = 4 * NEIGHBOURS

    def __init__(
        self,
        config: STDNetConfig | None = None,
        *,
        gradient_checkpointing: bool = False,
        deform_backend: str = "auto",
    ) -> None:
        super().__init__()
        self.config = config or STDNetConfig()
        self.gradient_checkpointing = gradient_checkpointing
        # Two backward passes a stage look ahead, two forward passes back.
        self.reach = 4 * self.config.neighbours
        first = Stage(self.config, previous=False, deform_backend=deform_backend)
        second = Stage(self.config, previous=True, deform_backend=deform_backend)
        self.stages = nn.ModuleList([first, second])
        self.heads = DifferenceHeads(self.config.channels)

    def forward(self, lr: Tensor, rgb: Tensor) -> STDNetOutput:
        """Super-resolve clips.

        Args:
            lr: [B, T, 1, H/s, W/s], low-resolution depth in network units, floating point.
            rgb: [B, T, 3, H, W], colour in 0..1. T = 1 and T = 2 work: missing neighbours are left out.
                H and W need not be multiples of s: `lr` then has the next smaller or the next larger whole size, and
                both are extended by their last row and column inside and cropped back. The extension is seen by the
                channel attention (image-wide means), so such a frame differs slightly from a crop of a larger one.

        Returns:
            `STDNetOutput`; depth is [B, T, 1, H, W] in the type of `lr`.

        Raises:
            InputError: Shapes that do not belong together.
        """
        lr, rgb, size = self.aligned(lr, rgb)
        grid = self.to_grid(lr)
        first = self.stages[0](rgb, grid, None, self._run)
        second = self.stages[1](torch.cat((first.depth, first.confidence), 2), grid, first.fused, self._run)
        depth, confidence = blend([first.depth, second.depth], [first.confidence, second.confidence])
        return _output(depth, confidence, (first, second), size)

    def aligned(self, lr: Tensor, rgb: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Check the inputs and extend both to whole multiples of the scale; also returns H, W to crop back to."""
        return fit(lr, rgb, self.config.scale, "STDNet")

    def to_grid(self, lr: Tensor) -> Tensor:
        """[..., H/s, W/s] -> [..., h, w]: repeat every depth pixel s/4 times, so that a x4 problem remains."""
        repeat = self.config.scale // GRID
        return lr.repeat_interleave(repeat, -2).repeat_interleave(repeat, -1) if repeat > 1 else lr

    @classmethod
    def _from_file(cls, path: Path, **options: Any) -> STDNet:
        """The network of a safetensors file with our header, in evaluation mode."""
        arguments, state, meta = read_weights(path)
        try:
            net = cls(STDNetConfig(**arguments), **options)
            absent, unknown = net.load_state_dict(state, strict=False)
        except (TypeError, RuntimeError) as error:
            raise InputError(f"{path}: not weights of STDNet ({' '.join(str(error).split())})") from None
        wrong = [*unknown, *(name for name in absent if not name.startswith("heads."))]
        if wrong:
            raise InputError(f"{path}: not weights of STDNet: {len(wrong)} names differ, the first is {wrong[0]!r}")
        net.meta = meta
        return net.eval()

    def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call `function`, recomputing it in the backward pass where that was asked for."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(function, *arguments, use_reentrant=False)
        return function(*arguments)


def _flat(x: Tensor | None) -> Tensor | None:
    """[B, T, ...] -> [N, ...], None stays None."""
    return None if x is None else x.flatten(0, 1)


def _output(
    depth: Tensor, confidence: Tensor, predictions: tuple[StagePrediction, ...], size: tuple[int, int]
) -> STDNetOutput:
    """Crop to the asked size and name the parts."""
    height, width = size
    stages = tuple(
        StageOutput(
            depth=prediction.depth[..., :height, :width],
            confidence=confidence[:, :, i : i + 1, :height, :width],
            spatial_difference=prediction.sigma,
            temporal_difference=prediction.adjacent,
            cross_difference=prediction.cross,
        )
        for i, prediction in enumerate(predictions)
    )
    return STDNetOutput(depth[..., :height, :width], stages)
