"""Which block, and which of its channels, became which, and how far its output lies from what it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor, nn

from fit50.compress.coupling import wires
from fit50.compress.groups import groups
from fit50.spec.blocks import Basic
from fit50.spec.damage import LayerError
from fit50.spec.network import Network
from fit50.weights.checkpoint import Checkpoint


@dataclass(frozen=True)
class Pair:
    """A block before and after, by its name, and which of its old channels are left, in order; None is all of them."""

    old: str
    new: str
    kept: Tensor | None = None


@dataclass
class BlockError:
    """The squared error and the squared signal of one block's output, summed as images pass."""

    pair: Pair
    channels: int = 1
    error: float = 0.0
    signal: float = 0.0
    expected: list[Tensor] = field(default_factory=list)

    def expect(self, x: Tensor) -> None:
        """Takes an output of the old block (N, C, H, W)."""
        self.expected.append(x if self.pair.kept is None else x[:, self.pair.kept])

    def meet(self, x: Tensor) -> None:
        """Takes the new block's for the same images."""
        old = self.expected.pop(0)
        self.channels = x.shape[1]
        self.error += float((x - old).square().sum(dtype=torch.float64))
        self.signal += float(old.square().sum(dtype=torch.float64))

    def found(self) -> LayerError:
        """What it comes to."""
        error = (self.error / self.signal) ** 0.5 if self.signal else None
        return LayerError(name=self.pair.old, channels=self.channels, error=error)


@contextmanager
def block_errors(old: nn.Module, new: nn.Module, pairs: tuple[Pair, ...]) -> Iterator[tuple[BlockError, ...]]:
    """Compares blocks' outputs while two modules answer the same batches in turns, the old one first."""
    errors = tuple(BlockError(pair) for pair in pairs)
    with ExitStack() as hooks:
        for each in errors:
            for module, name, take in ((old, each.pair.old, each.expect), (new, each.pair.new, each.meet)):
                part = module.get_submodule(name)
                hooks.enter_context(part.register_forward_hook(lambda _module, _inputs, x, take=take: take(x)))
        yield errors


def correspondence(before: Checkpoint, after: Checkpoint) -> tuple[Pair, ...]:
    """Which blocks, and which of their channels, became which.

    Of a stage that kept its number of blocks, every block has its counterpart; of another one, the last block, whose
    output is the stage's. Which channels are left is read off the one-dimensional weights beside them (the batch
    norms', above all), which pruning takes along as they are. Where two channels have the same ones (before any
    training), or where none is as it was (a training lies in between), it cannot be told, and the block is left out.
    """
    kept = _kept(before, after)
    streams = blocks(before.network)
    old, new = _by_stage(streams), _by_stage(blocks(after.network))
    pairs = []
    for stage, names in old.items():
        first = 0 if len(names) == len(new[stage]) else -1
        for one, other in zip(names[first:], new[stage][first:], strict=True):
            if streams[one] in kept:
                pairs.append(Pair(one, other, kept[streams[one]]))
    return tuple(pairs)


def blocks(network: Network) -> dict[str, str]:
    """The channels (by their group's name) that every block gives, by the block's name, in order."""
    last = {
        f"{stage.name}.{index}.{'bn2' if isinstance(block, Basic) else 'bn3'}"
        for stage in network.stages
        for index, block in enumerate(stage.blocks)
    }
    return {
        wire.module.rpartition(".")[0]: wire.outputs.name
        for wire in wires(network)
        if wire.outputs is not None and wire.module.removeprefix("second.") in last
    }


def _by_stage(names: Iterable[str]) -> dict[str, list[str]]:
    return {stage: list(same) for stage, same in groupby(names, lambda name: name.rpartition(".")[0])}


def _kept(before: Checkpoint, after: Checkpoint) -> dict[str, Tensor]:
    """For every group of which it can be told, the places (left,) that those channels had which are left."""
    moved = {
        f"{old.name}.{index}."
        for old, new in zip(before.network.stages, after.network.stages, strict=True)
        for index, block in enumerate(old.blocks)
        if len(old.blocks) != len(new.blocks) and (index or block.shortcut == "identity")
    }
    earlier = {group.name: group for group in groups(before.network)}
    kept = {}
    for group in groups(after.network):
        if group.name not in earlier:
            continue
        keys = [
            key
            for key in (slot.key for slot in group.slots)
            if key in before.tensors
            and key.endswith((".weight", ".bias"))
            and before.tensors[key].shape == (earlier[group.name].width,)
            and not any(part in key for part in moved)
        ]
        places = {row: place for place, row in enumerate(_rows(before, keys))}
        rows = _rows(after, keys)
        if len(places) == earlier[group.name].width and all(row in places for row in rows):
            kept[group.name] = torch.tensor([places[row] for row in rows])
    return kept


def _rows(checkpoint: Checkpoint, keys: list[str]) -> list[tuple[float, ...]]:
    """What these tensors (C,) say of each channel."""
    return list(zip(*(checkpoint.tensors[key].tolist() for key in keys), strict=True))
