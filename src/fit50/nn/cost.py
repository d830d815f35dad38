"""Parameters and multiply-accumulates."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
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
    module, images = on_meta(network)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*images)
    return Cost(sum(p.numel() for p in module.parameters()), counter.get_total_flops() / 2e9)


def largest_layer(network: Network) -> int:
    """Elements, read and written together, of the convolution or matrix product that has most, for one image."""
    module, images = on_meta(network)
    found: list[int] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        found.append(given[0].numel() + made.numel())

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(note)
    with torch.no_grad():
        module(*images)
    return max(found)


def on_meta(network: Network) -> tuple[ResNet, list[Tensor]]:
    """The module and an image for each input (1, C, H, W), none of them allocated."""
    with torch.device("meta"):
        images = [torch.empty(1, image.channels, image.height, image.width) for image in network.inputs]
        return ResNet(network).eval(), images
