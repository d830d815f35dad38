"""Attention: gates on a block's output, before it meets the shortcut."""

from __future__ import annotations

from torch import Tensor, nn

from fit50.spec.errors import NotBuiltError
from fit50.spec.network import CBAM, ECA, SE


class SqueezeExcitation(nn.Module):
    """x * sigmoid(fc2(relu(fc1(mean of x over H and W)))), a gate for each channel (Hu et al. 2018).

    The 1x1 convolutions are named as timm names them.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        gate = x.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        gate = self.fc2(self.relu(self.fc1(gate)))
        return x * gate.sigmoid()


def attention(value: SE | CBAM | ECA, channels: int) -> nn.Module:
    """The module of an attention on so many channels. Raises NotBuiltError."""
    match value:
        case SE():
            return SqueezeExcitation(channels, value.squeezed(channels))
        case _:
            raise NotBuiltError(f"attention: {value.kind} is not built yet; built: se")
