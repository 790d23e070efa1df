"""The paper's ablations: branches replaced by concatenation, other numbers of neighbours, losses off."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import Tensor

from STDNet import InputError, STDNet, STDNetConfig, checkpoint, stream
from STDNet.checkpoint import Checkpoint, save, write_official
from STDNet.losses import training_loss
from STDNet.systems import from_plain
from STDNet.training import TrainConfig

ABLATIONS = [
    {"spatial_difference": False},
    {"temporal_difference": False},
    {"spatial_difference": False, "temporal_difference": False},
    {"neighbours": 1},
    {"neighbours": 3},
]


def network(**switches: object) -> STDNet:
    """A narrow network with weights large enough that every branch matters."""
    net = STDNet(STDNetConfig(channels=4, **switches)).eval()  # type: ignore[arg-type]
    for value in net.parameters():
        value.data.add_(0.05 * torch.randn_like(value))
    return net


def clip(frames: int) -> tuple[Tensor, Tensor]:
    return 0.3 + 0.02 * torch.rand(1, frames, 1, 3, 2), torch.rand(1, frames, 3, 12, 8)


@pytest.mark.parametrize("switches", ABLATIONS)
@pytest.mark.parametrize("frames", [1, 4])
def test_shapes_losses_and_gradients(switches: dict, frames: int) -> None:
    net = network(**switches)
    lr, rgb = clip(frames)
    out = net(lr, rgb)
    assert out.depth.shape == (1, frames, 1, 12, 8)
    losses = training_loss(out, out.depth.detach() + 0.1, net.heads)
    losses.total.backward()
    assert (losses.spatial == 0) == (not net.config.spatial_difference)
    assert (losses.temporal == 0) == (not net.config.temporal_difference or frames == 1)
    silent = {name for name, value in net.named_parameters() if value.grad is None}
    if frames > 1:
        assert all(name.startswith("heads.") for name in silent)


def test_a_branch_that_is_off_has_no_weights() -> None:
    full = set(network().state_dict())
    for switches, gone in (
        ({"spatial_difference": False}, ("kernel_generator", "weight_conv", "difference_conv", "beta")),
        ({"temporal_difference": False}, ("align", "offset_mask_conv", "current_conv", "difference_conv")),
    ):
        branch = "spatial_difference" if "spatial_difference" in switches else "passes"
        left = {name for name in full if not (f".{branch}." in name and any(part in name for part in gone))}
        assert set(network(**switches).state_dict()) == left < full
    for neighbours in (1, 3):
        assert set(network(neighbours=neighbours).state_dict()) == full


@pytest.mark.parametrize("switches", ABLATIONS)
def test_streams_equal_the_whole_clip(switches: dict) -> None:
    net = network(**switches)
    lr, rgb = clip(15)
    with torch.no_grad():
        whole = net(lr, rgb).depth[0]
    for chunk in (1, 6):
        found = torch.stack(list(stream(net, zip(lr[0], rgb[0], strict=True), chunk=chunk)))
        assert (found - whole).abs().max() < 1e-5 * whole.std()
    early = list(stream(net, zip(lr[0], rgb[0], strict=True), lookahead=2))
    with torch.no_grad():
        expected = net(lr[:, :8], rgb[:, :8]).depth[0, 5]
    assert (early[5] - expected).abs().max() < 1e-5 * whole.std()


@pytest.mark.parametrize("neighbours", [1, 3])
def test_a_frame_depends_on_four_times_the_neighbours(neighbours: int) -> None:
    net = network(neighbours=neighbours)
    reach = 4 * neighbours
    assert net.reach == reach
    lr, rgb = clip(reach + 2)
    with torch.no_grad():
        before = net(lr, rgb).depth[0, 0]
        for far, same in ((reach + 1, True), (reach, False)):
            other = lr.clone()
            other[0, far] += 1
            assert torch.equal(net(other, rgb).depth[0, 0], before) == same


def test_without_temporal_differences_the_neighbours_still_count() -> None:
    net = network(temporal_difference=False)
    lr, rgb = clip(3)
    with torch.no_grad():
        before = net(lr, rgb).depth[0, 1]
        lr[0, 2] += 1
        assert not torch.equal(net(lr, rgb).depth[0, 1], before)


def test_losses_are_switched_off_one_by_one() -> None:
    net = network()
    out = net(*clip(3))
    gt = out.depth.detach() + torch.rand_like(out.depth)
    full = training_loss(out, gt, net.heads)
    no_spatial = training_loss(out, gt, net.heads, alpha_spatial=0)
    no_temporal = training_loss(out, gt, net.heads, alpha_temporal=0)
    torch.testing.assert_close(full.total - no_spatial.total, 0.01 * 0.5 * full.spatial)
    torch.testing.assert_close(full.total - no_temporal.total, 0.01 * 0.5 * full.temporal)
    none = training_loss(out, gt, net.heads, alpha_spatial=0, alpha_temporal=0)
    assert none.total == none.reconstruction


def test_an_older_checkpoint_is_the_full_network(tmp_path: Path) -> None:
    assert from_plain({"scale": 8, "channels": 4}) == STDNetConfig(scale=8, channels=4)
    for switches in ABLATIONS:
        net = network(**switches)
        save(tmp_path / "net.pth", Checkpoint(net.config, net.state_dict()))
        assert checkpoint.load(tmp_path / "net.pth").config == net.config
        assert from_plain(asdict(net.config)) == net.config
        if switches:
            with pytest.raises(InputError, match=f"only the full STDNet has an official form, here {min(switches)} is"):
                write_official(tmp_path / "official.pth", net.config, net.state_dict())
            with pytest.raises(InputError, match="not the weights of this network"):
                write_official(tmp_path / "official.pth", STDNetConfig(channels=4), {})


def test_flags() -> None:
    config = TrainConfig(spatial_difference=False, neighbours=3, channels=4)
    assert config.system() == STDNetConfig(channels=4, spatial_difference=False, neighbours=3)
    assert TrainConfig().system() == STDNetConfig()
    with pytest.raises(InputError, match="--neighbours is for --model stdnet"):
        TrainConfig(model="dvsr", neighbours=1)
    with pytest.raises(InputError, match="neighbours must be 1, 2 or 3"):
        STDNetConfig(neighbours=4)
