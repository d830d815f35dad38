"""The convolutions of a network, as the widths that pruning chooses decide them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fit50.compress.groups import Group
from fit50.nn.cost import on_meta
from fit50.runtimes.layers import Layer
from fit50.spec.network import Network

Side = tuple[tuple[str, int], ...]
"""Widths by their field, each with the number of channels that one of it stands for."""


class Convolution(NamedTuple):
    """A convolution of a network as it is, with the widths that decide what it takes and gives.

    Where ``inputs`` or ``outputs`` is empty, that side stays as it is, or, in gates, follows from other widths, for
    which it is too small to count. A grouped convolution has outputs alone.
    """

    layer: Layer
    inputs: Side
    outputs: Side

    def at(self, widths: Mapping[str, int]) -> Layer:
        """It, where these are the widths."""
        inputs, outputs, groups = self.layer.inputs, self.layer.outputs, self.layer.groups
        if self.outputs:
            outputs = sum(widths[field] * each for field, each in self.outputs)
        if groups > 1:
            inputs, groups = (each * outputs // self.layer.outputs for each in (inputs, groups))
        elif self.inputs:
            inputs = sum(widths[field] * each for field, each in self.inputs)
        return self.layer._replace(inputs=inputs, outputs=outputs, groups=groups)


def convolutions(network: Network, found: tuple[Group, ...]) -> tuple[Convolution, ...]:
    """Every call of a convolution on one image of each input, but those on the one pixel that gates make of a map.

    Args:
        network: that holds them.
        found: its groups.
    """
    module, images = on_meta(network)
    gates = {slot.key for group in found if group.field is None for slot in group.slots}
    calls: list[tuple[str, Layer]] = []

    def note(name: str, layer: nn.Conv2d, given: Tensor) -> None:
        height, width = given.shape[2:]
        if height * width > 1 or f"{name}.weight" not in gates:
            kernel, stride = layer.kernel_size[0], layer.stride[0]
            shape = Layer(layer.in_channels, layer.out_channels, kernel, stride, height, width, layer.groups)
            calls.append((f"{name}.weight", shape))

    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_pre_hook(lambda layer, given, name=name: note(name, layer, given[0]))
    with torch.no_grad():
        module(*images)
    sides: dict[tuple[str, int], Side] = {}
    for group in found:
        for slot in group.slots:
            if group.field is not None:
                place = (slot.key, slot.dim)
                sides[place] = (*sides.get(place, ()), (group.field, slot.each))
    return tuple(Convolution(layer, sides.get((key, 1), ()), sides.get((key, 0), ())) for key, layer in calls)
