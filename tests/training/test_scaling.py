"""Two processes with a clip each take the steps of one process with both: in fp64, to its rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from pathlib import Path
import torch
from STDNet import STDNet, STDNetConfig, distributed
from STDNet.training import TrainConfig
from STDNet.training.loop import TrainingStep

def steps():
    rank, count = distributed.rank(), distributed.world_size()
    torch.manual_seed(0)
    net = STDNet(STDNetConfig(channels=4), deform_backend="gather").double()
    for value in net.parameters():
        value.data.add_(0.05 * torch.randn_like(value))
    gt, rgb = torch.rand(2, 3, 1, 16, 16).double(), torch.rand(2, 3, 3, 16, 16).double()
    batch = {"gt": gt, "rgb": rgb, "lr": gt[..., ::4, ::4], "valid": torch.ones_like(gt, dtype=torch.bool)}
    share = {name: value[rank::count] for name, value in batch.items()}
    module = TrainingStep(net, TrainConfig())
    if count > 1:
        module = torch.nn.parallel.DistributedDataParallel(module)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = module(share).total
        loss.backward()
        optimizer.step()
        losses.append(distributed.sum_over_ranks(loss.detach()[None]) / count)
    if distributed.is_main():
        torch.save((torch.cat(losses), net.state_dict()), sys.argv[1])

with distributed.process_group(torch.device("cpu")):
    steps()
"""


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    found = []
    for processes in (1, 2):
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        result = tmp_path / f"{processes}.pt"
        command = [sys.executable, *(launcher if processes > 1 else ()), str(program), str(result)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        found.append(torch.load(result))
    (one, one_state), (two, two_state) = found
    assert one.dtype == torch.float64 and len(set(one.tolist())) == 4
    torch.testing.assert_close(two, one, rtol=1e-12, atol=0)
    for name, value in one_state.items():
        torch.testing.assert_close(two_state[name], value, rtol=1e-9, atol=1e-12)
