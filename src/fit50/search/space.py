"""Which networks the main job tries: growth on the trained baseline, then shrinking of the best."""

from __future__ import annotations

from typing import assert_never

from fit50.spec.network import Network
from fit50.spec.recipe import Edit, Morph, Prune, Recipe, Teacher, Train
from fit50.spec.request import Effort, Technique


def growth(network: Network, technique: Technique) -> Morph | None:
    """The morph that adds a technique to a network; None where the network has it already."""
    match technique:
        case "se":
            missing = any(block.attention is None for stage in network.stages for block in stage.blocks)
            return Morph(edits=(Edit(path="stages[*].blocks[*].attention", value="se"),)) if missing else None
        case "deeper":
            depths = [len(stage.blocks) for stage in network.stages]
            widest = max(range(len(depths)), key=lambda i: depths[i])
            depths[widest] += 1
            return Morph(depths=tuple(depths))
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


def shrunk(parent: Recipe, keep: float, effort: Effort) -> Recipe:
    """The parent pruned to a fraction of its multiply-accumulates, then recovered with the parent as the teacher."""
    teacher = Teacher(after=len(parent.steps))
    recovery: Train = effort.recover.model_copy(update={"teacher": teacher})
    return parent.then(Prune(keep=keep), recovery)
