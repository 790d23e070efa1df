"""The flags of python -m STDNet.super_resolve, which are the options of `super_resolve`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from STDNet.command_line import option
from STDNet.errors import InputError
from STDNet.evaluation.prediction import AMP_TYPES
from STDNet.super_resolve.formats import FORMATS
from STDNet.super_resolve.output import refuse_kinds
from STDNet.systems import SYSTEMS, UNTRAINED

DEFAULT_MAX_DEPTH_M = 30.0  # of the paper's training data
DEFAULT_FRAMES_PER_S = 30.0


@dataclass(frozen=True)
class SuperResolveConfig:
    """What to super-resolve, with what, into which files."""

    capture: Path | None = option(None, "folder of the capture; as the first argument it needs no flag")
    out: Path | None = option(None, "folder of the results; a stopped run goes on when it is given again")
    format: str = option("auto", "what kind of capture it is", choices=("auto", *FORMATS))
    weights: str | None = option(None, "a checkpoint, or weights that ship (None: stdnet-s-x<scale>)")
    model: str | None = option(
        None,
        f"which model (None: that of the weights); {', '.join(UNTRAINED)} need no weights",
        choices=tuple(SYSTEMS),
    )
    scale: int | None = option(
        None, "output pixels per depth pixel: 4, 8, 16 (None: that of --weights, else nearest to RGB over depth)"
    )
    max_depth: float | None = option(
        None, "metres that the network sees as 1 (None: what --max_depth was in training, else 30)"
    )
    frames: int | None = option(None, "only so many frames, from the first one on (None: all)")
    min_confidence: int = option(1, "depth of lower confidence (0 low, 1 medium, 2 high) is a hole", choices=(0, 1, 2))
    downsample_depth: int = option(1, "first take blocks of N x N depth pixels as one, for depth as fine as RGB")
    save: tuple[str, ...] = option(("npy", "png"), "depth files: npy (metres), png (16-bit, mm), exr (metres)")
    preview: bool = option(True, "write preview.mp4 and slices.png")
    ply: tuple[int, ...] = option((), "write coloured point clouds of these frames, counted from 0")
    focal: float | None = option(
        None, "focal length in pixels of the stored RGB, for --ply of a capture that does not say its own"
    )
    frames_per_s: float | None = option(None, "of the preview film (None: the capture's, else 30)")
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps")
    amp: str = option("none", "autocast type", choices=tuple(AMP_TYPES))

    def __post_init__(self) -> None:
        if self.capture is None:
            raise InputError("CAPTURE: name the folder of a capture")
        if self.out is None:
            raise InputError("--out: name the folder of the results")
        if self.model in UNTRAINED and self.weights is not None:
            raise InputError(f"--model {self.model} has no weights: leave out --weights")
        if self.model not in (None, "stdnet", *UNTRAINED) and self.weights is None:
            raise InputError(f"--model {self.model}: no weights of it ship; give those of a training with --weights")
        for flag in ("max_depth", "focal", "frames_per_s", "scale", "frames"):
            value = getattr(self, flag)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"--{flag} must be positive, got {value}")
        refuse_kinds(self.save)
