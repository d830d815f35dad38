"""What a step broke is found where it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.compress.zoo import MORE, dataset, narrow
from tests.contracts.networks import KINDS
from torch import Tensor, nn

from fit50.compress.correspondence import Pair, block_errors, blocks, correspondence
from fit50.compress.cut import cut
from fit50.compress.damage import checkpoint_damage, damage
from fit50.compress.depth import shallower
from fit50.compress.groups import groups
from fit50.data.images import Images
from fit50.nn.compose import compose
from fit50.spec import presets
from fit50.spec.damage import Damage
from fit50.spec.network import Network
from fit50.weights.checkpoint import Checkpoint

LivedIn = Callable[..., Checkpoint]
RESNET = narrow(presets.resnet(presets.DEPTHS[50]), blocks=3)


def answers(*rows: tuple[float, ...]) -> Callable[[Tensor], Tensor]:
    """A model that gives the row which an image's first pixel names."""
    table = torch.tensor(rows)
    return lambda images: table[images[:, 0, 0, 0].long()]


def numbered(labels: NDArray[np.int64]) -> Images:
    """Images that show their own number."""
    pixels = np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
    return Images((pixels,), labels, tuple(f"{i}.png" for i in range(len(labels))))


def test_the_damage_to_answers() -> None:
    before = answers((0.9, 0.1, 0), (0.6, 0.4, 0), (0.2, 0.8, 0), (0.7, 0.3, 0), (0, 0, 1))
    after = answers((0.3, 0.7, 0), (0.1, 0.9, 0), (0.1, 0.9, 0), (0, 1, 0), (0, 0, 1))
    found = damage(before, after, numbered(np.array([0, 0, 1, 1, 2])), ("a", "b", "c", "d"))
    assert [(change.name, change.old.correct, change.new.correct) for change in found.classes] == [
        ("a", 2, 0),
        ("c", 1, 1),
        ("b", 1, 2),
    ]
    assert found.classes[0].difference.points == -100
    comparison = found.comparison
    assert (comparison.old.correct, comparison.new.correct, comparison.lost, comparison.won) == (4, 3, 2, 1)
    # of the two that are lost, 0.9 + 0.7 is surer than 0.6 + 0.9; what is won comes last
    assert [(flip.name, flip.kind) for flip in comparison.flips] == [
        ("0.png", "lost"),
        ("1.png", "lost"),
        ("3.png", "won"),
    ]
    assert found.old_calibration.value == pytest.approx(100 * (0.1 + 0.4 + 0.2 + 0.7 + 0) / 5, abs=13)
    assert found.new_calibration.value == pytest.approx(100 * (0.7 + (0.9 + 0.9 - 1) + 0 + 0) / 5)
    assert found.layers == found.not_compared == ()
    assert Damage.parse(found.model_dump(mode="json")) == found


def test_each_model_is_judged_by_its_own_images() -> None:
    large, small = numbered(np.array([0, 1, 1])), numbered(np.array([0, 1, 1]))
    small = Images((small.pixels[0][::-1],), small.labels, small.names)
    before = answers((1, 0), (0, 1), (0, 1))
    found = damage(before, before, large, ("a", "b"), resized=small).comparison
    assert (found.old.correct, found.new.correct) == (3, 1), "the second one met them the other way round"


def test_nothing_is_broken_by_nothing(lived_in: LivedIn) -> None:
    checkpoint = lived_in(RESNET)
    found = checkpoint_damage(checkpoint, checkpoint, dataset(RESNET).split("train"), ("a", "b", "c", "d"))
    assert found.comparison.flips == ()
    assert [(layer.name, layer.error, layer.decibels) for layer in found.layers] == [
        (name, 0, None) for name in blocks(RESNET)
    ]
    assert found.not_compared == ()


@pytest.mark.parametrize("network", (KINDS | MORE).values(), ids=KINDS | MORE)
def test_the_channels_that_are_left_are_told_apart(network: Network, lived_in: LivedIn) -> None:
    before, generator = lived_in(network), torch.Generator().manual_seed(0)
    found = groups(network)
    scores = {group.name: torch.rand(group.width, generator=generator) for group in found}
    after = cut(before, scores, {group.field: max(1, group.width // 2) for group in found if group.field})
    pairs = {pair.old: pair for pair in correspondence(before, after)}
    assert {name: pair.new for name, pair in pairs.items()} == {name: name for name in blocks(network)}
    for name, stream in blocks(network).items():
        kept = scores[stream].topk(len(scores[stream]) // 2).indices.sort().values
        assert torch.equal(pairs[name].kept, kept)


def test_of_a_shallower_stage_the_output_is_compared(lived_in: LivedIn) -> None:
    before, images = lived_in(RESNET), dataset(RESNET).split("train")
    after = shallower(before, (3, 2, 3, 1), "bn", images)
    pairs = correspondence(before, after)
    assert [(pair.old, pair.new) for pair in pairs] == [
        *((f"layer1.{i}", f"layer1.{i}") for i in range(3)),
        ("layer2.2", "layer2.1"),
        *((f"layer3.{i}", f"layer3.{i}") for i in range(3)),
        ("layer4.2", "layer4.0"),
    ]
    found = checkpoint_damage(before, after, images, ("a", "b", "c", "d"))
    assert [layer.name for layer in found.layers] == [pair.old for pair in pairs]
    assert found.not_compared == ("layer2.0", "layer2.1", "layer4.0", "layer4.1")
    before_the_first, *rest = (layer.error or 0 for layer in found.layers[2:])
    assert before_the_first == 0
    assert min(rest) > 0.01


def test_what_cannot_be_told_apart_is_left_out() -> None:
    before = Checkpoint(RESNET, compose(RESNET).state_dict())  # all norms are alike
    images = dataset(RESNET).split("train")
    after = shallower(before, (2, 2, 2, 2), "bn", images)
    found = checkpoint_damage(before, after, images, ("a", "b", "c", "d"))
    assert found.layers == ()
    assert found.not_compared == tuple(blocks(RESNET))


def test_an_error_is_relative_to_the_signal() -> None:
    old, new = nn.Sequential(nn.Identity()), nn.Sequential(nn.Identity())
    x = torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    with block_errors(old, new, (Pair("0", "0", torch.tensor([0, 2])),)) as errors:
        for part in (x, 2 * x):  # a block may be called several times
            old(part)
        for part in (x, 2 * x):
            new(1.1 * part[:, [0, 2]])
    (found,) = (each.found() for each in errors)
    assert found.channels == 2
    assert found.error == pytest.approx(0.1)
    assert found.decibels == pytest.approx(20)
    assert not old[0]._forward_hooks and not new[0]._forward_hooks


def test_silence_has_no_relative_error() -> None:
    old, new = nn.Sequential(nn.Identity()), nn.Sequential(nn.Identity())
    with block_errors(old, new, (Pair("0", "0"),)) as errors:
        old(torch.zeros(1, 2, 1, 1))
        new(torch.ones(1, 2, 1, 1))
    assert errors[0].found().error is None
