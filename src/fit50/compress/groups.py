"""Channels that must go together, every place where they lie, and the network that is left when some go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import mean

import torch
from torch import Tensor

from fit50.compress.coupling import Channels, stream_field, wires
from fit50.nn.compose import shapes
from fit50.spec.blocks import Block, Bottleneck
from fit50.spec.network import Network


@dataclass(frozen=True)
class Slot:
    """Where a group's channels lie in the state dict: along dimension ``dim`` of tensor ``key``, from ``offset`` on.

    ``each`` is the number of places that one of them takes: more than one beside a grouped convolution.
    """

    key: str
    dim: int
    offset: int = 0
    each: int = 1

    def places(self, channels: Tensor) -> Tensor:
        """Where these of the group's channels lie along the dimension (len(channels) * each,)."""
        within = torch.arange(self.each, device=channels.device)
        return (self.offset + self.each * channels.unsqueeze(1) + within).flatten()


@dataclass(frozen=True)
class Group:
    """Channels that are kept or removed together.

    Attributes:
        name: such as ``layer1.0.inner0``, ``layer2`` (the stage's stream) or ``layer1.0.groups``.
        width: how many of them there are.
        field: the width that counts them, a key of ``narrowed``'s widths; groups that share one are equally wide. None
            where the width follows from another one, or stays: the inner channels of gates.
        slots: every place where they lie.
        makers: the batch norms, and the convolutions without one, whose output they are, by which they are judged.
    """

    name: str
    width: int
    field: str | None
    slots: tuple[Slot, ...]
    makers: tuple[str, ...]

    @property
    def each(self) -> float:
        """How many channels of its makers one of them stands for: more than one in grouped convolutions."""
        made = [slot for slot in self.slots if slot.dim == 0 and slot.key.removesuffix(".weight") in self.makers]
        return mean(slot.each for slot in made)

    def step(self, multiple: int) -> int:
        """By how many the width must grow for every dimension to stay a multiple of ``multiple``."""
        return math.lcm(*(multiple // math.gcd(multiple, slot.each) for slot in self.slots))


@lru_cache(maxsize=256)
def groups(network: Network) -> tuple[Group, ...]:
    """The groups of a network. Raises NotBuiltError for a head that is not built.

    No group has what cannot be removed: the image's channels, the classes, the kernels of ECA and of spatial gates, and
    the channels of each group of a grouped convolution.
    """
    tensors = shapes(network)
    known: dict[str, Channels] = {}
    slots: dict[str, list[Slot]] = {}
    makers: dict[str, list[str]] = {}
    for wire in wires(network):
        keys = [key for key in tensors if key == wire.module or key.startswith(f"{wire.module}.")]
        sides = ((wire.outputs,) if wire.outputs else (), wire.inputs)
        for channels in (*sides[0], *sides[1]):
            known.setdefault(channels.name, channels)
        for key in keys:
            for dim, side in zip(range(tensors[key].ndim), sides, strict=False):
                offset = 0
                for channels in side:
                    each = tensors[key].shape[dim] // sum(other.width for other in side)
                    slots.setdefault(channels.name, []).append(Slot(key, dim, offset, each))
                    offset += each * channels.width
        if wire.makes and wire.outputs:
            made = (key.removesuffix(".weight") for key in keys if key.endswith(".weight"))
            makers.setdefault(wire.outputs.name, []).extend(made)
    return tuple(Group(*channels, tuple(slots[name]), tuple(makers[name])) for name, channels in known.items())


def narrowed(network: Network, widths: Mapping[str, int]) -> Network:
    """The network with these widths, by the groups' ``field``; those that are not named stay.

    The inner widths of gates follow their block's, but for those that the spec gives a number of their own; ECA's
    kernels stay.
    """

    def block(name: str, stream: str, value: Block) -> Block:
        update: dict[str, object] = {"out": widths.get(stream, value.out)}
        if value.attention is not None and value.attention.kind == "eca":
            update["attention"] = value.attention.model_copy(update={"kernel": value.attention.size(value.out)})
        if not isinstance(value, Bottleneck):
            update["inner"] = widths.get(f"{name}.inner0", value.inner)
        elif value.groups > 1:
            update["groups"] = left = widths.get(f"{name}.groups", value.groups)
            update["inner"] = tuple(width // value.groups * left for width in value.inner)
        else:
            update["inner"] = tuple(widths.get(f"{name}.inner{i}", width) for i, width in enumerate(value.inner))
        return value.model_copy(update=update)

    inner = tuple(widths.get(f"stem.inner{i}", width) for i, width in enumerate(network.stem.inner))
    stem = network.stem.model_copy(update={"out": widths.get("stem", network.stem.out), "inner": inner})
    stages, stream = [], "stem"
    neck, fusion = network.neck, network.fusion
    for stage in network.stages:
        blocks = []
        for index, value in enumerate(stage.blocks):
            stream = stream_field(stage, index) if value.shortcut != "identity" else stream
            blocks.append(block(f"{stage.name}.{index}", stream, value))
        stages.append(stage.model_copy(update={"blocks": tuple(blocks)}))
        if fusion is not None and fusion.kind == "concat" and stage.name == network.fused:
            stream = "fusion"
            fusion = fusion.model_copy(update={"width": widths.get("fusion", fusion.width)})
    if neck is not None:
        neck = neck.model_copy(update={"width": widths.get("neck", neck.width)})
    return network.model_copy(update={"stem": stem, "stages": tuple(stages), "neck": neck, "fusion": fusion})
