"""Streaming equals the whole-clip result, keeps few frames, and its state is a value."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from STDNet import InputError, STDNet, STDNetConfig, build
from STDNet.streaming import DELAY, Frames, StreamState, push, stream


@pytest.fixture(scope="module")
def net() -> STDNet:
    torch.manual_seed(3)
    net = STDNet(STDNetConfig(scale=8, channels=4)).eval()
    for value in net.parameters():
        value.data.add_(0.05 * torch.randn_like(value))
    return net


def _video(frames: int, height: int = 16, width: int = 24) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(frames)
    lr = torch.rand(frames, 1, height // 8, width // 8, generator=random)
    return 0.3 + 0.02 * lr, torch.rand(frames, 3, height, width, generator=random)


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 16, 17, 37, 100])
@pytest.mark.parametrize("chunk", [1, 3, 8, 16])
def test_equal_to_the_whole_clip(net: STDNet, frames: int, chunk: int) -> None:
    lr, rgb = _video(frames)
    with torch.no_grad():
        whole = net(lr[None], rgb[None]).depth[0]
    streamed = torch.stack(list(stream(net, zip(lr, rgb, strict=True), chunk=chunk)))
    assert streamed.shape == whole.shape
    assert (streamed - whole).abs().max() < 1e-5 * whole.std()


def test_odd_sizes(net: STDNet) -> None:
    lr, rgb = torch.rand(3, 1, 3, 3), torch.rand(3, 3, 21, 19)
    with torch.no_grad():
        whole = net(lr[None], rgb[None]).depth[0]
    assert torch.allclose(torch.stack(list(stream(net, zip(lr, rgb, strict=True), chunk=2))), whole, atol=1e-5)


def test_delay_and_memory_are_constant_on_an_endless_video(net: STDNet) -> None:
    lr, rgb = _video(1)
    state, given, resident = StreamState(), 0, []
    for t in range(60):
        depth, state = push(net, state, lr, rgb)
        given += 0 if depth is None else len(depth)
        assert given == max(0, t + 1 - DELAY)
        tensors = [f.values for stage in state.stages for f in (*stage.levels, stage.rgb, stage.weight, stage.grid)]
        resident.append(sum(0 if value is None else value.numel() for value in (*tensors, state.first.values)))
    assert len(set(resident[20:])) == 1
    endless = stream(net, itertools.repeat((lr[0], rgb[0])), chunk=2)
    assert len(list(itertools.islice(endless, 5))) == 5


def test_two_videos_through_one_network_and_a_state_used_twice(net: STDNet) -> None:
    a, b = _video(12), _video(12, 8, 8)
    first = [torch.stack(list(stream(net, zip(*video, strict=True), chunk=3))) for video in (a, b)]
    states, found = [StreamState(), StreamState()], [[], []]
    for t in range(12):
        for i, (lr, rgb) in enumerate((a, b)):
            depth, after = push(net, states[i], lr[t : t + 1], rgb[t : t + 1], last=t == 11)
            again, _ = push(net, states[i], lr[t : t + 1], rgb[t : t + 1], last=t == 11)
            states[i] = after
            if depth is not None and again is not None:
                assert torch.equal(depth, again)
                found[i].append(depth)
    for whole, parts in zip(first, found, strict=True):
        assert torch.allclose(torch.cat(parts), whole, atol=1e-5)


def test_misuse_is_refused(net: STDNet) -> None:
    lr, rgb = _video(2)
    _, state = push(net, StreamState(), lr, rgb)
    with pytest.raises(InputError, match="frame size changed"):
        push(net, state, *_video(1, 8, 8))
    _, ended = push(net, state, None, None, last=True)
    with pytest.raises(InputError, match="ended"):
        push(net, ended, lr, rgb)
    with pytest.raises(InputError, match="chunk"):
        next(stream(net, iter(()), chunk=0))
    assert list(stream(net, iter(()))) == []
    mixed = [*zip(lr, rgb, strict=True), *zip(*_video(1, 8, 8), strict=True)]
    for model in (net, build("bilinear", 8)):
        with pytest.raises(InputError, match="frame size changed"):
            list(stream(model, mixed, chunk=3))


def test_frames_window() -> None:
    frames = Frames().extended(torch.arange(4.0).reshape(1, 4, 1)).without(2)
    assert (frames.start, frames.stop) == (2, 4)
    assert frames.window(3, 4).item() == 3


@pytest.mark.parametrize("lookahead", [0, 1, 3, 7])
def test_a_frame_given_early_is_that_of_a_video_that_ends_there(net: STDNet, lookahead: int) -> None:
    lr, rgb = _video(12)
    found = list(stream(net, zip(lr, rgb, strict=True), lookahead=lookahead))
    assert len(found) == 12
    with torch.no_grad():
        for t, depth in enumerate(found):
            stop = min(12, t + 1 + lookahead)
            expected = net(lr[None, :stop], rgb[None, :stop]).depth[0, t]
            assert (depth - expected).abs().max() < 1e-5 * expected.std()


def test_latency_is_the_lookahead(net: STDNet) -> None:
    lr, rgb = _video(20)
    taken = []

    def frames() -> Iterator[tuple[Tensor, Tensor]]:
        for t in range(20):
            taken.append(t)
            yield lr[t], rgb[t]

    early = stream(net, frames(), lookahead=2)
    for t in range(10):
        next(early)
        assert len(taken) == t + 3
    with pytest.raises(InputError, match="lookahead must be 0 to 8"):
        next(stream(net, frames(), lookahead=9))
