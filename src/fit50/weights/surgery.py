"""Morphs: tensors of a grown network that answers as the old one did.

A morph is planned from the two values' difference. Exact in evaluation mode, to the last bit: squeeze-and-excitation
whose gate starts at 1/2 behind a doubled batch norm, and deeper stages whose new blocks add zero (after ReLU).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from fit50.nn.compose import compose
from fit50.spec.digest import Change, diff, edit
from fit50.spec.errors import NotBuiltError, SpecError
from fit50.spec.network import SE, Bottleneck, Network
from fit50.spec.recipe import Morph
from fit50.weights.checkpoint import Checkpoint


def grown(network: Network, step: Morph) -> Network:
    """The network that a morph leads to. Raises SpecError."""
    if step.depths is not None:
        network = _deepened(network, step.depths)
    for change in step.edits:
        network = edit(network, change.path, change.value)
    return network


def _deepened(network: Network, depths: tuple[int, ...]) -> Network:
    if len(depths) != len(network.stages):
        raise SpecError(f"morph.depths: expected {len(network.stages)} numbers, one for each stage, found {depths}")
    stages = []
    for stage, depth in zip(network.stages, depths, strict=True):
        if depth < len(stage.blocks):
            raise SpecError(
                f"morph.depths: {stage.name} has {len(stage.blocks)} blocks; expected as many or more, found {depth}"
            )
        added = stage.blocks[-1].model_copy(update={"stride": 1, "shortcut": "identity"})
        stages.append(stage.model_copy(update={"blocks": stage.blocks + (added,) * (depth - len(stage.blocks))}))
    return Network.parse(network.model_copy(update={"stages": tuple(stages)}).model_dump(), "morph")


def morph(checkpoint: Checkpoint, step: Morph, seed: int) -> Checkpoint:
    """Grows a checkpoint. New parts that are not zero are drawn from the seed.

    Raises:
        SpecError: the step leads to no valid network.
        NotBuiltError: the difference holds a change that no morph is built for.
    """
    new = grown(checkpoint.network, step)
    _refuse_other_changes(checkpoint.network, new)
    return checkpoint.with_(network=new, tensors=_tensors(checkpoint.tensors, checkpoint.network, new, seed))


def _refuse_other_changes(old: Network, new: Network) -> None:
    def is_morph(change: Change) -> bool:
        leaf = change.path.rsplit(".", 1)[-1]
        added_gate = leaf == "attention" and change.old is None
        added_block = change.path.rsplit(".", 1)[-1].startswith("blocks[") and change.old is None
        return added_gate or added_block or leaf == "dropout" or change.path.startswith("activation")

    others = [change for change in diff(old, new) if not is_morph(change)]
    if others:
        change = others[0]
        raise NotBuiltError(
            f"morph: {change.path} from {change.old!r} to {change.new!r} is not built yet; "
            "built: attention se, depths, activation, dropout"
        )


def _tensors(old: Mapping[str, Tensor], before: Network, after: Network, seed: int) -> dict[str, Tensor]:
    """The old tensors where they still belong, new ones elsewhere; batch norms before a new gate doubled."""
    tensors = compose(after, seed=seed).state_dict()
    tensors.update(old)
    for stage_before, stage in zip(before.stages, after.stages, strict=True):
        for index, value in enumerate(stage.blocks):
            if not isinstance(value.attention, SE):
                continue
            known = stage_before.blocks[index] if index < len(stage_before.blocks) else None
            if known is None or known.attention is None:
                last = "bn3" if isinstance(value, Bottleneck) else "bn2"
                _insert_gate(tensors, f"{stage.name}.{index}", last)
    return tensors


def _insert_gate(tensors: dict[str, Tensor], block: str, last: str) -> None:
    """A zero second excitation makes the gate sigmoid(0) = 1/2; doubling the batch norm undoes that exactly."""
    for key in (f"{block}.se.fc2.weight", f"{block}.se.fc2.bias"):
        tensors[key] = tensors[key].new_zeros(tensors[key].shape)
    for key in (f"{block}.{last}.weight", f"{block}.{last}.bias"):
        tensors[key] = tensors[key] * 2
