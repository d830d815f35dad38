"""Which channels every part of a network takes and gives, part by part, as the spec itself states it.

The stem (where the first shortcut is the identity) and the outputs of all blocks of a stage add up in one stream: a
channel leaves all of them or none. A grouped convolution loses whole groups, with the channels on both its sides: what
is left is again a network that the spec can say, of a smaller cardinality and with groups as wide as before, which is
about as fast as the old number of narrower ones would be at the same width (in OpenVINO).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import NamedTuple

from fit50.spec.blocks import Basic, Block, Squeeze
from fit50.spec.network import FPN, HFF, Fusion, Network, Stage, Stem

_SECOND = "second."
"""What stands before the names of the second input's own parts."""


class Channels(NamedTuple):
    """Channels of one map, or of maps that are added: each can leave alone.

    Attributes:
        name: such as ``layer1.0.inner0`` or ``layer2`` (the stage's stream).
        width: how many there are; beside a grouped convolution, its groups.
        field: the width in the spec that counts them, named as the first channels that it counts; others that it counts
            may be other ones, but equally many. None where the number follows from another one, or is left alone.
    """

    name: str
    width: int
    field: str | None


class Wire(NamedTuple):
    """One part of the module: a convolution, a batch norm, a linear layer or a parameter.

    Attributes:
        module: its name in the state dict.
        inputs: what it takes, concatenated; nothing where it keeps to each channel or each group.
        outputs: what it gives; None for classes.
        makes: whether a channel is zero where this gives zero: not what a batch norm follows, and no gate.
    """

    module: str
    inputs: tuple[Channels, ...]
    outputs: Channels | None
    makes: bool = False


Wires = Generator[Wire, None, Channels]


def wires(network: Network) -> Iterator[Wire]:
    """Every part of a network that has channels, in the order in which an image meets them."""
    stream = yield from _stem(network.stem, "", _stem_stream(network, ""))
    ends: dict[str, Channels] = {}
    for index, stage in enumerate(network.stages):
        stream = yield from _stage(stage, stream, "")
        if network.fusion is not None and stage.name == network.fused:
            other = yield from _other(network, network.fusion, network.stages[: index + 1], stream)
            stream = yield from _fusion(network.fusion, stream, other)
        ends[stage.name] = stream
    seen: tuple[Channels, ...] = (stream,)
    if network.neck is not None:
        pyramid = yield from _pyramid(network.neck, {name: ends[name] for name in network.pyramid})
        if network.neck.form == "plain":
            seen = pyramid
        else:
            yield Wire("fc_neck", pyramid, None)
    yield Wire("fc", seen, None)


def stream_field(stage: Stage, index: int) -> str:
    """The name of the width of the stream that a stage's block with this index starts."""
    return f"{stage.name}.{index}.out" if index else stage.name


def _stem_stream(network: Network, prefix: str) -> Channels:
    return Channels(f"{prefix}stem", network.stem.out, "stem")


def _normed(convolution: str, norm: str, inputs: tuple[Channels, ...], outputs: Channels) -> Iterator[Wire]:
    yield Wire(convolution, inputs, outputs)
    yield Wire(norm, (), outputs, makes=True)


def _gate(first: str, second: str, inputs: tuple[Channels, ...], inner: Channels, outputs: Channels) -> Iterator[Wire]:
    """A gate on ``outputs`` by way of inner channels, which are zero where the first convolution is."""
    yield Wire(first, inputs, inner, makes=True)
    yield Wire(second, (inner,), outputs)


def _stem(stem: Stem, prefix: str, out: Channels) -> Wires:
    """The stem's convolutions, the image's own channels left out."""
    inputs: tuple[Channels, ...] = ()
    for i, width in enumerate(stem.inner):
        inner = Channels(f"{prefix}stem.inner{i}", width, f"stem.inner{i}")
        yield from _normed(f"{prefix}conv1.{3 * i}", f"{prefix}conv1.{3 * i + 1}", inputs, inner)
        inputs = (inner,)
    last = f"conv1.{3 * len(stem.inner)}" if stem.inner else "conv1"
    yield from _normed(f"{prefix}{last}", f"{prefix}bn1", inputs, out)
    return out


def _stage(stage: Stage, stream: Channels, prefix: str) -> Wires:
    for index, block in enumerate(stage.blocks):
        name, out = f"{stage.name}.{index}", stream
        if block.shortcut != "identity":
            field = stream_field(stage, index)
            out = Channels(f"{prefix}{field}", block.out, field)
            yield from _normed(f"{prefix}{name}.downsample.0", f"{prefix}{name}.downsample.1", (stream,), out)
        yield from _block(name, block, prefix, stream, out)
        stream = out
    if stage.fusion is not None:
        stream = yield from _hff(stage.fusion, f"{prefix}{stage.name}.fusion", stream)
    return stream


def _block(name: str, block: Block, prefix: str, stream: Channels, out: Channels) -> Iterator[Wire]:
    """The residual branch: each convolution's output is the next one's input; then the gate, if it has widths."""
    module = prefix + name
    if isinstance(block, Basic):
        inner = Channels(f"{module}.inner0", block.inner, f"{name}.inner0")
        yield from _normed(f"{module}.conv1", f"{module}.bn1", (stream,), inner)
        yield from _normed(f"{module}.conv2", f"{module}.bn2", (inner,), out)
    else:
        first, second = (Channels(f"{module}.inner{i}", w, f"{name}.inner{i}") for i, w in enumerate(block.inner))
        if block.groups > 1:
            first = second = Channels(f"{module}.groups", block.groups, f"{name}.groups")
        within = (first,) if block.groups == 1 else ()
        yield from _normed(f"{module}.conv1", f"{module}.bn1", (stream,), first)
        if block.separable:
            yield Wire(f"{module}.conv2.0", (), first)
        yield from _normed(
            f"{module}.conv2.1" if block.separable else f"{module}.conv2", f"{module}.bn2", within, second
        )
        yield from _normed(f"{module}.conv3", f"{module}.bn3", (second,), out)
    if isinstance(block.attention, Squeeze):
        gate = Channels(f"{module}.se", block.attention.squeezed(block.out), None)
        yield from _gate(f"{module}.se.fc1", f"{module}.se.fc2", (out,), gate, out)


def _hff(value: HFF, module: str, stream: Channels) -> Wires:
    inner = stream._replace(name=f"{module}.inner")
    out = stream if value.form == "gated" else stream._replace(name=module)
    yield Wire(f"{module}.conv1", (stream,), inner, makes=True)
    yield Wire(f"{module}.conv2", (inner,), out, makes=True)
    gate = Channels(f"{module}.gate", max(1, stream.width // 4), None)
    yield from _gate(f"{module}.attention.0", f"{module}.attention.2", (out,), gate, out)
    if value.form == "gated":
        yield Wire(f"{module}.gamma", (), out)
    return out


def _other(network: Network, fusion: Fusion, apart: tuple[Stage, ...], first: Channels) -> Wires:
    """The second input's way to where the two meet: the first one's, but for a stem or a backbone of its own.

    In a backbone of its own, other channels may leave than in the first one's, but equally many.
    """
    one, two = network.inputs
    if fusion.backbone == "shared":
        if one.channels != two.channels:
            yield from _stem(network.stem, _SECOND, _stem_stream(network, ""))
        return first
    stream = yield from _stem(network.stem, _SECOND, _stem_stream(network, _SECOND))
    for stage in apart:
        stream = yield from _stage(stage, stream, _SECOND)
    return stream


def _fusion(value: Fusion, a: Channels, b: Channels) -> Wires:
    if value.kind == "gated":
        yield Wire("fusion.conv", (b,), a, makes=True)
        yield from _gate("fusion.fc1", "fusion.fc2", (a, b), Channels("fusion.gate", value.width, None), a)
        yield Wire("fusion.gamma", (), a)
        return a
    ours, theirs, out = (Channels(name, value.width, "fusion") for name in ("fusion.conv1", "fusion.conv2", "fusion"))
    yield Wire("fusion.conv1", (a,), ours, makes=True)
    yield Wire("fusion.conv2", (b,), theirs, makes=True)
    yield Wire("fusion.fusion", (ours, theirs), out, makes=True)
    return out


def _pyramid(neck: FPN, levels: dict[str, Channels]) -> Generator[Wire, None, tuple[Channels, ...]]:
    """Laterals, which are added top-down, and each level's 3x3; gives the levels' channels."""
    added = Channels("neck", neck.width, "neck")
    smooth = {name: Channels(f"neck.{name}", neck.width, "neck") for name in levels}
    for name, stream in levels.items():
        yield Wire(f"neck.lateral.{name}", (stream,), added, makes=True)
    for name, out in smooth.items():
        yield Wire(f"neck.smooth.{name}", (added,), out, makes=True)
    return tuple(smooth.values())
