"""Several processes as one: real processes, over gloo."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from STDNet import InputError, distributed

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
from pathlib import Path
import torch
from STDNet import distributed
with distributed.process_group(torch.device("cpu")):
    x = torch.tensor([1.0 + distributed.rank()])
    total = distributed.sum_over_ranks(x).item()
    flag = distributed.any_rank(distributed.rank() == 1)
    distributed.barrier()
    line = f"{distributed.rank()} {distributed.world_size()} {total} {x.item()} {flag} {distributed.is_main()}"
    Path(__file__).with_name(f"rank{distributed.rank()}").write_text(line)
"""


def test_alone_everything_is_a_no_op() -> None:
    x = torch.tensor([2.0])
    with distributed.process_group(torch.device("cpu")):
        assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
        assert distributed.sum_over_ranks(x) is x
        assert distributed.any_rank(True) and not distributed.any_rank(False)


def test_two_processes(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(program)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    # One file a process: what two processes print at once may be mixed within a line.
    assert (tmp_path / "rank0").read_text() == "0 2 3.0 1.0 True True"
    assert (tmp_path / "rank1").read_text() == "1 2 3.0 2.0 True False"


def test_devices() -> None:
    assert distributed.choose_device("cpu") == torch.device("cpu")
    assert distributed.choose_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(InputError, match="no such kind"):
        distributed.choose_device("toaster")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA device"):
            distributed.choose_device("cuda")
