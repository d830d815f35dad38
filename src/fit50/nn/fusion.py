"""What fuses maps: of one stage with itself (HFF), of a pyramid's levels (FPN), of two inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fit50.spec.network import FPN, HFF, Fusion


class HierarchicalFusion(nn.Module):
    """y * attention(y) for y = conv2(conv1(x)), its parts named as the listing names them (Zhao and Leong).

    The attention sees y at every place, as listed, or pooled.
    """

    def __init__(self, channels: int, pooled: bool) -> None:
        super().__init__()
        inner = max(1, channels // 4)
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.attention = nn.Sequential(
            nn.Conv2d(channels, inner, 1), nn.ReLU(inplace=True), nn.Conv2d(inner, channels, 1), nn.Sigmoid()
        )
        self.pooled = pooled

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W), also the result's shape
        y = self.conv2(self.conv1(x))
        return y * self.attention(y.mean((2, 3), keepdim=True) if self.pooled else y)


class GatedHierarchicalFusion(HierarchicalFusion):
    """x + gamma * fusion(x), with a gamma for each channel that starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, pooled=True)
        self.gamma = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gamma.view(1, -1, 1, 1) * super().forward(x)


def stage_fusion(value: HFF, channels: int) -> nn.Module:
    """The module that follows a stage with so many channels."""
    match value.form:
        case "paper" | "squeeze":
            return HierarchicalFusion(channels, pooled=value.form == "squeeze")
        case "gated":
            return GatedHierarchicalFusion(channels)
        case _:
            assert_never(value.form)


class FeaturePyramid(nn.Module):
    """Named maps in, maps of one width by the same names out (Lin et al. 2017)."""

    def __init__(self, value: FPN, channels: Mapping[str, int]) -> None:
        super().__init__()
        self.lateral = nn.ModuleDict({name: nn.Conv2d(width, value.width, 1) for name, width in channels.items()})
        self.smooth = nn.ModuleDict({name: nn.Conv2d(value.width, value.width, 3, padding=1) for name in channels})

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Maps (N, channels, H, W), finest first, to maps (N, width, H, W) by the same names."""
        pyramid: dict[str, Tensor] = {}
        above: Tensor | None = None
        for name in reversed(list(self.lateral)):
            level = self.lateral[name](maps[name])
            if above is not None:
                level = level + F.interpolate(above, size=level.shape[-2:], mode="nearest")
            above = level
            pyramid[name] = self.smooth[name](level)
        return {name: pyramid[name] for name in self.lateral}


class Concatenation(nn.Module):
    """fusion([conv1(a), conv2(b)]), all 1x1, named as the listing names them (M-MFFnet, Zhao and Leong)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1)
        self.conv2 = nn.Conv2d(channels, width, 1)
        self.fusion = nn.Conv2d(2 * width, width, 1)

    def forward(self, a: Tensor, b: Tensor, present: Tensor | None) -> Tensor:
        a, b = self.conv1(a), self.conv2(b)
        if present is not None:
            a, b = a * shown(present, 0, a), b * shown(present, 1, b)
        return self.fusion(torch.cat((a, b), 1))


class GatedSum(nn.Module):
    """a + gamma * sigmoid(fc2(relu(fc1(both pooled)))) * conv(b), with a gamma for each channel that starts at zero."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.fc1 = nn.Conv2d(2 * channels, width, 1)
        self.fc2 = nn.Conv2d(width, channels, 1)
        self.relu = nn.ReLU(inplace=True)
        self.gamma = nn.Parameter(torch.zeros(channels))

    def forward(self, a: Tensor, b: Tensor, present: Tensor | None) -> Tensor:
        if present is not None:
            a, b = a * shown(present, 0, a), b * shown(present, 1, b)
        both = torch.cat((a, b), 1).mean((2, 3), keepdim=True)
        added = self.fc2(self.relu(self.fc1(both))).sigmoid() * self.conv(b)
        if present is not None:
            added = added * shown(present, 1, added)
        return a + self.gamma.view(1, -1, 1, 1) * added


def shown(present: Tensor, index: int, like: Tensor) -> Tensor:
    """Which images (N, 1, 1, 1) have the input with this index, as numbers of the type of ``like``."""
    return present[:, index].view(-1, 1, 1, 1).to(like.dtype)


def input_fusion(value: Fusion, channels: int) -> Concatenation | GatedSum:
    """The module that makes one map of two, each with so many channels: (a, b, present) -> map.

    ``present`` (N, 2) says which inputs each image has; None is all.
    """
    match value.kind:
        case "concat":
            return Concatenation(channels, value.width)
        case "gated":
            return GatedSum(channels, value.width)
        case _:
            assert_never(value.kind)
