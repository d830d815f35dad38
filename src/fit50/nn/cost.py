"""Parameters and multiply-accumulates."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from fit50.nn.resnet import ResNet
from fit50.spec.network import Network


class Cost(NamedTuple):
    """Parameters, and billions of multiply-accumulates for one image of each input (convolutions, matrix products)."""

    parameters: int
    gmacs: float


@lru_cache(maxsize=4096)
def cost(network: Network) -> Cost:
    """Counts a network's cost at its input size, without allocating it. Raises NotBuiltError."""
    with torch.device("meta"):
        module = ResNet(network).eval()
        images = [torch.empty(1, image.channels, image.height, image.width) for image in network.inputs]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*images)
    return Cost(sum(p.numel() for p in module.parameters()), counter.get_total_flops() / 2e9)
