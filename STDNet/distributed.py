"""Several processes as one: who am I, wait for all, sum over all. With one process everything here is a no-op."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from STDNet.errors import InputError


def rank() -> int:
    """This process's number, 0 to world_size() - 1."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes work together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the process that writes and prints."""
    return rank() == 0


def barrier() -> None:
    """Wait until every process is here."""
    if dist.is_initialized():
        dist.barrier()


def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum of `x` over all processes, the same in each; `x` itself stays as it is."""
    if not dist.is_initialized():
        return x
    total = x.detach().clone().to(_communication_device())
    dist.all_reduce(total)
    return total.to(x.device)


def any_rank(flag: bool) -> bool:
    """Whether `flag` is set in any process."""
    return bool(sum_over_ranks(torch.tensor(float(flag))).item())


def choose_device(name: str) -> torch.device:
    """The device called `name`; "auto" takes CUDA (one GPU a process), then MPS, then the CPU.

    Raises:
        InputError: The device is not there.
    """
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device {name}: no such kind of device; take auto, cpu, cuda, cuda:N or mps") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise InputError(f"--device {name}: no CUDA device is available here; take auto or cpu")
        device = torch.device("cuda", local_rank if device.index is None else device.index)
        if device.index >= torch.cuda.device_count():
            raise InputError(f"device {device} is not there, this machine has {torch.cuda.device_count()}")
        torch.cuda.set_device(device)
    return device


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the other processes that torchrun (or torch.distributed.launch) started; alone, do nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        # What still holds the group, such as a DDP wrapper in a cycle, goes before it: a group that lives until the
        # interpreter ends aborts the process now and then ("terminate called without an active exception").
        gc.collect()
        dist.destroy_process_group()


def _communication_device() -> torch.device:
    """Where the process group can sum: the GPU under nccl, else the CPU."""
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
