"""Pruning gives a smaller network of the cost that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from tests.compress.zoo import EVERY, dataset, images
from torch import Tensor

from fit50.compress import prune
from fit50.compress.groups import Group, groups, narrowed
from fit50.compress.widths import counted_widths
from fit50.data.dataset import Dataset
from fit50.nn.cost import cost
from fit50.spec.blocks import SE, Bottleneck
from fit50.spec.errors import DataError, SpecError
from fit50.spec.network import Network
from fit50.spec.presets import network as preset
from fit50.spec.recipe import Prune
from fit50.weights.checkpoint import Checkpoint

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]
CLASSES = ("a", "b", "c", "d")


def ratio(after: Network, before: Network) -> float:
    return cost(after).gmacs / cost(before).gmacs


def random_scores(found: tuple[Group, ...]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {group.name: torch.rand(group.width, generator=generator) for group in found}


@pytest.mark.parametrize("kind", ["taylor", "bn"])
@pytest.mark.parametrize("keep", [0.7, 0.3])
def test_what_is_kept_is_close_below_what_was_asked_for(
    kind: str, keep: float, narrow: Narrow, lived_in: LivedIn, digits: Dataset
) -> None:
    before = lived_in(narrow((2, 2), width=32, attention=SE(reduction=4)), classes=CLASSES)
    step = Prune.parse({"keep": keep, "importance": kind, "multiple": 4, "floor": 0.05, "samples": 32})
    after = prune(before, step, digits, seed=0)
    assert keep - 0.03 < ratio(after.network, before.network) <= keep
    assert after.classes == CLASSES
    assert len({group.width for group in groups(after.network)}) > 1
    gates = {block.attention for stage in after.network.stages for block in stage.blocks}
    assert gates == {SE(reduction=4)}, "their inner channels follow the block's"


KINDS = (
    "CBAM, average projections, deep stem",
    "ECA, grouped, separable, v1",
    "FPN plain, HFF as listed",
    "FPN gated, HFF squeezed and gated",
    "two inputs, concatenated, norms of their own",
    "two inputs, gated, norms and stems of their own",
    "two inputs, concatenated early, all of their own",
    "two inputs, gated early, either may be missing",
    "groups of several channels on both sides",
)


@pytest.mark.parametrize("network", [EVERY[kind] for kind in KINDS], ids=KINDS)
def test_every_network_becomes_as_small_as_it_shall(network: Network, lived_in: LivedIn) -> None:
    before = lived_in(network)
    step = Prune(keep=0.6, multiple=2, floor=0.01, samples=8)
    after = prune(before, step, dataset(network), seed=0)
    assert 0.4 < ratio(after.network, network) <= 0.6
    assert Network.parse(after.network.model_dump()) == after.network
    assert after.module()(*(image.float() for image in images(network, 2))).isfinite().all()
    narrower = {group.field: group.width for group in groups(after.network) if group.field}
    for group in groups(network):
        if group.field and not group.field.endswith(".groups"):
            assert narrower[group.field] in (group.width, *range(2, group.width, 2))
    for stage in after.network.stages:
        for block in stage.blocks:
            if isinstance(block, Bottleneck) and block.groups > 1:
                assert [width % block.groups or width % 2 for width in block.inner] == [0, 0]


@pytest.mark.parametrize(
    ("keep", "multiple", "floor"), [(0.75, 16, 0.1), (0.25, 16, 0.1), (0.1, 8, 0.1), (0.5, 1, 0.03)]
)
def test_widths_are_allowed_ones(keep: float, multiple: int, floor: float) -> None:
    network = preset("resnet26").sized(64)
    found = groups(network)
    step = Prune(keep=keep, multiple=multiple, floor=floor)
    widths = counted_widths(network, step, found, random_scores(found), network)
    assert keep - 0.05 < ratio(narrowed(network, widths), network) <= keep
    for group in found:
        assert widths[group.name] % multiple == 0
        assert floor * group.width <= widths[group.name] <= group.width


@pytest.mark.parametrize(("floor", "least"), [(0.25, 3), (0.3, 3), (0.31, 4), (1 / 3, 4), (0.7, 7), (1.0, 10)])
def test_the_floor_is_rounded_up(floor: float, least: int, narrow: Narrow) -> None:
    """No more is asked of a group whose every channel is worthless; the others keep what they have."""
    network = narrow((1,), width=10)
    found = groups(network)
    scores = {group.name: torch.ones(group.width) for group in found}
    scores["layer1.0.inner0"] = torch.zeros(10)
    step = Prune(keep=0.95, multiple=1, floor=floor)
    if floor == 1.0:
        with pytest.raises(SpecError, match=r"1\.000 of the multiply-accumulates is the least"):
            counted_widths(network, step, found, scores, network)
        return
    step = Prune(keep=ratio(_with_inner(network, least), network) + 1e-9, multiple=1, floor=floor)
    assert counted_widths(network, step, found, scores, network) == {
        **{group.name: group.width for group in found},
        "layer1.0.inner0": least,
    }


def _with_inner(network: Network, width: int) -> Network:
    return narrowed(network, {"layer1.0.inner0": width})


def test_channels_of_equal_importance_do_not_go_all_at_once(narrow: Narrow) -> None:
    """As in a network that was never trained, whose batch norms are all alike."""
    network = narrow((1, 1), width=32)
    found = groups(network)
    scores = {group.name: torch.ones(group.width) for group in found}
    step = Prune(keep=0.5, multiple=4, floor=0.05)
    widths = counted_widths(network, step, found, scores, network)
    assert 0.45 < ratio(narrowed(network, widths), network) <= 0.5


def test_a_width_that_is_no_multiple_stays_or_shrinks(narrow: Narrow) -> None:
    network = narrow((1,), width=20)
    found = groups(network)
    step = Prune(keep=0.95)
    widths = counted_widths(network, step, found, random_scores(found), network)
    assert all(widths[group.name] in (group.width, *range(16, group.width, 16)) for group in found)


def test_what_cannot_be_reached_is_said_with_the_least(narrow: Narrow, lived_in: LivedIn, digits: Dataset) -> None:
    checkpoint = lived_in(narrow((1, 1), width=32))
    message = r"keep=0\.1 cannot be reached.*is the least; raise keep or lower floor"
    with pytest.raises(SpecError, match=message) as caught:
        prune(checkpoint, Prune(keep=0.1, floor=0.5, samples=8), digits, seed=0)
    least = float(str(caught.value).split("each group, ")[1].split()[0])
    step = Prune(keep=least + 0.001, floor=0.5, samples=8)
    assert ratio(prune(checkpoint, step, digits, seed=0).network, checkpoint.network) == pytest.approx(least, abs=1e-3)


def test_a_pruned_checkpoint_is_an_ordinary_one(
    narrow: Narrow, lived_in: LivedIn, digits: Dataset, tmp_path: Path
) -> None:
    before = lived_in(narrow((2, 1), width=32, attention=SE(reduction=4)), classes=CLASSES)
    step = Prune(keep=0.5, multiple=8, samples=16)
    after = prune(before, step, digits, seed=0)
    after.save(tmp_path / "model.safetensors")
    again = Checkpoint.load(tmp_path / "model.safetensors")
    assert again.network == after.network
    assert Network.parse(after.network.canonical()) == after.network
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(again.module()(images), after.module()(images))
    assert again.provenance is not None
    assert again.provenance["parameters"] == f"{cost(before.network).parameters} to {cost(after.network).parameters}"
    twice = prune(again, step, digits, seed=1)
    assert 0.2 < ratio(twice.network, before.network) <= 0.25


def test_the_seed_decides_the_images(narrow: Narrow, lived_in: LivedIn, digits: Dataset) -> None:
    checkpoint, step = lived_in(narrow((1, 1), width=32)), Prune(keep=0.5, samples=16)
    first, again, other = (prune(checkpoint, step, digits, seed=seed) for seed in (1, 1, 2))
    assert first.network == again.network
    assert all(torch.equal(first.tensors[key], again.tensors[key]) for key in first.tensors)
    assert not torch.equal(first.tensors["bn1.running_mean"], other.tensors["bn1.running_mean"])


def test_blocks_go_first_and_then_channels_of_the_whole_cost(
    narrow: Narrow, lived_in: LivedIn, digits: Dataset
) -> None:
    before = lived_in(narrow((3, 2), width=32))
    shallow = prune(before, Prune(depths=(2, 1), samples=16), digits, seed=0)
    assert [len(stage.blocks) for stage in shallow.network.stages] == [2, 1]
    depth = ratio(shallow.network, before.network)
    assert groups(shallow.network)[0] == groups(before.network)[0]
    both = prune(before, Prune(depths=(2, 1), keep=0.4, multiple=4, samples=16), digits, seed=0)
    assert [len(stage.blocks) for stage in both.network.stages] == [2, 1]
    assert 0.35 < ratio(both.network, before.network) <= 0.4 < depth
    enough = prune(before, Prune(depths=(2, 1), keep=depth + 0.01, multiple=5, samples=16), digits, seed=0)
    assert enough.network == shallow.network, "no channel leaves"
    assert both.provenance is not None
    assert both.provenance["gmacs"].startswith(f"{cost(before.network).gmacs:.4g} to ")


def test_a_step_removes_blocks_or_channels_or_both() -> None:
    with pytest.raises(ValidationError, match="expected keep or most, depths, or both"):
        Prune()
    assert Prune(depths=(3, 4, 5, 3)).canonical() == {"kind": "prune", "depths": [3, 4, 5, 3]}
    assert Prune(keep=0.5).canonical() == {"kind": "prune", "keep": 0.5}


def test_one_image_has_no_statistics(narrow: Narrow, lived_in: LivedIn, digits: Dataset) -> None:
    with pytest.raises(DataError, match="at least 2 training images"):
        prune(lived_in(narrow((1, 1), width=32)), Prune(keep=0.5, samples=1), digits, seed=0)


def test_the_old_checkpoint_is_unchanged(narrow: Narrow, lived_in: LivedIn, digits: Dataset) -> None:
    checkpoint = lived_in(narrow((1, 1), width=32))
    before = {key: tensor.clone() for key, tensor in checkpoint.tensors.items()}
    prune(replace(checkpoint), Prune(keep=0.5, samples=8), digits, seed=0)
    assert all(torch.equal(checkpoint.tensors[key], tensor) for key, tensor in before.items())
