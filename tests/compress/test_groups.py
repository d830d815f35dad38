"""Groups hold every place where a channel lies, and no other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from tests.compress.zoo import EVERY, logits
from tests.networks import networks

from fit50.compress.cut import cut
from fit50.compress.groups import groups, narrowed
from fit50.compress.importance import importance
from fit50.data.images import Images
from fit50.nn.compose import shapes
from fit50.spec import presets
from fit50.spec.blocks import ECA, SE, Basic, Bottleneck
from fit50.spec.errors import NotBuiltError
from fit50.spec.network import Classifier, Network, Segmenter, Stage, Stem
from fit50.weights.checkpoint import Checkpoint

LivedIn = Callable[..., Checkpoint]


def odd(*stages: tuple[Basic | Bottleneck, ...], stem: int = 5, classes: int = 3) -> Network:
    """A network for 16 x 16 pixels of these stages."""
    return Network(
        inputs=presets.network("resnet50").sized(16).inputs,
        stem=Stem(kind="low-resolution", out=stem),
        stages=tuple(Stage(name=f"layer{i + 1}", blocks=blocks) for i, blocks in enumerate(stages)),
        head=Classifier(classes=classes),
    )


# Every width is a number of its own, so that a place of another group would not fit.
ODD = {
    "bottlenecks": odd(
        (Bottleneck(inner=(7, 11), out=13, shortcut="projection"), Bottleneck(inner=(17, 19), out=13)),
        (Bottleneck(inner=(23, 29), out=31, stride=2, shortcut="projection"),),
    ),
    "gates": odd(
        (
            Bottleneck(inner=(7, 11), out=13, shortcut="projection", attention=SE(width=2)),
            Bottleneck(inner=(17, 19), out=13, attention=SE(reduction=3)),
        )
    ),
    "basic blocks": odd(
        (Basic(inner=7, out=11, shortcut="projection"), Basic(inner=13, out=11, attention=SE(width=2))),
        (Basic(inner=17, out=19, stride=2, shortcut="projection"),),
    ),
    "first shortcut is the identity": odd(
        (Basic(inner=7, out=5), Bottleneck(inner=(11, 13), out=5, attention=SE(width=2))),
        (Bottleneck(inner=(17, 19), out=23, stride=2, shortcut="projection"), Basic(inner=29, out=23)),
    ),
    "a stage that goes on in the same stream": odd(
        (Basic(inner=7, out=11, shortcut="projection"),),
        (Basic(inner=13, out=11), Basic(inner=17, out=11)),
    ),
    "projections within a stage": odd(
        (Basic(inner=7, out=5), Basic(inner=11, out=13, shortcut="projection"), Basic(inner=17, out=13)),
        (
            Basic(inner=19, out=23, stride=2, shortcut="projection"),
            Basic(inner=29, out=31, shortcut="projection", attention=SE(width=2)),
        ),
    ),
}
ALL = ODD | EVERY


def fixed(network: Network) -> set[tuple[str, int]]:
    """The dimensions that no group has: the image, the classes, the gates' kernels, what is within a group."""
    found = {("fc.weight", 0), ("fc.bias", 0), ("fc_neck.weight", 0), ("fc_neck.bias", 0)}
    first = "conv1.0.weight" if network.stem.inner else "conv1.weight"
    found |= {(f"{prefix}{first}", 1) for prefix in ("", "second.")}
    for stage in network.stages:
        for index, block in enumerate(stage.blocks):
            for module in (f"{stage.name}.{index}", f"second.{stage.name}.{index}"):
                if isinstance(block, Bottleneck):
                    found |= {(f"{module}.conv2.weight", 1)} if block.groups > 1 else set()
                    found |= {(f"{module}.conv2.0.weight", 1)} if block.separable else set()
                found |= {(f"{module}.se.conv.weight", dim) for dim in (0, 1)}
                for norm in ("bn", "bn.second"):
                    leaves = ("weight", "bias", "running_mean", "running_var")
                    found |= {(f"{module}.se.{norm}.{leaf}", 0) for leaf in leaves}
    return found


def covers_every_place_once(network: Network) -> None:
    tensors = {key: tensor.shape for key, tensor in shapes(network).items()}
    found, outside = groups(network), fixed(network)
    assert len({group.name for group in found}) == len(found)
    spans: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for group in found:
        assert group.makers
        for slot in group.slots:
            spans.setdefault((slot.key, slot.dim), []).append((slot.offset, slot.offset + slot.each * group.width))
    every = {(key, dim): size for key, shape in tensors.items() for dim, size in enumerate(shape[:2])}
    assert spans.keys() == every.keys() - outside
    for place, found_spans in spans.items():
        starts, stops = zip(*sorted(found_spans), strict=True)
        assert (*starts, every[place]) == (0, *stops), place


@pytest.mark.parametrize("network", ALL.values(), ids=ALL)
def test_every_place_is_in_one_group(network: Network) -> None:
    covers_every_place_once(network)


@pytest.mark.parametrize("name", [name for name in presets.NETWORKS if "101" not in name and "152" not in name])
def test_presets_narrow_to_networks_that_are_built(name: str) -> None:
    network = presets.network(name)
    covers_every_place_once(network)
    widths = {group.field: group.width // 2 for group in groups(network) if group.field}
    smaller = narrowed(network, widths)
    assert Network.parse(smaller.model_dump()) == smaller
    assert {group.field: group.width for group in groups(smaller) if group.field} == widths


def test_one_group_can_be_narrowed_alone() -> None:
    network = presets.resnet()
    smaller = narrowed(network, {"layer2.1.inner1": 48})
    changed = network.stages[1].blocks[1].model_copy(update={"inner": (128, 48)})
    assert smaller.stages[1].blocks[1] == changed
    assert smaller.stages[0] == network.stages[0]
    assert narrowed(network, {}) == network


def test_gates_follow_their_block_unless_they_have_a_number() -> None:
    network = ODD["gates"]
    widths = [group.width for group in groups(narrowed(network, {"layer1": 7})) if group.name.endswith(".se")]
    assert widths == [2, 7 // 3]


def test_whole_groups_of_a_grouped_convolution_leave() -> None:
    block = presets.resnext50_32x4d().stages[1].blocks[1]
    smaller = narrowed(presets.resnext50_32x4d(), {"layer2.1.groups": 12}).stages[1].blocks[1]
    assert smaller == block.model_copy(update={"groups": 12, "inner": (96, 96)})


def test_a_group_steps_so_that_all_its_places_are_multiples() -> None:
    found = {group.name: group for group in groups(presets.resnext50_32x4d())}
    steps = [found[f"layer{i}.0.groups"].step(16) for i in (1, 2, 3, 4)]
    assert steps == [4, 2, 1, 1], "4, 8, 16 and 32 channels a group"
    assert found["layer1"].step(16) == 16


def test_what_shares_a_width_may_lose_other_channels() -> None:
    """Maps that are not added: their channels leave apart, but equally many."""
    shared: dict[str, list[str]] = {}
    for group in groups(EVERY["two inputs, concatenated early, all of their own"]):
        if group.field:
            shared.setdefault(group.field, []).append(group.name)
    assert shared["stem"] == ["stem", "second.stem"]
    assert shared["layer2.0.inner1"] == ["layer2.0.inner1", "second.layer2.0.inner1"]
    assert shared["fusion"] == ["fusion.conv1", "fusion.conv2", "fusion"]
    assert shared["layer3"] == ["layer3"]


def test_levels_of_a_pyramid_share_its_laterals_channels() -> None:
    found = {group.name: group for group in groups(presets.fpn_resnet50())}
    lateral = {slot.key for slot in found["neck"].slots if slot.key.startswith("neck.lateral")}
    assert lateral == {f"neck.lateral.layer{i}.{part}" for i in (1, 2, 3, 4) for part in ("weight", "bias")}
    offsets = [slot.offset for i in (1, 2, 3, 4) for slot in found[f"neck.layer{i}"].slots if slot.key == "fc.weight"]
    assert offsets == [0, 256, 512, 768]


def test_a_head_that_is_not_built_is_refused() -> None:
    with pytest.raises(NotBuiltError, match="segmenter is not built yet"):
        groups(presets.resnet().model_copy(update={"head": Segmenter(classes=3)}))


def with_dead_channels(checkpoint: Checkpoint, widths: dict[str, int]) -> Checkpoint:
    """The checkpoint in which so many channels are alive, drawn at random, and the makers of the others give zero.

    Two gates see more of their neighbours than a zero: ECA's convolution runs over neighbouring channels, so that the
    last ones die, and the maximum over channels, which CBAM takes, is at least that zero, so that it is left out.
    """
    network = checkpoint.network
    generator = torch.Generator().manual_seed(3)
    tensors = {key: tensor.clone() for key, tensor in checkpoint.tensors.items()}
    gates = {block.attention for stage in network.stages for block in stage.blocks}
    following = {group.name: group.width for group in groups(narrowed(network, widths))}
    for group in groups(network):
        order = torch.randperm(group.width, generator=generator)
        if any(isinstance(gate, ECA) for gate in gates):
            order = torch.arange(group.width)
        dead = order[widths[group.field] if group.field else following[group.name] :]
        for maker in group.makers:
            weight, bias = tensors[f"{maker}.weight"], tensors[f"{maker}.bias"]
            for tensor in (weight, bias):
                tensor.view(group.width, -1)[dead] = 0
    for key, tensor in tensors.items():
        if key.endswith("se.conv.weight") and tensor.ndim == 4:
            tensor[:, 0] = 0
    return checkpoint.with_(tensors=tensors)


def loses_nothing(checkpoint: Checkpoint) -> None:
    network = checkpoint.network
    found = groups(network)
    widths = {group.field: group.width - group.width // 3 for group in found if group.field}
    dead = with_dead_channels(checkpoint, widths)
    none = Images((), torch.zeros(0).numpy(), ())
    after = cut(dead, importance("bn", dead, found, none), widths)
    assert Network.parse(after.network.model_dump()) == after.network
    assert {group.field: group.width for group in groups(after.network) if group.field} == widths
    expected = logits(dead)
    spread = expected.std(0).max()
    assert spread > 1e-9
    assert (logits(after) - expected).abs().max() < 1e-4 * spread
    assert (logits(checkpoint) - expected).abs().max() > 1e-2 * spread


@pytest.mark.parametrize("network", ALL.values(), ids=ALL)
def test_removing_what_says_nothing_changes_no_answer(network: Network, lived_in: LivedIn) -> None:
    loses_nothing(lived_in(network))


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(network=networks())
def test_any_network_can_lose_channels(network: Network, lived_in: LivedIn) -> None:
    covers_every_place_once(network)
    loses_nothing(lived_in(network))
