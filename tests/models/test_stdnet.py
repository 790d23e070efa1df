"""The network: parity with the official one, shapes, few frames, odd sizes, precision, checkpointing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import fill_by_name, moving_disc
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from STDNet import InputError, STDNet, STDNetConfig
from STDNet.losses import training_loss
from STDNet.models.reconstruction import upsample_grid
from STDNet.models.spatial_difference import filter_per_pixel, spatial_difference
from STDNet.models.temporal_difference import Pairs, runs, take, temporal_differences

# Mean and standard deviation of sigma, phi, phi-hat of both stages on moving_disc(4, 2, 2, 32, 32, 4) with the weights
# of `fill_by_name`, and of the output, as the official network gives them.
OFFICIAL_TWO_FRAMES = {
    "sigma 1": (0.02775402, 0.02158615),
    "sigma 2": (0.03125333, 0.02513677),
    "phi 1": (0.00589631, 0.00730857),
    "phi 2": (0.26895088, 0.22411916),
}


def small(scale: int = 4, channels: int = 8) -> STDNet:
    """A narrow network with weights large enough that every branch matters."""
    net = STDNet(STDNetConfig(scale=scale, channels=channels)).eval()
    for value in net.parameters():
        value.data.add_(0.05 * torch.randn_like(value))
    return net


def test_parameter_count_is_the_papers() -> None:
    net = STDNet()
    assert sum(value.numel() for value in net.heads.parameters()) == 195
    assert round(sum(value.numel() for value in net.parameters()) / 1e6, 3) == 19.917


def test_statistics_of_the_official_network() -> None:
    lr, rgb, _ = moving_disc(4, 2, 2, 32, 32, 4)
    net = fill_by_name(STDNet()).double().eval()
    with torch.no_grad():
        out = net(lr.double(), rgb.double())
    found = {f"sigma {i}": stage.spatial_difference for i, stage in enumerate(out.stages, 1)}
    found |= {f"phi {i}": stage.temporal_difference for i, stage in enumerate(out.stages, 1)}
    for name, expected in OFFICIAL_TWO_FRAMES.items():
        assert (found[name].mean().item(), found[name].std().item()) == pytest.approx(expected, rel=1e-4)
    assert out.stages[0].cross_difference.shape == (2, 0, 64, 8, 8)


@pytest.mark.parametrize("case", ["x4", "x8", "x16", "x4_two_frames"])
def test_parity_with_the_official_network(shared: Path, case: str) -> None:
    reference = np.load(shared / "reference" / "forward.npz")
    scale, n, t, h, w, seed = map(int, reference[f"{case}/case"])
    lr, rgb, _ = moving_disc(seed, n, t, h, w, scale)
    # In fp64, so that what remains is the rounding of the reference itself.
    net = fill_by_name(STDNet(STDNetConfig(scale=scale))).double().eval()
    with torch.no_grad():
        out = net(lr.double(), rgb.double())
    deviation = reference[f"{case}/depth"].std()
    found = {
        "depth": out.depth,
        "rgb_depth": out.stages[0].depth,
        "d_depth": out.stages[1].depth,
        "rgb_conf": out.stages[0].confidence,
        "d_conf": out.stages[1].confidence,
    }
    for name, value in found.items():
        assert np.abs(value.numpy() - reference[f"{case}/{name}"]).max() < 1e-4 * deviation, name
    for i, stage in enumerate(out.stages, 1):
        for name, value in (
            ("Intra", stage.spatial_difference),
            ("Inter", stage.temporal_difference),
            ("Inter_cross", stage.cross_difference),
        ):
            if value.numel():
                expected = reference[f"{case}/Diff_{name}{i}_mean_std"]
                np.testing.assert_allclose([value.mean().item(), value.std().item()], expected, rtol=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("scale", [4, 8, 12])
def test_shapes_and_few_frames(frames: int, scale: int) -> None:
    out = small(scale)(torch.rand(2, frames, 1, 2, 3), torch.rand(2, frames, 3, 2 * scale, 3 * scale))
    assert out.depth.shape == (2, frames, 1, 2 * scale, 3 * scale)
    assert out.stages[1].temporal_difference.shape[:2] == (2, frames - 1)
    assert out.stages[1].cross_difference.shape[:2] == (2, max(0, frames - 2))
    total = sum(stage.confidence for stage in out.stages)
    torch.testing.assert_close(total, torch.ones_like(out.depth))


def test_a_frame_depends_on_eight_frames_to_either_side() -> None:
    net = small(channels=4)
    lr, rgb = torch.rand(1, 19, 1, 4, 4), torch.rand(1, 19, 3, 16, 16)
    with torch.no_grad():
        before = net(lr, rgb).depth[0, 9]
        far, near = lr.clone(), lr.clone()
        far[0, [0, 18]] += 1
        near[0, 17] += 1
        assert torch.equal(net(far, rgb).depth[0, 9], before)
        assert not torch.equal(net(near, rgb).depth[0, 9], before)


def test_which_frames_meet_in_a_pass() -> None:
    pairs = Pairs.of(4)
    assert list(zip(pairs.earlier, pairs.later, strict=True)) == [(0, 1), (1, 2), (2, 3), (0, 2), (1, 3)]
    assert pairs.towards("backward_1", range(4))[1:] == ([0, 1, 2, 0, 1], [1, 2, 3, 2, 3])
    assert pairs.towards("forward_1", range(2, 4))[1:] == ([2, 3, 2, 3], [1, 2, 0, 1])


def test_frames_without_neighbours_are_copied() -> None:
    net = small()
    fusion = net.stages[0].passes["backward_1"]
    x = torch.rand(1, 3, 8, 4, 4)
    pairs = Pairs.of(3)
    out = fusion("backward_1", x, x, x, torch.rand(1, 3, 8, 4, 4), pairs, range(3))
    assert torch.equal(out[:, 2], x[:, 2])
    assert not torch.equal(out[:, 1], x[:, 1])


@pytest.mark.parametrize("size", [(17, 30), (16, 31), (23, 16)])
@pytest.mark.parametrize("round_up", [True, False])
def test_sizes_that_are_no_multiple_of_the_scale(size: tuple[int, int], round_up: bool) -> None:
    height, width = size
    low = [-(-n // 4) if round_up else n // 4 for n in size]
    out = small()(torch.rand(1, 2, 1, *low), torch.rand(1, 2, 3, height, width))
    assert out.depth.shape[-2:] == size
    assert out.stages[0].depth.shape[-2:] == out.stages[0].confidence.shape[-2:] == size


@pytest.mark.parametrize("size", [(4, 4), (5, 4), (4, 7)])
def test_spatial_difference_of_a_constant_is_zero(size: tuple[int, int]) -> None:
    assert spatial_difference(torch.full((1, 2, *size), 3.0)).abs().max() < 1e-6


def test_filter_per_pixel_by_hand() -> None:
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    kernels = torch.zeros(1, 1, 9, 2, 3)
    kernels[:, :, 5] = 2  # the pixel to the right, twice
    expected = torch.tensor([[[[2.0, 4, 0], [8, 10, 0]]]])
    assert torch.equal(filter_per_pixel(x, kernels), expected)


def test_gradient_checkpointing_changes_nothing() -> None:
    lr, rgb = torch.rand(1, 3, 1, 4, 4), torch.rand(1, 3, 3, 16, 16)
    net = small()
    gradients = []
    for on in (False, True):
        net.gradient_checkpointing = on
        net.zero_grad()
        net(lr, rgb).depth.square().sum().backward()
        gradients.append([value.grad.clone() for value in net.parameters() if value.grad is not None])
    assert len(gradients[0]) > 400
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_bf16_autocast_stays_close_and_returns_fp32() -> None:
    lr, rgb = 0.3 + 0.02 * torch.rand(1, 3, 1, 6, 6), torch.rand(1, 3, 3, 24, 24)
    net = small()
    with torch.no_grad():
        exact = net(lr, rgb).depth
        with torch.autocast("cpu", torch.bfloat16):
            half = net(lr, rgb).depth
        whole = net.bfloat16()(lr, rgb).depth
    upsampled = upsample_grid(lr[0])[None]
    assert half.dtype == whole.dtype == torch.float32
    assert 0 < (half - exact).abs().mean() < 0.05 * (exact - upsampled).abs().mean()
    assert (whole - exact).abs().mean() < 0.2 * (exact - upsampled).abs().mean()  # here the depth is rounded, too


def test_an_untrained_network_is_bilinear_upsampling() -> None:
    lr, rgb = torch.rand(1, 2, 1, 4, 4), torch.rand(1, 2, 3, 16, 16)
    torch.testing.assert_close(STDNet(STDNetConfig(channels=4))(lr, rgb).depth[0], upsample_grid(lr[0]))


@pytest.mark.parametrize(
    ("lr", "rgb"),
    [
        ((1, 2, 1, 4, 4), (1, 2, 3, 20, 16)),
        ((1, 2, 1, 4, 4), (1, 3, 3, 16, 16)),
        ((1, 2, 3, 4, 4), (1, 2, 3, 16, 16)),
        ((2, 1, 4, 4), (2, 3, 16, 16)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(lr: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected|takes"):
        small()(torch.rand(lr), torch.rand(rgb))


@pytest.mark.parametrize("values", [{"scale": 2}, {"scale": 6}, {"channels": 0}])
def test_configurations_that_make_no_network(values: dict[str, int]) -> None:
    with pytest.raises(InputError, match="must be"):
        STDNetConfig(**values)


def test_output_follows_the_input_type() -> None:
    lr: Tensor = torch.rand(1, 1, 1, 4, 4, dtype=torch.float64)
    assert small().double()(lr, torch.rand(1, 1, 3, 16, 16, dtype=torch.float64)).depth.dtype == torch.float64


def test_first_kernels_answer_to_differences() -> None:
    net = STDNet(STDNetConfig(channels=8))
    for stage in net.stages:
        kernels = stage.depth_encoder[0].weight
        assert kernels[2:].sum((2, 3)).abs().max() < 1e-4 * kernels.abs().max()
        assert kernels[2:].std() > 10 * kernels[:2].abs().max()


def test_the_temporal_branch_starts_near_the_identity() -> None:
    stage = STDNet(STDNetConfig(channels=16)).stages[0]
    features, rgb = torch.randn(1, 5, 16, 8, 8), torch.randn(1, 5, 16, 8, 8)
    pairs = Pairs.of(5)
    differences = temporal_differences(features, pairs)
    out = stage.passes["backward_1"]("backward_1", features, rgb, torch.ones_like(rgb), differences, pairs, range(5))
    assert (out - features)[:, :3].std() < 0.7 * features.std()  # frames that have both neighbours


def test_a_few_steps_beat_bilinear_upsampling_on_one_clip() -> None:
    """The sensor's steps on a slope and one edge: training must leave the bilinear start."""
    torch.manual_seed(0)
    x = torch.linspace(0, 1, 48)
    gt = (0.2 + 0.05 * x[:, None] + 0.03 * x + 0.1 * (x > 0.4))[None, None, None]
    lr = (F.avg_pool2d(gt[0], 4) * 102.3).round()[None] / 102.3
    rgb = (gt > 0.3).float().expand(-1, -1, 3, -1, -1)
    net = STDNet(STDNetConfig(channels=8), deform_backend="gather")
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    errors = []
    for _ in range(100):
        out = net(lr, rgb)
        losses = training_loss(out, gt, net.heads)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        errors.append(losses.reconstruction.item())
    assert min(errors[-10:]) < 0.7 * errors[0]


def test_presets() -> None:
    assert STDNetConfig.preset("stdnet") == STDNetConfig()
    small_one = STDNet(STDNetConfig.preset("stdnet-s", 8))
    assert small_one.config == STDNetConfig(scale=8, channels=16)
    assert sum(value.numel() for value in small_one.parameters()) < 1.5e6
    with pytest.raises(InputError, match="stdnet, stdnet-s"):
        STDNetConfig.preset("stdnet-m")


def test_frames_are_taken_in_slices() -> None:
    assert runs([0, 1, 2, 0, 1]) == [slice(0, 3), slice(0, 2)] and runs([]) == [slice(0, 0)]
    x = torch.rand(2, 4, 3, 5, 6)
    last = x.movedim(2, -1).contiguous().movedim(-1, 2)
    for frames in ([0, 1, 2, 0, 1], [3], [], [1, 2, 3, 2, 3]):
        assert torch.equal(take(x, frames), x[:, frames])
        assert torch.equal(take(last, frames), x[:, frames])
        flat = take(last, frames).flatten(0, 1)
        assert not frames or flat.is_contiguous(memory_format=torch.channels_last)


def test_no_index_comes_from_the_host() -> None:
    """An index list is copied to the GPU at every call, which a CUDA graph cannot hold."""

    class Names(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # noqa: ANN001, ANN202
            called.add(function.name())
            return function(*args, **(kwargs or {}))

    called: set[str] = set()
    lr, rgb, _ = moving_disc(0, 2, 5, 32, 32, 4)
    net = small()
    with Names(), torch.no_grad():
        net(lr, rgb)
        network = {name for name in called if name.startswith(("aten::index", "aten::lift_fresh"))}
        lr[:, [0, 2]]
    assert "aten::convolution" in called and "aten::index.Tensor" in called
    assert not network


def test_channels_last_reaches_every_convolution() -> None:
    net = small().to(memory_format=torch.channels_last)
    lost = []

    def look(name: str, x: Tensor) -> None:
        if x.shape[1] > 3 and x.shape[2] > 1 and not x.is_contiguous(memory_format=torch.channels_last):
            lost.append(name)

    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda _, args, name=name: look(name, args[0]))
    lr, rgb, _ = moving_disc(0, 2, 4, 32, 32, 4)
    with torch.no_grad():
        net(lr, rgb)
    assert not lost
