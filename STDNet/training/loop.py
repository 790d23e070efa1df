"""The training loop; the same lines on a CPU, on one GPU and on many."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from STDNet import checkpoint, distributed
from STDNet.checkpoint import Checkpoint
from STDNet.colour_video import ColourVideoModel
from STDNet.command_line import progress
from STDNet.errors import InputError
from STDNet.files import write_image
from STDNet.losses import Losses
from STDNet.models import DepthVideoModel, STDNet, STDNetConfig
from STDNet.models.video_model import channels_last
from STDNet.systems import create
from STDNet.training import colour, depth
from STDNet.training.config import TrainConfig
from STDNet.training.data import Batches
from STDNet.training.run import RunFolder, provenance

Model = DepthVideoModel | ColourVideoModel

log = logging.getLogger(__name__)


class TrainingStep(nn.Module):
    """Network and losses in one module, so that DDP and torch.compile see the whole step."""

    def __init__(self, net: Model, config: TrainConfig) -> None:
        super().__init__()
        self.net, self.config = net, config

    def forward(self, batch: dict[str, Tensor], deep: bool = True) -> Losses:
        """The losses of one batch; `deep` supervision where the model knows it."""
        if isinstance(self.net, ColourVideoModel):
            return colour.losses(self.net, self.config, batch)
        return depth.losses(self.net, self.config, batch, deep)


def network(config: TrainConfig, device: torch.device) -> Model:
    """The network of a configuration on its device, with new weights."""
    backend = "gather" if config.deform_conv == "auto" and device.type == "cpu" else config.deform_conv
    net = create(config.system(), deform_backend=backend)
    if isinstance(net, STDNet):
        net.gradient_checkpointing = config.gradient_checkpointing
    if config.channels_last:
        channels_last(net)
    return net.to(device)


def train(config: TrainConfig) -> None:
    """Train a network; started again with the same configuration, go on where the run stopped.

    Writes into `config.folder`: config.json, metrics.jsonl, last.pth (to resume), best_rmse.pth, final.pth, samples/,
    and best_mae.pth into `config.mae_folder`; of colour video, best_psnr.pth instead of both. SIGTERM saves and stops.
    Bad input raises `InputError`.
    """
    device = distributed.choose_device(config.device)
    if config.amp == "fp16" and device.type != "cuda":
        raise InputError(f"--amp fp16 needs a CUDA device, this is {device}; take bf16 or none")
    if config.tf32:
        torch.set_float32_matmul_precision("high")
    with distributed.process_group(device), contextlib.closing(RunFolder(config)) as folder:
        Training(config, device, folder).run()


class Training:
    """What a run is made of; `run` is the loop."""

    def __init__(self, config: TrainConfig, device: torch.device, folder: RunFolder) -> None:
        self.config, self.device, self.folder = config, device, folder
        torch.manual_seed(config.seed)
        self.net = network(config, device)
        self.task: Any = _task(self.net, config)
        self.batches = Batches(config, self.task.clips)
        self.total_steps = config.steps or config.epoch * self.batches.steps_per_epoch
        self.step = 0
        self.best: dict[str, float] = {}

        if config.init is not None:
            start = checkpoint.read(config.init, scale=config.scale, any_scale=True)
            checkpoint.fill(self.net, start.state, source=str(config.init))
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config.lr)
        # fp16 gradients underflow without it; for the other types it passes everything through.
        self.scaler = _grad_scaler(enabled=config.amp == "fp16")
        self.ema = None
        if config.ema is not None:
            self.ema = AveragedModel(self.net, multi_avg_fn=get_ema_multi_avg_fn(config.ema))
        found = self.folder.begin()
        if found is not None:
            self._resume(found)
        self.module = self._wrapped()
        self.tensorboard = self._tensorboard()

    def run(self) -> None:
        """Train until the last step, a SIGTERM, or an exception."""
        if distributed.is_main():
            log.info(
                "%d processes on %s, %d clips, %d steps an epoch, step %d of %d, run folder %s",
                distributed.world_size(),
                self.device,
                len(self.batches.clips),
                self.batches.steps_per_epoch,
                self.step,
                self.total_steps,
                self.folder.folder,
            )
        batches = self.batches.from_step(self.step)
        started, since, stopping = time.perf_counter(), self.step, False
        with _sigterm() as stop:
            for _ in self._progress():
                terms, gradient_norm = self._train_step(batches)
                self.step += 1
                if self.step % self.config.log_every == 0:
                    rate = (self.step - since) * self.batches.per_step / (time.perf_counter() - started)
                    self._log_losses(terms, float(gradient_norm), rate)
                    started, since = time.perf_counter(), self.step
                stopping = distributed.any_rank(stop["asked"])
                if self._validate_and_save(terms, now=stopping):
                    started, since = time.perf_counter(), self.step
                if stopping:
                    break
        if distributed.is_main():
            log.info("stopped by SIGTERM at step %d" if stopping else "finished at step %d", self.step)
        distributed.barrier()

    def _train_step(self, batches: Iterator[dict[str, Tensor]]) -> tuple[Tensor, Tensor]:
        """One optimiser step from `accumulate` batches; the mean loss terms and the gradient norm."""
        self.module.train()
        share = self.net.deep_share if isinstance(self.net, DepthVideoModel) else 0.0
        deep = self.step < share * self.total_steps
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        terms = torch.zeros(4, device=self.device)
        for i in range(self.config.accumulate):
            batch = {name: value.to(self.device, non_blocking=True) for name, value in next(batches).items()}
            waits = i + 1 < self.config.accumulate and isinstance(self.module, DistributedDataParallel)
            with self.module.no_sync() if waits else contextlib.nullcontext():  # type: ignore[operator]
                losses = self.module(batch, deep)
                self.scaler.scale(losses.total / self.config.accumulate).backward()
            terms += torch.stack([x.detach().float() for x in losses[:4]]) / self.config.accumulate
        self.scaler.unscale_(self.optimizer)
        limit = self.config.clip_grad or float("inf")
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), limit)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.ema is not None:
            self.ema.update_parameters(self.net)
        return terms, norm

    def _learning_rate(self) -> float:
        """The rate of the next step: a rise over `warmup` steps, then a factor gamma at milestones, or a cosine."""
        rate = self.config.lr * min(1.0, (self.step + 1) / (self.config.warmup + 1))
        if self.config.schedule == "cosine":
            return rate * 0.5 * (1 + math.cos(math.pi * self.step / self.total_steps))
        epoch = self.step // self.batches.steps_per_epoch
        return rate * self.config.gamma ** sum(epoch >= milestone for milestone in self.config.decay_iterations)

    def _log_losses(self, terms: Tensor, gradient_norm: float, rate: float) -> None:
        """A line in metrics.jsonl: the mean over all processes."""
        mean = distributed.sum_over_ranks(terms) / distributed.world_size()
        values = dict(zip(Losses._fields, mean.tolist(), strict=False))
        if not distributed.is_main():
            return
        if not sys.stderr.isatty():
            log.info("step %d: loss %.5f, %.2f clips/s", self.step, values["total"], rate)
        row = {**values, "gradient_norm": gradient_norm, "learning_rate": self._learning_rate(), "clips_per_s": rate}
        self.folder.record({"step": self.step, "epoch": self.step / self.batches.steps_per_epoch, **row})
        self._scalars("train", row)

    def _validate_and_save(self, terms: Tensor, *, now: bool) -> bool:
        """Save `now`, every `save_every` steps and at the end; validate every `val_every` epochs and at the end.

        Returns whether something was done.
        """
        epoch, inside = divmod(self.step, self.batches.steps_per_epoch)
        finished = self.step == self.total_steps
        validate = bool(self.task.validation) and (finished or (inside == 0 and epoch % self.config.val_every == 0))
        if not (now or validate or finished or self.step % self.config.save_every == 0):
            return False
        if distributed.any_rank(not bool(terms.isfinite().all())):
            raise InputError(
                f"step {self.step}: the loss is not finite; lower --lr, set --clip_grad, or check the data with "
                "python -m STDNet.datasets. The last good checkpoint is kept"
            )
        if validate and not now:
            self._validate()
        self._save()
        if finished and distributed.is_main():
            self.folder.save_final(self._for_use(self._averaged()))
        return True

    def _validate(self) -> None:
        """Score the validation sequences, shared by all processes, and keep the best weights."""
        net = self._averaged().eval()
        mean = self.task.validate(net, self.device)
        for name, value in mean.items():
            if name not in self.best or self.task.better[name](value, self.best[name]):
                self.best[name] = value
                if distributed.is_main():
                    self.folder.save_best(name, self._for_use(net, validation=mean))
        if distributed.is_main():
            epoch = self.step // self.batches.steps_per_epoch
            log.info("step %d: validation %s", self.step, ", ".join(f"{name} {mean[name]:.2f}" for name in mean))
            self.folder.record({"step": self.step, "epoch": epoch, "validation": mean})
            self._scalars("validation", mean)
            picture = self.task.picture(net, self.device)
            path = self.folder.folder / "samples" / f"step_{self.step:07d}.png"
            write_image(path, picture)
            if self.tensorboard is not None:
                self.tensorboard.add_image("sample", np.asarray(picture), self.step, dataformats="HWC")

    def _averaged(self) -> Model:
        """The network that is validated and kept: the average of the weights where there is one."""
        return self.net if self.ema is None else self.ema.module  # type: ignore[return-value]

    def _for_use(self, net: Model, **facts: Any) -> Checkpoint:
        """A checkpoint without what only training needs."""
        state = {name: value.detach().cpu() for name, value in net.state_dict().items()}
        return Checkpoint(self.config.system(), state, {**self._meta(), "step": self.step, **facts})

    def _save(self) -> None:
        """Write the checkpoint to resume from."""
        if not distributed.is_main():
            return
        training: dict[str, Any] = {
            "step": self.step,
            "best": dict(self.best),
            "identity": self.folder.identity(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        if self.ema is not None:
            training["ema"] = self.ema.state_dict()
        self.folder.save(Checkpoint(self.config.system(), self.net.state_dict(), self._meta(), training))

    def _resume(self, found: Checkpoint) -> None:
        """Take over everything that decides how the run goes on."""
        checkpoint.fill(self.net, found.state, source=str(self.folder.last))
        self.optimizer.load_state_dict(found.training["optimizer"])
        self.scaler.load_state_dict(found.training["scaler"])
        if self.ema is not None:
            self.ema.load_state_dict(found.training["ema"])
        self.step, self.best = found.training["step"], dict(found.training["best"])
        if distributed.is_main():
            log.info("resumed %s at step %d", self.folder.last, self.step)

    def _wrapped(self) -> nn.Module:
        """The training step, compiled and shared out as asked."""
        module: Any = TrainingStep(self.net, self.config)
        if self.config.compile:
            module = torch.compile(module)
        if distributed.world_size() > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            module = DistributedDataParallel(module, device_ids=ids, find_unused_parameters=self._leaves_unused())
        return module

    def _leaves_unused(self) -> bool:
        """Whether a step may leave weights without gradient, which DDP then has to look for."""
        if isinstance(self.net, STDNet):
            # Clips of one or two frames have no neighbours; without difference losses, and in ablations, heads idle.
            full = STDNetConfig(self.config.scale, self.config.channels)
            return self.config.frames < 3 or self.config.beta == 0 or self.config.system() != full
        # DVSR has no flow in a single frame, and deep supervision that ends.
        return self.config.model == "dvsr"

    def _meta(self) -> dict[str, Any]:
        """What a checkpoint says about itself."""
        return {**self.task.facts, "settings": self.folder.identity(), **provenance()}

    def _progress(self) -> Any:
        """The remaining steps, with a bar on the main process."""
        steps = range(self.step, self.total_steps)
        return progress(steps, desc="training", unit="step") if distributed.is_main() else steps

    def _tensorboard(self) -> Any:
        """A TensorBoard writer on the main process where asked for, else None."""
        if not self.config.tensorboard or not distributed.is_main():
            return None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise InputError("--tensorboard needs the package tensorboard: pip install 'STDNet[log]'") from None
        return SummaryWriter(str(self.folder.folder / "tensorboard"), purge_step=self.step)

    def _scalars(self, group: str, values: dict[str, float]) -> None:
        """To TensorBoard, where it is on."""
        if self.tensorboard is not None:
            for name, value in values.items():
                self.tensorboard.add_scalar(f"{group}/{name}", value, self.step)


def _task(net: Model, config: TrainConfig) -> depth.DepthTask | colour.ColourTask:
    """Data and validation for that kind of model."""
    return colour.ColourTask(config, net.reach) if isinstance(net, ColourVideoModel) else depth.DepthTask(config)


def _grad_scaler(enabled: bool) -> Any:
    """torch.amp.GradScaler, under its older name where torch has only that."""
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler("cuda", enabled=enabled)
    return torch.cuda.amp.GradScaler(enabled=enabled)


@contextlib.contextmanager
def _sigterm() -> Iterator[dict[str, bool]]:
    """Inside, SIGTERM sets "asked" and nothing else."""
    state = {"asked": False}
    before = signal.signal(signal.SIGTERM, lambda *_: state.update(asked=True))
    try:
        yield state
    finally:
        signal.signal(signal.SIGTERM, before)
