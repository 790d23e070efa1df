"""The Triton back-end: its cases in Triton's interpreter, on a CPU, and where there is a GPU compiled, on that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from STDNet.ops import available_backends, deform_conv2d
from STDNet.ops.deform_conv import _triton_is_there

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(not _triton_is_there(), reason="no Triton here, or a PyTorch that takes no kernels of it")
@pytest.mark.parametrize("where", ["interpreter", "cuda"])
def test_cases(where: str) -> None:
    """In a process of its own: whether Triton interprets is decided when it is imported."""
    if where == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device: the compiled kernels are not run here")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment |= {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""} if where == "interpreter" else {}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(ROOT / "tests" / "triton_cases.py")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter is on")
def test_a_cpu_without_the_interpreter_is_refused() -> None:
    assert "triton" not in available_backends("cpu")
    with pytest.raises(ValueError, match="CUDA device, the input is on cpu"):
        deform_conv2d(torch.zeros(1, 1, 2, 2), torch.zeros(1, 18, 2, 2), None, torch.zeros(1, 1, 3, 3), None, "triton")
