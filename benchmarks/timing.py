"""What the benchmarks share: the machine's name, the median time of a call, its memory."""

from __future__ import annotations

import contextlib
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from STDNet.command_line import release_freed_memory

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def now(device: torch.device, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds, when all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock()


def median_seconds(
    run: Callable[[], object],
    device: torch.device,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Median of `repeats` calls after one to warm up."""
    run()
    times = []
    for _ in range(repeats):
        started = now(device, clock)
        run()
        times.append(now(device, clock) - started)
    return statistics.median(times)


def peak_memory(run: Callable[[], object], device: torch.device) -> str:
    """MiB that a call takes at most beyond what was there before; empty where neither CUDA nor Linux counts them."""
    if device.type == "cpu" and Path("/proc/self/clear_refs").exists():
        release_freed_memory()
        before = resident_mib("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        run()
        return f"{resident_mib('VmHWM') - before:.0f}"
    if device.type != "cuda":
        return ""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return f"{(torch.cuda.max_memory_allocated(device) - before) / 2**20:.0f}"


def peak_resident_mib() -> float:
    """MiB of memory that this process had at most.

    Linux says it for the program that runs now; getrusage also counts what the parent had when it started this one.
    """
    if Path("/proc/self/status").exists():
        return resident_mib("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident_mib(key: str) -> float:
    """MiB of this process in memory, on Linux: VmRSS now, VmHWM at most."""
    return int(Path("/proc/self/status").read_text().split(f"{key}:")[1].split()[0]) / 1024


@contextlib.contextmanager
def full_precision(tf32: bool) -> Iterator[None]:
    """Inside, fp32 products are fp32, or TF32 where asked; PyTorch's own default is TF32 for convolutions on CUDA."""
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product of random numbers."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / median_seconds(lambda: a @ b, device, 5)


def processor(device: torch.device | None = None) -> str:
    """The machine's name for the table."""
    if torch.cuda.is_available() and (device is None or device.type == "cuda"):
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"
