"""Channels that must go together, as the spec itself states them.

A block's inner widths are groups of their own. The stem (where the first shortcut is the identity) and the outputs of
all blocks of a stage add up in one stream: a channel leaves all of them or none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fit50.spec.blocks import Basic, Block, Bottleneck, Squeeze
from fit50.spec.errors import NotBuiltError
from fit50.spec.network import Network, Stage, Stem


@dataclass(frozen=True)
class Slot:
    """One place in the state dict where a group's channels lie: dimension ``dim`` of tensor ``key``."""

    key: str
    dim: int


@dataclass(frozen=True)
class Group:
    """Channels that are kept or removed together.

    Attributes:
        name: such as ``layer1.0.inner0`` or ``layer2`` (the stage's stream).
        width: how many there are.
        slots: every place where they lie.
        norms: the batch norms whose output they are, by which their importance is judged.
    """

    name: str
    width: int
    slots: tuple[Slot, ...]
    norms: tuple[str, ...]


def _norm(name: str) -> tuple[Slot, ...]:
    return tuple(Slot(f"{name}.{part}", 0) for part in ("weight", "bias", "running_mean", "running_var"))


def _produced(convolution: str, norm: str) -> tuple[Slot, ...]:
    return (Slot(f"{convolution}.weight", 0), *_norm(norm))


def groups(network: Network) -> tuple[Group, ...]:
    """The groups of a network, in the order in which an image meets them.

    Raises NotBuiltError for grouped 3x3 convolutions, fused stages, necks and two inputs.
    """
    _refuse_other_couplings(network)
    found, stream = _stem(network.stem)
    for stage in network.stages:
        for index, block in enumerate(stage.blocks):
            name = f"{stage.name}.{index}"
            stream = _grown(stream, (Slot(f"{name}.conv1.weight", 1),))
            if block.shortcut != "identity":
                found.append(_grown(stream, (Slot(f"{name}.downsample.0.weight", 1),)))
                shortcut = _produced(f"{name}.downsample.0", f"{name}.downsample.1")
                stream = Group(_stream(stage, index), block.out, shortcut, (f"{name}.downsample.1",))
            found += _inner(name, block)
            stream = _joined(stream, name, block)
    return (*found, _grown(stream, (Slot("fc.weight", 1),)))


def _refuse_other_couplings(network: Network) -> None:
    blocks = [block for stage in network.stages for block in stage.blocks]
    others = {
        "grouped 3x3 convolutions": any(isinstance(block, Bottleneck) and block.groups > 1 for block in blocks),
        "fused stages (HFF)": any(stage.fusion for stage in network.stages),
        "necks": network.neck is not None,
        "two inputs": network.fusion is not None,
    }
    for name, found in others.items():
        if found:
            raise NotBuiltError(
                f"prune: narrowing networks with {name} is not built yet; leave pruning out "
                "(in optimize: --effort.keeps [])"
            )


def _stem(stem: Stem) -> tuple[list[Group], Group]:
    """The groups inside the stem, and the stream that leaves it."""
    if not stem.inner:
        return [], Group("stem", stem.out, _produced("conv1", "bn1"), ("bn1",))
    inner = [
        Group(
            f"stem.inner{i}",
            width,
            (*_produced(f"conv1.{3 * i}", f"conv1.{3 * i + 1}"), Slot(f"conv1.{3 * i + 3}.weight", 1)),
            (f"conv1.{3 * i + 1}",),
        )
        for i, width in enumerate(stem.inner)
    ]
    return inner, Group("stem", stem.out, _produced(f"conv1.{3 * len(inner)}", "bn1"), ("bn1",))


def _stream(stage: Stage, index: int) -> str:
    """The name of the stream that a stage's block with this index starts."""
    return f"{stage.name}.{index}.out" if index else stage.name


def _grown(group: Group, slots: tuple[Slot, ...], norms: tuple[str, ...] = ()) -> Group:
    return replace(group, slots=group.slots + slots, norms=group.norms + norms)


def _inner(name: str, block: Block) -> list[Group]:
    """The widths inside a block: each convolution's output is the next one's input."""
    widths = (block.inner,) if isinstance(block, Basic) else block.inner
    convolutions = [f"{name}.conv{i + 1}" for i in range(len(widths) + 1)]
    between: dict[int, tuple[Slot, ...]] = {}
    if isinstance(block, Bottleneck) and block.separable:
        between[0] = (Slot(f"{name}.conv2.0.weight", 0),)  # the depthwise convolution keeps each channel in its place
        convolutions[1] = f"{name}.conv2.1"
    return [
        Group(
            f"{name}.inner{i}",
            width,
            (
                *_produced(convolutions[i], f"{name}.bn{i + 1}"),
                *between.get(i, ()),
                Slot(f"{convolutions[i + 1]}.weight", 1),
            ),
            (f"{name}.bn{i + 1}",),
        )
        for i, width in enumerate(widths)
    ]


def _joined(stream: Group, name: str, block: Block) -> Group:
    """The stream with a block's output added to it, its attention's outer channels included."""
    last = 2 if isinstance(block, Basic) else 3
    slots = _produced(f"{name}.conv{last}", f"{name}.bn{last}")
    if isinstance(block.attention, Squeeze):
        slots += (Slot(f"{name}.se.fc1.weight", 1), Slot(f"{name}.se.fc2.weight", 0), Slot(f"{name}.se.fc2.bias", 0))
    return _grown(stream, slots, (f"{name}.bn{last}",))


def narrowed(network: Network, widths: dict[str, int]) -> Network:
    """The network with the groups' new widths; groups that are not named keep theirs."""

    def block(name: str, stream: str, value: Block) -> Block:
        out = widths.get(stream, value.out)
        attention = value.attention
        if isinstance(attention, Squeeze):
            attention = attention.model_copy(update={"width": attention.squeezed(value.out)})
        elif attention is not None:
            attention = attention.model_copy(update={"kernel": attention.size(value.out)})
        if isinstance(value, Basic):
            inner: object = widths.get(f"{name}.inner0", value.inner)
        else:
            inner = tuple(widths.get(f"{name}.inner{i}", width) for i, width in enumerate(value.inner))
        return value.model_copy(update={"inner": inner, "out": out, "attention": attention})

    inner = tuple(widths.get(f"stem.inner{i}", width) for i, width in enumerate(network.stem.inner))
    stem = network.stem.model_copy(update={"out": widths.get("stem", network.stem.out), "inner": inner})
    stages, stream = [], "stem"
    for stage in network.stages:
        blocks = []
        for index, value in enumerate(stage.blocks):
            stream = _stream(stage, index) if value.shortcut != "identity" else stream
            blocks.append(block(f"{stage.name}.{index}", stream, value))
        stages.append(stage.model_copy(update={"blocks": tuple(blocks)}))
    return network.model_copy(update={"stem": stem, "stages": tuple(stages)})
