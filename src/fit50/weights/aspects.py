"""The morphs, one for each aspect in which a network can grow.

An aspect takes one kind of difference between two networks: ``take`` gives the old network with the new one's, and
``tensors`` makes the old tensors fit it. All are pure: ``(tensors, old, new, seed) -> tensors``. What is new is drawn
from the seed, and whatever it would add to the answers starts at zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fit50.nn.compose import initial, shapes
from fit50.spec.blocks import CBAM, ECA, SE, Attention, Block, Bottleneck, ReLU
from fit50.spec.errors import SpecError
from fit50.spec.network import Network, Stage
from fit50.weights.grouping import grouped

Tensors = Mapping[str, Tensor]
Exactness = Literal["exact", "rounding", "approximate"]


@dataclass(frozen=True)
class Aspect:
    """One way to grow.

    Attributes:
        name: such as ``attention``.
        exactness: whether answers in evaluation mode stay the same to the bit, but for rounding, or roughly.
        take: (old, new) -> the old network with this aspect of the new one. Raises SpecError where no morph exists.
        tensors: (tensors, old, grown, seed) -> the grown network's tensors, and a note on what was lost.
    """

    name: str
    exactness: Exactness
    take: Callable[[Network, Network], Network]
    tensors: Callable[[Tensors, Network, Network, int], tuple[dict[str, Tensor], str]]


def _with_stages(network: Network, stages: list[Stage]) -> Network:
    return network.model_copy(update={"stages": tuple(stages)})


def _each_block(old: Network, new: Network, change: Callable[[str, Block, Block], Mapping[str, object]]) -> Network:
    """The old network with some fields of its blocks changed, as told by (name, old block, new block)."""
    stages = []
    for before, after in zip(old.stages, new.stages, strict=True):
        blocks = list(before.blocks)
        for index, (was, will) in enumerate(zip(before.blocks, after.blocks, strict=False)):
            if was.kind == will.kind:
                update = change(f"stages.{before.name}.blocks[{index}]", was, will)
                blocks[index] = was.model_copy(update=dict(update))
        stages.append(before.model_copy(update={"blocks": tuple(blocks)}))
    return _with_stages(old, stages)


def _changed(old: Network, new: Network) -> Iterator[tuple[str, Block, Block]]:
    """The state-dict prefix of every block of the old network that is another one in the new, with both values."""
    for before, after in zip(old.stages, new.stages, strict=True):
        for index, (was, will) in enumerate(zip(before.blocks, after.blocks, strict=False)):
            if was != will:
                yield f"{before.name}.{index}", was, will


def _first(key: str) -> str:
    """The first input's counterpart of a key: of the second one's backbone, or of a batch norm of its own."""
    return key.removeprefix("second.").replace(".second.", ".")


def _add(tensors: Tensors, old: Network, new: Network, seed: int) -> tuple[dict[str, Tensor], str]:
    """Fresh tensors for what is new, the old ones for all else."""
    fresh = initial(new, seed) if shapes(new).keys() - tensors.keys() else {}
    return {**fresh, **tensors}, ""


# Widths: new channels, whose outgoing weights are zero.


def _take_widths(old: Network, new: Network) -> Network:
    def wider(name: str, was: Block, will: Block) -> Mapping[str, object]:
        if was.inner == will.inner and was.out == will.out:
            return {}
        before, after = _widths(was), _widths(will)
        if any(a < b for a, b in zip(after, before, strict=True)):
            raise SpecError(f"morph: {name}: expected widths of at least {before}, found {after}; Prune narrows")
        if was.out != will.out and isinstance(was.attention, CBAM | ECA):
            raise SpecError(
                f"morph: {name}: {was.attention.kind} looks at all channels together, so new ones in the block's "
                "output would change its answers; widen first, then add it, or widen inner alone"
            )
        if isinstance(was, Bottleneck) and was.groups > 1:
            raise SpecError(f"morph: {name}: grouped convolutions cannot be widened; widen first, then group")
        return {"inner": will.inner, "out": will.out}

    grown = _each_block(old, new, wider)
    if new.stem.kind == old.stem.kind:
        widths = {"out": new.stem.out, "inner": new.stem.inner}
        if new.stem.out < old.stem.out or any(a < b for a, b in zip(new.stem.inner, old.stem.inner, strict=True)):
            raise SpecError(f"morph: stem: expected widths of at least {old.stem.out}, found {new.stem.out}")
        grown = grown.model_copy(update={"stem": old.stem.model_copy(update=widths)})
    if grown != old and old.fusion is not None:
        raise SpecError("morph: widths of a network with two inputs cannot grow; widen first, then add the input")
    return grown


def _widths(block: Block) -> tuple[int, ...]:
    inner = block.inner if isinstance(block.inner, tuple) else (block.inner,)
    return (*inner, block.out)


def _widen(tensors: Tensors, old: Network, new: Network, seed: int) -> tuple[dict[str, Tensor], str]:
    grown = initial(new, seed)
    for key, tensor in tensors.items():
        fresh = grown[key]
        if fresh.shape != tensor.shape:
            rows = fresh.narrow(0, 0, len(tensor))
            if tensor.ndim > 1:
                rows.zero_()  # what the old outputs would get from the new inputs
                rows = rows.narrow(1, 0, tensor.shape[1])
            rows.copy_(tensor)
        else:
            grown[key] = tensor
    return grown, ""


# Groups: a dense 3x3 becomes a grouped one, which cannot be exact.


def _take_groups(old: Network, new: Network) -> Network:
    def split(name: str, was: Block, will: Block) -> Mapping[str, object]:
        if not isinstance(was, Bottleneck) or not isinstance(will, Bottleneck) or was.groups == will.groups:
            return {}
        if was.groups != 1 or was.separable:
            raise SpecError(f"morph: {name}: expected a dense 3x3 to group, found groups={was.groups}")
        return {"groups": will.groups}

    grown = Network.parse(_each_block(old, new, split).model_dump(), "morph")
    if grown != old and old.fusion is not None:
        raise SpecError("morph: a network with two inputs cannot be grouped; group first, then add the input")
    return grown


def _group(tensors: Tensors, old: Network, new: Network, seed: int) -> tuple[dict[str, Tensor], str]:
    grown, lost = dict(tensors), []
    for prefix, _, will in _changed(old, new):
        assert isinstance(will, Bottleneck)
        lost.append(grouped(grown, prefix, will.groups))
    return (
        grown,
        f"of the 3x3 weights' energy {100 * sum(lost) / len(lost):.0f} % lost (at most {100 * max(lost):.0f} %)",
    )


# Depth: new blocks at the end of a stage, which add zero to what is not negative.


def _take_depth(old: Network, new: Network) -> Network:
    stages = []
    for before, after in zip(old.stages, new.stages, strict=True):
        added = after.blocks[len(before.blocks) :]
        if len(after.blocks) < len(before.blocks):
            count = len(before.blocks)
            raise SpecError(f"morph: stages.{before.name}: expected at least {count} blocks, found {len(after.blocks)}")
        if added and not isinstance(before.blocks[-1].activation or old.activation, ReLU):
            raise SpecError(
                f"morph: stages.{before.name}: a new block ends in an activation, which changes nothing only after "
                "ReLU; deepen first, then change the activation"
            )
        for block in added:
            if block.shortcut != "identity":
                raise SpecError(
                    f"morph: stages.{before.name}: a new block with a {block.shortcut} shortcut would change the "
                    "answers; use shortcut: identity"
                )
        inherited = None if new.activation == old.activation else new.activation
        own = (block.model_copy(update={"activation": block.activation or inherited}) for block in added)
        stages.append(before.model_copy(update={"blocks": (*before.blocks, *own)}))
    return _with_stages(old, stages)


# Attention: gates that start at 1/2, or at 1/4, behind a batch norm that is doubled, or quadrupled.


_SILENT: dict[type, tuple[tuple[str, ...], int]] = {
    SE: (("fc2.weight", "fc2.bias"), 2),
    CBAM: (("fc2.weight", "fc2.bias", "bn.weight", "bn.bias"), 4),
    ECA: (("conv.weight",), 2),
}
"""What must be zero for the gates to be 1/2 each, and what undoes them."""


def _take_attention(old: Network, new: Network) -> Network:
    def gate(name: str, was: Block, will: Block) -> Mapping[str, object]:
        new = was.attention is None or _arithmetic(was.attention, was.out) == _arithmetic(will.attention, was.out)
        return {"attention": will.attention} if new else {}

    return _each_block(old, new, gate)


def _arithmetic(attention: Attention | None, channels: int) -> tuple[object, ...]:
    """What a gate computes, however its inner width or its kernel is said: by itself, by a reduction, by default."""
    match attention:
        case CBAM():
            return "cbam", attention.squeezed(channels), attention.kernel
        case SE():
            return "se", attention.squeezed(channels)
        case ECA():
            return "eca", attention.size(channels)
        case None:
            return ()


def _attend(tensors: Tensors, old: Network, new: Network, seed: int) -> tuple[dict[str, Tensor], str]:
    grown, _ = _add(tensors, old, new, seed)
    for prefix, was, will in _changed(old, new):
        if was.attention is not None:
            continue
        silent, factor = _SILENT[type(will.attention)]
        last = "bn3" if isinstance(will, Bottleneck) else "bn2"
        zeroed = {f"{prefix}.se.{part}" for part in silent}
        scaled = {f"{prefix}.{last}.weight", f"{prefix}.{last}.bias"}
        for key, tensor in grown.items():
            if _first(key) in zeroed:
                grown[key] = torch.zeros_like(tensor)
            elif _first(key) in scaled:
                grown[key] = tensor * factor
    return grown, ""


# Activation: what starts as the old one is annealed by the next training.


def _take_activation(old: Network, new: Network) -> Network:
    def own(name: str, was: Block, will: Block) -> Mapping[str, object]:
        return {"activation": will.activation}

    return _each_block(old, new, own).model_copy(update={"activation": new.activation})


# Feature fusion: beside what the network does already, from zero.


def _take_fusion(old: Network, new: Network) -> Network:
    stages = []
    for before, after in zip(old.stages, new.stages, strict=True):
        if before.fusion is None and after.fusion is not None and after.fusion.form != "gated":
            raise SpecError(
                f"morph: stages.{before.name}.fusion: hff {after.fusion.form!r} replaces what the stage says; "
                "use form: gated, which starts from it"
            )
        stages.append(before.model_copy(update={"fusion": before.fusion or after.fusion}))
    return _with_stages(old, stages)


def _take_neck(old: Network, new: Network) -> Network:
    if old.neck is None and new.neck is not None and new.neck.form != "gated":
        raise SpecError("morph: neck: fpn 'plain' replaces what the classifier sees; use form: gated, which adds to it")
    return old.model_copy(update={"neck": old.neck or new.neck})


# A second input: its branch starts as the first one's, and adds zero.


def _take_input(old: Network, new: Network) -> Network:
    if old.fusion is not None or new.fusion is None:
        return old
    if new.inputs[0] != old.inputs[0]:
        raise SpecError("morph: inputs: expected the old input first, found another; put the new one second")
    if new.fusion.kind != "gated":
        raise SpecError(
            "morph: fusion 'concat' makes another map of the first input; use kind: gated, which adds to it"
        )
    return old.model_copy(update={"inputs": new.inputs, "fusion": new.fusion})


def _second(tensors: Tensors, old: Network, new: Network, seed: int) -> tuple[dict[str, Tensor], str]:
    grown, _ = _add(tensors, old, new, seed)
    for key, fresh in grown.items():
        if key in tensors or _first(key) not in tensors:
            continue
        like = tensors[_first(key)]
        if like.shape != fresh.shape:  # the stem's first weights (O, channels, 7, 7), for another number of channels
            like = like.mean(1, keepdim=True).expand_as(fresh) * like.shape[1] / fresh.shape[1]
        grown[key] = like.clone()
    return grown, ""


# Regularisation: at work in training only.


def _take_regularisation(old: Network, new: Network) -> Network:
    def rates(name: str, was: Block, will: Block) -> Mapping[str, object]:
        return {"dropout": will.dropout, "drop_path": will.drop_path}

    grown = _each_block(old, new, rates)
    update: dict[str, object] = {}
    if new.head.kind == old.head.kind == "classifier":
        update["head"] = old.head.model_copy(update={"dropout": new.head.dropout})
    if old.fusion is not None and new.fusion is not None:
        update["fusion"] = old.fusion.model_copy(update={"modality_dropout": new.fusion.modality_dropout})
    return grown.model_copy(update=update)


ASPECTS = (
    Aspect("widths", "rounding", _take_widths, _widen),
    Aspect("groups", "approximate", _take_groups, _group),
    Aspect("depth", "exact", _take_depth, _add),
    Aspect("attention", "exact", _take_attention, _attend),
    Aspect("activation", "rounding", _take_activation, _add),
    Aspect("hierarchical fusion", "exact", _take_fusion, _add),
    Aspect("pyramid", "exact", _take_neck, _add),
    Aspect("second input", "exact", _take_input, _second),
    Aspect("regularisation", "exact", _take_regularisation, _add),
)
