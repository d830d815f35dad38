"""Groups hold every place where a channel lies, and no other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fit50.compress.groups import Group, groups, narrowed
from fit50.compress.prune import selected
from fit50.nn.compose import compose, shapes
from fit50.spec import presets
from fit50.spec.blocks import SE, Basic, Bottleneck
from fit50.spec.network import Classifier, Network, Stage, Stem
from fit50.weights.checkpoint import Checkpoint

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]


def odd(*stages: tuple[Basic | Bottleneck, ...], stem: int = 5, classes: int = 3) -> Network:
    """A network for 16 x 16 pixels of these stages."""
    return Network(
        inputs=presets.network("resnet50", size=16).inputs,
        stem=Stem(kind="low-resolution", out=stem),
        stages=tuple(Stage(name=f"layer{i + 1}", blocks=blocks) for i, blocks in enumerate(stages)),
        head=Classifier(classes=classes),
    )


# Every width is a number of its own, so that a place of another group would not fit.
NETWORKS = {
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
PRESETS = ["resnet50", "resnet50-v1", "se-resnet50", "wide-resnet50-2", "wide-basic-resnet50", "resnet101"]


def dropped(found: tuple[Group, ...], seed: int = 0) -> dict[str, Tensor]:
    """For every group, the indices of some channels, at least one of them missing."""
    generator = torch.Generator().manual_seed(seed)
    return {g.name: torch.randperm(g.width, generator=generator)[: max(1, g.width - 2)].sort().values for g in found}


@pytest.mark.parametrize("network", [*NETWORKS.values(), *map(presets.network, PRESETS)], ids=[*NETWORKS, *PRESETS])
def test_every_width_is_in_one_group(network: Network) -> None:
    """The places that no group has are the image, the classes, the gates' inner channels and kernels."""
    found_shapes = {key: tensor.shape for key, tensor in shapes(network).items()}
    found = groups(network)
    places = [(slot.key, slot.dim, group.width) for group in found for slot in group.slots]
    assert len({group.name for group in found}) == len(found)
    assert all(found_shapes[key][dim] == width for key, dim, width in places)
    taken = {(key, dim) for key, dim, _ in places}
    assert len(taken) == len(places)
    every = {(key, dim) for key, shape in found_shapes.items() for dim in range(min(len(shape), 2))}
    fixed = {("conv1.weight", 1), ("fc.weight", 0), ("fc.bias", 0)}
    inner = {(key, dim) for key in found_shapes for leaf, dim in GATE if key.endswith(leaf)}
    assert every - taken == fixed | inner


GATE = (("se.fc1.weight", 0), ("se.fc1.bias", 0), ("se.fc2.weight", 1))


@pytest.mark.parametrize("network", [*NETWORKS.values(), *map(presets.network, PRESETS)], ids=[*NETWORKS, *PRESETS])
def test_a_groups_norms_are_those_that_make_its_channels(network: Network) -> None:
    for group in groups(network):
        made = {slot.key.removesuffix(".running_mean") for slot in group.slots if slot.key.endswith(".running_mean")}
        assert set(group.norms) == made
        assert made


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_narrowed_tensors_fit_the_narrowed_network(network: Network, lived_in: LivedIn) -> None:
    found = groups(network)
    kept = dropped(found)
    smaller = narrowed(network, {name: len(indices) for name, indices in kept.items()})
    assert Network.parse(smaller.model_dump()) == smaller
    module = compose(smaller, selected(lived_in(network).tensors, found, kept)).eval()
    assert module(torch.rand(2, 3, 16, 16)).shape == (2, 3)
    assert {group.name: group.width for group in groups(smaller)} == {name: len(i) for name, i in kept.items()}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_narrow_to_networks_that_are_built(name: str) -> None:
    network = presets.network(name)
    found = groups(network)
    kept = {group.name: torch.arange(group.width // 2) for group in found}
    smaller = narrowed(network, {group.name: group.width // 2 for group in found})
    tensors = selected(shapes(network), found, {name: i.to("meta") for name, i in kept.items()})
    expected = shapes(smaller)
    assert {key: tensor.shape for key, tensor in tensors.items()} == {key: t.shape for key, t in expected.items()}


def test_one_group_can_be_narrowed_alone() -> None:
    network = presets.resnet()
    smaller = narrowed(network, {"layer2.1.inner1": 48})
    changed = network.stages[1].blocks[1].model_copy(update={"inner": (128, 48)})
    assert smaller.stages[1].blocks[1] == changed
    assert smaller.stages[0] == network.stages[0]
    assert narrowed(network, {}) == network


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_removing_what_says_nothing_changes_no_answer(network: Network, lived_in: LivedIn) -> None:
    """Channels whose batch norms say zero: leaving them out is the same as masking them."""
    checkpoint = lived_in(network)
    found = groups(network)
    kept = dropped(found, seed=1)
    masked = dict(checkpoint.tensors)
    for group in found:
        mask = torch.zeros(group.width).index_fill(0, kept[group.name], 1.0)
        for norm in group.norms:
            for part in ("weight", "bias"):
                masked[f"{norm}.{part}"] = masked[f"{norm}.{part}"] * mask
    smaller = narrowed(network, {name: len(indices) for name, indices in kept.items()})
    pruned = Checkpoint(smaller, selected(masked, found, kept))
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 4 - 2
    with torch.no_grad():
        whole, expected, answer = (c.module()(images) for c in (checkpoint, Checkpoint(network, masked), pruned))
    torch.testing.assert_close(answer, expected, rtol=1e-5, atol=1e-5)
    assert expected[:, 0].std() > 1e-4
    assert not torch.allclose(whole, expected, atol=1e-3)
