"""TrainConfig: every flag of train.py, with the paper's values as defaults."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from STDNet.command_line import option
from STDNet.errors import InputError
from STDNet.systems import SYSTEMS, UNTRAINED, WIDTHS, SystemConfig, configuration

# What may differ between the runs before and after a stop: nothing here changes the weights that result.
FREE_FIELDS = (
    *("device", "num_workers", "log_every", "save_every", "result_root", "result_root_MAE", "tensorboard", "restart"),
    *("epoch", "steps", "val_every", "val_frames", "root_dir", "gradient_checkpointing"),
    *("cache",),
)
DIFFERENCE_LOSSES = ("alpha_spatial", "alpha_temporal", "beta")
# What a window of colour video does not have.
DEPTH_FIELDS = (
    *("lr_source", "other_sensors", "protocol", "max_depth", "frames", "stride", "jitter", "cache"),
    *("aligned_crops", *DIFFERENCE_LOSSES),
)
# What makes another network of a model: the paper's ablations, DSDMSR's units.
SWITCHES = {"stdnet": ("spatial_difference", "temporal_difference", "neighbours"), "dsdmsr": ("unit",)}
# What one model alone has.
OWN_FIELDS = {
    "stdnet": ("paper_exact", "gradient_checkpointing", *SWITCHES["stdnet"], *DIFFERENCE_LOSSES),
    "dsdmsr": SWITCHES["dsdmsr"],
}


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    model: str = option("stdnet", "which network", choices=tuple(name for name in SYSTEMS if name not in UNTRAINED))
    scale: int = option(4, "RGB pixels per depth pixel: 4, 8, 16")
    channels: int = option(
        64, "width of the network; 64 is that of all the papers (STDNet: 19.9 M parameters), 16 is stdnet-s"
    )
    spatial_difference: bool = option(True, "STDNet's spatial difference branch; without it, concatenation")
    temporal_difference: bool = option(True, "STDNet's temporal difference branch; without it, concatenation")
    neighbours: int = option(2, "frames to either side that a pass of STDNet looks at", choices=(1, 2, 3))
    unit: str = option("srcnn", "what DSDMSR is made of", choices=("srcnn", "vdsr"))
    dataset: str = option(
        "tartanair",
        "which data set; synthetic: procedural videos, rendered while training, nothing to download; colour: colour "
        "videos in the layout of Vimeo-90K, D3DNet or LGTD, for --model d3dnet and lgtd",
        choices=("tartanair", "dydtof", "dynamic_replica", "folder", "synthetic", "colour"),
    )
    synthetic_clips: int = option(10_000, "different procedural clips, which make an epoch (--dataset synthetic)")
    root_dir: Path | None = option(None, "where the data set lies (None: dataset/<its name>)")
    train_list: Path | None = option(
        None, "index file of the training sequences (None: data/TarTanAir_train.txt; for a folder, all that are in it)"
    )
    val_list: str = option(
        "honest",
        "sequences that choose the best checkpoint: 'honest' (data/TarTanAir_val.txt, taken out of the training list), "
        "'paper' (a test sequence, as published), 'none', or an index file",
    )
    lr_source: str = option(
        "auto", "LR depth: files, simulated on the fly, or files where there are", choices=("auto", "files", "simulate")
    )
    other_sensors: float = option(
        0.0, "share of the clips seen by another simulated sensor, of any range, bin width and noise (0.5)"
    )
    protocol: str = option("paper", "units, clipping and masks", choices=("paper", "metric"))
    max_depth: float | None = option(None, "metres that the network sees as 1 (None: the data set's, 30 for TarTanAir)")

    epoch: int = option(500, "epochs to train")
    steps: int | None = option(None, "optimiser steps to train, instead of epochs")
    batchsize: int = option(3, "clips per process and step")
    lr: float = option(1e-4, "learning rate of Adam")
    decay_iterations: tuple[int, ...] = option((150, 200), "epochs after which the rate is multiplied by gamma")
    gamma: float = option(0.2, "factor of the learning rate at decay_iterations")
    schedule: str = option(
        "steps", "how the rate falls: in steps at decay_iterations, or as a cosine to zero", choices=("steps", "cosine")
    )
    warmup: int = option(0, "steps over which the learning rate rises from zero")
    seed: int = option(7240, "seed of weights, order and crops")
    frames: int = option(7, "frames per clip")
    patch_size: int = option(256, "HR pixels per side of a crop")
    stride: int = option(1, "frames from one frame of a clip to the next")
    augment: bool = option(True, "flips and transpose, each with probability 1/2, the same for a whole clip")
    jitter: bool = option(False, "photometric jitter of the colour, after simulation")
    aligned_crops: bool = option(
        True, "crops on the LR grid; without, LR and RGB are up to scale - 1 pixels apart, as in the official training"
    )
    paper_exact: bool = option(False, "repeat the official training quirks: crops off the LR grid, broadcast minimum")
    alpha_spatial: float = option(0.5, "weight of the spatial difference loss (alpha_1); 0 is off")
    alpha_temporal: float = option(0.5, "weight of the temporal difference loss (alpha_2); 0 is off")
    beta: float = option(0.01, "weight of both difference losses")

    accumulate: int = option(1, "batches per optimiser step")
    clip_grad: float | None = option(None, "largest gradient norm; larger ones are scaled down")
    ema: float | None = option(None, "decay of an average of the weights, which is validated and kept (0.999)")
    amp: str = option("none", "autocast type; the losses stay in fp32", choices=("none", "bf16", "fp16"))
    tf32: bool = option(False, "allow TF32 in fp32 products (CUDA)")
    compile: bool = option(False, "torch.compile the training step")
    deform_conv: str = option(
        "auto",
        "back-end of the deformable convolutions; auto: gather on a CPU (four times faster), else torchvision",
        choices=("auto", "torchvision", "gather", "plain", "mmcv", "triton"),
    )
    gradient_checkpointing: bool = option(False, "recompute activations: less memory, more time")
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps")
    channels_last: bool = option(False, "features with their channels last in memory; for half precision on GPUs")
    num_workers: int = option(2, "loader processes per training process")
    cache: Path | None = option(
        None, "folder where RGB pictures are kept decoded (0.9 MB for 640 x 480): the same clips, faster"
    )

    init: Path | None = option(None, "start from these weights: ours, of any scale, official, or a name that ships")
    result_root: Path | None = option(
        None, "folder of the run (None: experiment/STDNet_<scale>, <model>_<scale>, <model>_colour_<scale>)"
    )
    result_root_MAE: Path | None = option(None, "folder of the best-MAE checkpoint (None: <result_root>/MAE_best)")
    restart: bool = option(False, "discard what is in result_root and begin anew")
    val_every: int = option(1, "epochs between two validations")
    val_frames: int | None = option(None, "validate on this many frames of each sequence (None: all)")
    save_every: int = option(500, "steps between two checkpoints to resume from; every validation writes one too")
    log_every: int = option(20, "steps between two lines in metrics.jsonl")
    tensorboard: bool = option(False, "also write TensorBoard scalars and pictures (pip install 'STDNet[log]')")

    def __post_init__(self) -> None:
        positive = (
            *("epoch", "steps", "batchsize", "lr", "gamma", "frames", "patch_size", "stride", "channels", "max_depth"),
            *("accumulate", "clip_grad", "synthetic_clips", "val_every", "val_frames", "save_every", "log_every"),
        )
        for name in positive:
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f"--{name} must be positive, got {value}")
        if self.paper_exact and (self.protocol == "metric" or self.dataset == "folder"):
            raise InputError("--paper_exact knows no mask of valid pixels: use it with --protocol paper, not a folder")
        self._check_model()
        if self.num_workers < 0 or self.warmup < 0:
            raise InputError("--num_workers and --warmup must not be negative")
        if not 0 <= self.other_sensors <= 1:
            raise InputError(f"--other_sensors is a share, 0 to 1, got {self.other_sensors}")
        if self.ema is not None and not 0 < self.ema < 1:
            raise InputError(f"--ema is a decay between 0 and 1, got {self.ema}")

    def _check_model(self) -> None:
        """Refuse what only one model or depth video has; sizes are the model's own business."""
        if self.model in UNTRAINED:
            raise InputError(f"--model {self.model} has nothing to train")
        for model, names in OWN_FIELDS.items():
            for name in names:
                if getattr(self, name) != getattr(TrainConfig, name) and self.model != model:
                    raise InputError(f"--{name} is for --model {model}, not for {self.model}")
        if self.dataset == "colour":
            for name in DEPTH_FIELDS:
                if getattr(self, name) != getattr(TrainConfig, name):
                    raise InputError(f"--{name} is for depth video, not for --dataset colour")
        self.system()

    def system(self) -> SystemConfig:
        """The model as its checkpoint describes it."""
        wide = self.model in WIDTHS or self.channels != TrainConfig.channels
        switches = {name: getattr(self, name) for name in SWITCHES.get(self.model, ())}
        task = "colour" if self.dataset == "colour" else "depth"
        return configuration(self.model, self.scale, self.channels if wide else None, task=task, **switches)

    @property
    def label(self) -> str:
        """The model's name in pictures and folders."""
        return "STDNet" if self.model == "stdnet" else self.model

    @property
    def folder(self) -> Path:
        """Where the run lives."""
        task = "_colour" if self.dataset == "colour" else ""
        return self.result_root or Path("experiment") / f"{self.label}{task}_{self.scale}"

    @property
    def mae_folder(self) -> Path:
        """Where the checkpoint with the best MAE goes."""
        return self.result_root_MAE or self.folder / "MAE_best"

    def identity(self) -> dict[str, Any]:
        """The fields that decide which weights result, as plain values.

        The length is one of them under a cosine, and for DVSR, whose deep supervision lasts a share of it.
        """
        fixed = self.schedule == "cosine" or self.model == "dvsr"
        free = set(FREE_FIELDS) - ({"epoch", "steps"} if fixed else set())
        values = {name: value for name, value in dataclasses.asdict(self).items() if name not in free}
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
