"""Attention, computed anew from the papers' formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fit50.nn.attention import EfficientChannelAttention, attention
from fit50.spec.blocks import CBAM, ECA, SE
from fit50.spec.network import Network
from fit50.weights.checkpoint import Checkpoint

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]
X = torch.randn(3, 64, 9, 7, generator=torch.Generator().manual_seed(0))


def perceptron(gate: nn.Module, pooled: Tensor) -> Tensor:
    """The gates' logits (N, C) of pooled maps (N, C)."""
    hidden = F.linear(pooled, gate.fc1.weight.flatten(1), gate.fc1.bias).relu()
    return F.linear(hidden, gate.fc2.weight.flatten(1), gate.fc2.bias)


def test_squeeze_and_excitation_is_the_papers(narrow: Narrow, lived_in: LivedIn) -> None:
    gate = lived_in(narrow((1,), attention=SE(reduction=4))).module().layer1[0].se
    expected = X * perceptron(gate, X.mean((2, 3))).sigmoid()[:, :, None, None]
    assert gate.fc1.out_channels == 16
    torch.testing.assert_close(gate(X), expected)


@pytest.mark.parametrize("kernel", [3, 7])
def test_cbam_is_the_papers(kernel: int, narrow: Narrow, lived_in: LivedIn) -> None:
    """Woo et al. 2018, equations 2 and 3: one perceptron for both poolings, then a convolution over both in space."""
    gate = lived_in(narrow((1,), attention=CBAM(reduction=8, kernel=kernel))).module().layer1[0].se
    channels = perceptron(gate, X.mean((2, 3))) + perceptron(gate, X.flatten(2).max(2).values)
    refined = X * channels.sigmoid()[:, :, None, None]
    described = F.pad(torch.stack((refined.max(1).values, refined.mean(1)), 1), [kernel // 2] * 4)
    windows = described.unfold(2, kernel, 1).unfold(3, kernel, 1)  # (N, 2, H, W, kernel, kernel)
    places = torch.einsum("nchwij,cij->nhw", windows, gate.conv.weight[0])
    places = (places - gate.bn.running_mean) / (gate.bn.running_var + gate.bn.eps).sqrt()
    places = (places * gate.bn.weight + gate.bn.bias).sigmoid()
    assert gate.fc1.out_channels == 8
    assert places.std() > 0.01
    torch.testing.assert_close(gate(X), refined * places[:, None])


@pytest.mark.parametrize(
    ("channels", "kernel"), [(64, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (2048, 7), (4, 3), (1, 3)]
)
def test_the_kernel_of_eca_grows_with_the_channels(channels: int, kernel: int) -> None:
    gate = attention(ECA(), channels)
    assert isinstance(gate, EfficientChannelAttention)
    assert gate.conv.weight.shape == (1, 1, kernel)
    assert ECA(kernel=9).size(channels) == 9


@pytest.mark.parametrize("kernel", [3, 5])
def test_eca_is_the_papers(kernel: int) -> None:
    """Wang et al. 2020: a channel's gate sees the means of its ``kernel`` nearest channels, zeros beyond the ends."""
    gate = attention(ECA(kernel=kernel), 64)
    means = F.pad(X.mean((2, 3)), [kernel // 2] * 2)
    weights = [means[:, start : start + 64] * gate.conv.weight[0, 0, start] for start in range(kernel)]
    expected = X * torch.stack(weights).sum(0).sigmoid()[:, :, None, None]
    torch.testing.assert_close(gate(X), expected)
    assert not torch.allclose(expected, X / 2, atol=1e-3)
