"""Residual blocks, their parts named as torchvision names them."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from fit50.nn.activation import activation
from fit50.nn.attention import attention
from fit50.spec.blocks import Basic, Bottleneck, ReLU, Swish


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the resolution, but for its stride."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)


class StochasticDepth(nn.Module):
    """In training, leaves out a sample's branch with probability ``rate`` and scales the others (Huang et al. 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        if not self.training:
            return x
        return x * F.dropout(x.new_ones(len(x), 1, 1, 1), self.rate)


def projection(inputs: int, outputs: int, stride: int, average: bool) -> nn.Sequential:
    """The shortcut of a block that changes the shape: a 1x1 with the stride, or after an average over it."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if average and stride > 1:
        parts["pool"] = nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)
    parts["0"] = convolution(inputs, outputs, 1, 1 if average else stride)
    parts["1"] = nn.BatchNorm2d(outputs)
    return nn.Sequential(parts)


class ResidualBlock(nn.Module):
    """activation(shortcut(x) + attention(residual(x))); subclasses give ``residual``."""

    def __init__(self, value: Bottleneck | Basic, inputs: int, default: ReLU | Swish) -> None:
        super().__init__()
        self.relu = activation(value.activation or default)
        self.se = attention(value.attention, value.out) if value.attention else nn.Identity()
        self.drop_path = StochasticDepth(value.drop_path) if value.drop_path else nn.Identity()
        self.dropout = nn.Dropout(value.dropout) if value.dropout else nn.Identity()
        self.downsample: nn.Module = nn.Identity()
        if value.shortcut != "identity":
            self.downsample = projection(inputs, value.out, value.stride, value.shortcut == "average-projection")

    @property
    def last(self) -> nn.BatchNorm2d:
        """The batch norm that ends the residual branch."""
        raise NotImplementedError

    def residual(self, x: Tensor) -> Tensor:
        """The branch beside the shortcut, up to its last batch norm: (N, C, H, W) -> (N, out, H/stride, W/stride)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.relu(self.drop_path(self.se(self.residual(x))) + self.downsample(x)))


class BottleneckBlock(ResidualBlock):
    """1x1, 3x3, 1x1 (He et al. 2015)."""

    def __init__(self, value: Bottleneck, inputs: int, default: ReLU | Swish) -> None:
        super().__init__(value, inputs, default)
        first, second = value.inner
        early, late = (value.stride, 1) if value.stride_on == "1x1" else (1, value.stride)
        self.conv1 = convolution(inputs, first, 1, early)
        self.bn1 = nn.BatchNorm2d(first)
        self.conv2: nn.Module = convolution(first, second, 3, late, value.groups)
        if value.separable:
            self.conv2 = nn.Sequential(convolution(first, first, 3, late, groups=first), convolution(first, second, 1))
        self.bn2 = nn.BatchNorm2d(second)
        self.conv3 = convolution(second, value.out, 1)
        self.bn3 = nn.BatchNorm2d(value.out)

    @property
    def last(self) -> nn.BatchNorm2d:
        """``bn3``."""
        return self.bn3

    def residual(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))


class BasicBlock(ResidualBlock):
    """3x3, 3x3 (He et al. 2015)."""

    def __init__(self, value: Basic, inputs: int, default: ReLU | Swish) -> None:
        super().__init__(value, inputs, default)
        self.conv1 = convolution(inputs, value.inner, 3, value.stride)
        self.bn1 = nn.BatchNorm2d(value.inner)
        self.conv2 = convolution(value.inner, value.out, 3)
        self.bn2 = nn.BatchNorm2d(value.out)

    @property
    def last(self) -> nn.BatchNorm2d:
        """``bn2``."""
        return self.bn2

    def residual(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(x))


def block(value: Bottleneck | Basic, inputs: int, default: ReLU | Swish) -> ResidualBlock:
    """The module of a block that takes ``inputs`` channels; ``default`` is the network's activation."""
    match value:
        case Bottleneck():
            return BottleneckBlock(value, inputs, default)
        case Basic():
            return BasicBlock(value, inputs, default)
