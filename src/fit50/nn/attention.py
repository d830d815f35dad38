"""Attention: gates on a block's output, before it meets the shortcut."""

from __future__ import annotations

from typing import assert_never

import torch
from torch import Tensor, nn

from fit50.spec.blocks import CBAM, ECA, SE


class SqueezeExcitation(nn.Module):
    """x * sigmoid(fc2(relu(fc1(mean of x over H and W)))), a gate for each channel (Hu et al. 2018).

    The 1x1 convolutions are named as timm names them.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.relu = nn.ReLU(inplace=True)

    def excitation(self, pooled: Tensor) -> Tensor:
        """Pooled maps (N, C, 1, 1) to the gates' logits (N, C, 1, 1)."""
        return self.fc2(self.relu(self.fc1(pooled)))

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        return x * self.excitation(x.mean((2, 3), keepdim=True)).sigmoid()


class ConvolutionalAttention(SqueezeExcitation):
    """CBAM (Woo et al. 2018): a gate for each channel from its mean and its maximum, then one for each place.

    The spatial gate is sigmoid(bn(conv([maximum over channels, mean over channels]))).
    """

    def __init__(self, channels: int, squeezed: int, kernel: int) -> None:
        super().__init__(channels, squeezed)
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        mean, maximum = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        x = x * (self.excitation(mean) + self.excitation(maximum)).sigmoid()
        places = torch.cat((x.amax(1, keepdim=True), x.mean(1, keepdim=True)), 1)  # (N, 2, H, W)
        return x * self.bn(self.conv(places)).sigmoid()


class EfficientChannelAttention(nn.Module):
    """x * sigmoid(conv(mean of x over H and W)), the convolution over neighbouring channels (Wang et al. 2020)."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        gate = self.conv(x.mean((2, 3)).unsqueeze(1))  # (N, 1, C)
        return x * gate.sigmoid().transpose(1, 2).unsqueeze(3)


def attention(value: SE | CBAM | ECA, channels: int) -> nn.Module:
    """The module of an attention on so many channels."""
    match value:
        case SE():
            return SqueezeExcitation(channels, value.squeezed(channels))
        case CBAM():
            return ConvolutionalAttention(channels, value.squeezed(channels), value.kernel)
        case ECA():
            return EfficientChannelAttention(value.size(channels))
        case _:
            assert_never(value)
