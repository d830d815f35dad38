"""Morphs: tensors of a grown network that answers as the old one did.

A morph is planned from the difference of two values: aspect by aspect (``aspects.py``), until the old network has
become the new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from fit50.spec.blocks import Basic, Block, ReLU, Swish
from fit50.spec.digest import diff, edit_all
from fit50.spec.errors import NotBuiltError, SpecError
from fit50.spec.network import Network
from fit50.spec.recipe import Morph
from fit50.weights.aspects import ASPECTS, Aspect
from fit50.weights.checkpoint import Checkpoint

LIKE_RELU = 2.0**20
"""A beta at which Swish is ReLU but for 2.7e-7 at most."""


class Growth(NamedTuple):
    """One step of a plan: an aspect, and the networks before and after it."""

    aspect: Aspect
    old: Network
    new: Network


def grown(network: Network, step: Morph) -> Network:
    """The network that a morph leads to. Raises SpecError."""
    new = network
    if step.depths is not None:
        new = _deepened(new, step.depths)
    if step.widening is not None:
        new = _widened(new, step.widening)
    return _annealed(network, edit_all(new, ((change.path, change.value) for change in step.edits)))


def plan(old: Network, new: Network) -> tuple[Growth, ...]:
    """The steps from one network to another.

    Raises:
        SpecError: a difference that no morph can make without changing the answers.
        NotBuiltError: a difference of another kind.
    """
    if [stage.name for stage in old.stages] != [stage.name for stage in new.stages]:
        raise NotBuiltError("morph: expected the same stages; new ones are not built yet")
    steps = []
    for aspect in ASPECTS:
        taken = aspect.take(old, new)
        if taken != old:
            steps.append(Growth(aspect, old, taken))
        old = taken
    for change in diff(old, new):
        raise NotBuiltError(
            f"morph: {change.path} from {change.old!r} to {change.new!r} is not built yet; "
            f"built: {', '.join(aspect.name for aspect in ASPECTS)}"
        )
    return tuple(steps)


def morph(checkpoint: Checkpoint, step: Morph, seed: int) -> Checkpoint:
    """Grows a checkpoint; its provenance says how. New parts that are not zero are drawn from the seed.

    Raises SpecError and NotBuiltError as ``plan`` does.
    """
    tensors: Mapping[str, Tensor] = checkpoint.tensors
    new, said = grown(checkpoint.network, step), []
    for aspect, before, after in plan(checkpoint.network, new):
        tensors, note = aspect.tensors(tensors, before, after, seed)
        said.append(f"{aspect.name} ({aspect.exactness}{note and ': ' + note})")
    earlier = dict(checkpoint.provenance or {})
    report = "; ".join(said) or "nothing: the network has it all already"
    report = f"{earlier['morph']}; then {report}" if "morph" in earlier else report
    return replace(checkpoint, network=new, tensors=tensors, provenance={**earlier, "morph": report})


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
    return Network.parse(network.model_copy(update={"stages": tuple(stages)}).model_dump(), "morph.depths")


def _widened(network: Network, factor: float) -> Network:
    def block(value: Block) -> Block:
        if isinstance(value, Basic):
            return value.model_copy(update={"inner": round(value.inner * factor)})
        return value.model_copy(update={"inner": tuple(round(width * factor) for width in value.inner)})

    stages = (stage.model_copy(update={"blocks": tuple(map(block, stage.blocks))}) for stage in network.stages)
    return Network.parse(network.model_copy(update={"stages": tuple(stages)}).model_dump(), "morph.widening")


def _annealed(old: Network, new: Network) -> Network:
    """The new network with every activation starting as the old one it replaces, and those of new blocks as ReLU."""
    default = _started(old.activation, new.activation)
    stages = []
    for index, stage in enumerate(new.stages):
        before = old.stages[index].blocks if index < len(old.stages) else ()
        blocks = []
        for position, block in enumerate(stage.blocks):
            was = before[position].activation or old.activation if position < len(before) else ReLU()
            wanted = _started(was, block.activation or new.activation)
            own = None if block.activation is None and wanted == default else wanted
            blocks.append(block.model_copy(update={"activation": own}))
        stages.append(stage.model_copy(update={"blocks": tuple(blocks)}))
    return new.model_copy(update={"activation": default, "stages": tuple(stages)})


def _started(old: ReLU | Swish, new: ReLU | Swish) -> ReLU | Swish:
    """What stands for the new activation at first. Raises SpecError where nothing of it is like the old one."""
    match old, new:
        case _ if old == new:
            return new
        case ReLU(), Swish(learned=False):
            now = LIKE_RELU
        case Swish(learned=False), Swish(learned=False):
            now = old.start or old.beta
        case Swish(learned=False, start=None), Swish(learned=True) if old.beta == new.beta:
            return new
        case _:
            raise SpecError(
                f"morph: activation from {old.canonical()} to {new.canonical()}: expected ReLU to a Swish of fixed "
                "beta, one fixed beta to another, or a fixed beta to a learned one that starts there; take such steps "
                "one by one"
            )
    if new.start not in (None, now):
        raise SpecError(
            f"morph: activation: starts as the old one does, at {now:g}; expected no start, found {new.start}"
        )
    return new.model_copy(update={"start": None if new.beta == now else now})
