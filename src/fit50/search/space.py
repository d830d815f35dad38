"""Which networks the main job tries: growth on the trained baseline, then shrinking of the best."""

from __future__ import annotations

import math
from itertools import chain
from typing import NamedTuple, assert_never

from fit50.spec.blocks import Bottleneck
from fit50.spec.errors import SpecError
from fit50.spec.network import Network
from fit50.spec.recipe import Edit, Morph, Prune, Recipe, Resize
from fit50.spec.request import Effort, Technique
from fit50.spec.training import Teacher, Train


def growth(network: Network, technique: Technique) -> Morph | None:
    """The morph that adds a technique to a network; None where the network has it already, or cannot take it."""
    blocks = [block for stage in network.stages for block in stage.blocks]
    match technique:
        case "se" | "cbam" | "eca":
            bare = [
                f"stages[{i}].blocks[{j}].attention"
                for i, stage in enumerate(network.stages)
                for j, block in enumerate(stage.blocks)
                if block.attention is None
            ]
            paths = ["stages[*].blocks[*].attention"] if len(bare) == len(blocks) else bare
            return Morph(edits=tuple(Edit(path=path, value=technique) for path in paths)) if paths else None
        case "deeper":
            depths = [len(stage.blocks) for stage in network.stages]
            deepest = max(range(len(depths)), key=lambda i: depths[i])
            depths[deepest] += 1
            last = network.stages[deepest].blocks[-1].activation or network.activation
            return Morph(depths=tuple(depths)) if last.kind == "relu" else None
        case "wider":
            grouped = any(isinstance(block, Bottleneck) and block.groups > 1 for block in blocks)
            return None if grouped or network.fusion else Morph(widening=1.5)
        case "swish":
            plain = network.activation.kind != "swish"
            return Morph(edits=(Edit(path="activation", value="swish"),)) if plain else None
        case _:
            assert_never(technique)


def grown(baseline: Recipe, network: Network, effort: Effort) -> dict[str, Recipe]:
    """The control, which only trains on, and each grown candidate, all with the same training, by name."""
    recipes = {"control": baseline.then(effort.grow)}
    for technique in effort.techniques:
        step = growth(network, technique)
        if step is not None:
            recipes[technique] = baseline.then(step, effort.grow)
    return recipes


class Shape(NamedTuple):
    """What a network is shrunk to: images of ``size`` pixels (None: its own), and the fraction of its GMACs there."""

    size: int | None
    keep: float

    def __str__(self) -> str:
        size = [f"at {self.size} pixels"] if self.size else []
        return ", ".join([*size, *([f"pruned to {100 * self.keep:.4g}%"] if self.keep < 1 else [])])

    def of(self, network: Network) -> Network:
        """The network for images of this size; it is not pruned."""
        return network.sized(self.size) if self.size else network

    def within(self, other: Shape) -> bool:
        """Whether neither its images nor its fraction are larger than another's."""
        return (self.size or math.inf) <= (other.size or math.inf) and self.keep <= other.keep


WHOLE = Shape(None, 1.0)
"""The network as it is."""


def shapes(effort: Effort) -> tuple[Shape, ...]:
    """All that are tried, the largest first; the network as it is among them."""
    sizes, keeps = sorted({*effort.sizes}, reverse=True), sorted({1.0, *effort.keeps}, reverse=True)
    return tuple(Shape(size, keep) for size in (None, *sizes) for keep in keeps)


def shrunk(parent: Recipe, shape: Shape, effort: Effort) -> Recipe:
    """The parent at another size, or pruned, or both, then recovered with the parent as the teacher."""
    whole = parent.then(Resize(size=shape.size)) if shape.size else parent
    recovery = effort.recover.model_copy(update={"teacher": Teacher(after=len(parent.steps))})
    if shape.keep == 1:
        return whole.then(recovery)
    return whole.then(*pruning_rounds(Prune(keep=shape.keep), effort.rounds, recovery, len(whole.steps)))


def pruning_rounds(pruning: Prune, rounds: int, recovery: Train | None, begun: int) -> tuple[Prune | Train, ...]:
    """A pruning in several rounds, each of which removes as large a share of what is left, and recovers.

    Blocks leave in the first round.

    Args:
        pruning: all of it.
        rounds: how many; more than one needs ``pruning.keep``.
        recovery: the training after each.
        begun: the steps before the first, whose network ``pruning.keep`` is a fraction of.

    Raises SpecError.
    """
    keep, steps = pruning.keep, [pruning]
    if rounds > 1:
        if keep is None or pruning.since is not None:
            raise SpecError(
                f"prune: expected keep, and no since, for {rounds} rounds; give --keep alone, or leave out --rounds"
            )
        parts = ({"keep": keep ** (done / rounds), "since": begun} for done in range(1, rounds + 1))
        first, *later = (pruning.model_copy(update=part) for part in parts)
        steps = [first, *(each.model_copy(update={"depths": None}) for each in later)]
    pairs: list[tuple[Prune | Train, ...]] = [(step, recovery) if recovery else (step,) for step in steps]
    return tuple(chain.from_iterable(pairs))


def refuse_larger(network: Network, size: int, recovery: Train | None, option: str) -> None:
    """Raises SpecError unless a size in pixels is smaller than the network's images, and the recovery keeps to it."""
    side = min(min(image.height, image.width) for image in network.inputs)
    if size >= side:
        raise SpecError(f"{option}: expected fewer pixels than the network's {side}, found {size}; give a smaller size")
    trained = max(recovery.size or 0, recovery.start_size or 0) if recovery else 0
    if trained > size:
        raise SpecError(
            f"{option}: expected at least the {trained} pixels that the recovery trains at, found {size}; give its "
            "size and start_size as few, or neither"
        )
