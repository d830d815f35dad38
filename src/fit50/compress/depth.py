"""Whole residual blocks out of a network: those beside an identity, which is what they leave."""

from __future__ import annotations

import re

from fit50.compress.importance import saliency
from fit50.data.split import Split
from fit50.spec.blocks import Basic
from fit50.spec.errors import SpecError
from fit50.spec.network import Network, Stage
from fit50.weights.checkpoint import Checkpoint

_IN_BLOCK = re.compile(r"(second\.)?((?:layer|stage)\d+\.\d+)(\..+)")


def shallower(checkpoint: Checkpoint, depths: tuple[int, ...], kind: str, images: Split) -> Checkpoint:
    """The checkpoint with so many blocks left in each stage, those whose branches matter least removed.

    A branch matters as much as the channels of its last batch norm do together, by an importance of this kind. Where it
    adds zero to what is not negative, as after ReLU, removing its block changes no answer.

    Raises SpecError where a stage has fewer blocks, or would lose one whose shortcut is not the identity.
    """
    refuse_depths(checkpoint.network, depths)
    branches = _branches(checkpoint, kind, images)
    stages: list[Stage] = []
    places: dict[str, str] = {}
    for stage, depth in zip(checkpoint.network.stages, depths, strict=True):
        names = [f"{stage.name}.{index}" for index in range(len(stage.blocks))]
        leaving = sorted(_free(stage), key=lambda name: branches[name])[: len(names) - depth]
        left = [name for name in names if name not in leaving]
        places |= {name: f"{stage.name}.{place}" for place, name in enumerate(left)}
        blocks = tuple(block for name, block in zip(names, stage.blocks, strict=True) if name in left)
        stages.append(stage.model_copy(update={"blocks": blocks}))
    tensors = {}
    for key, tensor in checkpoint.tensors.items():
        found = _IN_BLOCK.fullmatch(key)
        if found is None:
            tensors[key] = tensor
        elif found[2] in places:
            tensors[(found[1] or "") + places[found[2]] + found[3]] = tensor
    return checkpoint.with_(network=checkpoint.network.model_copy(update={"stages": tuple(stages)}), tensors=tensors)


def refuse_depths(network: Network, depths: tuple[int, ...]) -> None:
    """Raises SpecError unless so many blocks can be left in each stage of a network."""
    if len(depths) != len(network.stages):
        raise SpecError(f"prune.depths: expected {len(network.stages)} numbers, one for each stage, found {depths}")
    for stage, depth in zip(network.stages, depths, strict=True):
        most, least = len(stage.blocks), max(1, len(stage.blocks) - len(_free(stage)))
        if not least <= depth <= most:
            raise SpecError(
                f"prune.depths: {stage.name} has {most} blocks, of which {least} must stay (at least one, and those "
                f"whose shortcut is not the identity); expected {least} to {most}, found {depth}"
            )


def _free(stage: Stage) -> list[str]:
    """The names of the blocks that can leave."""
    return [f"{stage.name}.{i}" for i, block in enumerate(stage.blocks) if block.shortcut == "identity"]


def _branches(checkpoint: Checkpoint, kind: str, images: Split) -> dict[str, float]:
    """How much the branch of every block matters, that of the second input's counterpart included."""
    last = {
        f"{stage.name}.{index}": ".bn2" if isinstance(block, Basic) else ".bn3"
        for stage in checkpoint.network.stages
        for index, block in enumerate(stage.blocks)
    }
    norms = {}
    for key in checkpoint.tensors:
        found = _IN_BLOCK.fullmatch(key.removesuffix(".running_mean"))
        if found and key.endswith(".running_mean") and found[3].removesuffix(".second") == last[found[2]]:
            norms[found[0]] = found[2]
    matters = dict.fromkeys(last, 0.0)
    for norm, score in saliency(kind, checkpoint, norms, images).items():
        matters[norms[norm]] += score.sum().item()
    return matters
