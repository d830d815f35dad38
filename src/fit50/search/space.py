"""Which networks the main job tries: growth on the trained baseline, then shrinking of the best."""

from __future__ import annotations

from typing import assert_never

from fit50.spec.blocks import Bottleneck
from fit50.spec.network import Network
from fit50.spec.recipe import Edit, Morph, Prune, Recipe
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


def shrunk(parent: Recipe, keep: float, effort: Effort) -> Recipe:
    """The parent pruned to a fraction of its multiply-accumulates, then recovered with the parent as the teacher."""
    teacher = Teacher(after=len(parent.steps))
    recovery: Train = effort.recover.model_copy(update={"teacher": teacher})
    return parent.then(Prune(keep=keep), recovery)
