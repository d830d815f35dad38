"""How much a channel matters is what the loss says when it is gone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.compress.zoo import EVERY, dataset
from torch import nn

from fit50.compress.groups import groups
from fit50.compress.importance import importance, saliency
from fit50.data.dataset import Dataset
from fit50.data.images import Images
from fit50.nn.deployed import Normalize
from fit50.spec.network import Network
from fit50.weights.checkpoint import Checkpoint

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]


@pytest.mark.parametrize("kind", ["taylor", "bn", "fisher"])
def test_a_channel_that_says_nothing_is_the_least_important(
    kind: str, narrow: Narrow, lived_in: LivedIn, digits: Dataset
) -> None:
    checkpoint = lived_in(narrow((2, 1)))
    found = groups(checkpoint.network)
    tensors = {key: tensor.clone() for key, tensor in checkpoint.tensors.items()}
    for position, group in enumerate(found):
        for norm in group.makers:
            tensors[f"{norm}.weight"][position] = tensors[f"{norm}.bias"][position] = 0.0
    scores = importance(kind, checkpoint.with_(tensors=tensors), found, digits.split("train").take(32, 0))
    assert list(scores) == [group.name for group in found]
    for position, group in enumerate(found):
        score = scores[group.name]
        assert score.shape == (group.width,)
        assert score[position] == 0
        assert (score > 0).sum() > group.width / 3


def test_taylor_is_the_loss_that_a_channel_saves(narrow: Narrow, lived_in: LivedIn, digits: Dataset) -> None:
    """Against the change of the loss when a channel is scaled down a little: (loss' / epsilon)^2."""
    checkpoint = lived_in(narrow((1,)))
    found = groups(checkpoint.network)
    images = digits.split("train").take(24, 0)
    scores = importance("taylor", checkpoint, found, images, batch=24)
    group = next(group for group in found if group.name == "layer1.0.inner1")
    (pixels,), labels = next(images.batches(24))
    x = Normalize(checkpoint.network.inputs[0])(pixels).double()

    def loss(channel: int, factor: float) -> float:
        module = checkpoint.module().double()
        norm = module.get_submodule(group.makers[0])
        with torch.no_grad():
            norm.weight[channel] *= factor
            norm.bias[channel] *= factor
            return nn.functional.cross_entropy(module(x), labels).item()

    for channel in (0, 5, 11):
        slope = (loss(channel, 1 + 1e-4) - loss(channel, 1 - 1e-4)) / 2e-4
        assert scores[group.name][channel].item() == pytest.approx(slope**2, rel=0.02, abs=1e-9)


@pytest.mark.parametrize("kind", ["taylor", "bn", "fisher", "l2"])
@pytest.mark.parametrize("name", ["two inputs, gated early, either may be missing", "two inputs, concatenated"])
def test_both_inputs_are_seen_and_none_is_hidden(kind: str, name: str, lived_in: LivedIn) -> None:
    checkpoint = lived_in(EVERY[name])
    found, pairs = groups(checkpoint.network), dataset(checkpoint.network).split("train")
    first, again = (importance(kind, checkpoint, found, pairs) for _ in range(2))
    assert all(torch.equal(first[group.name], again[group.name]) for group in found)
    assert all(first[group.name].shape == (group.width,) and first[group.name].any() for group in found)


@pytest.mark.parametrize("maker", ["bn1.second", "layer3.0.bn2", "fusion.conv", "fusion.fc1"])
def test_taylor_is_the_loss_that_any_maker_saves(maker: str, lived_in: LivedIn) -> None:
    """A norm of the second input, one of both, and convolutions without a norm."""
    network = EVERY["two inputs, gated, norms and stems of their own"]
    network = network.model_copy(update={"inputs": (network.inputs[0],) * 2})
    checkpoint = lived_in(network)
    pairs = dataset(network).split("train")
    (inputs, labels), normalize = next(pairs.batches(8)), Normalize(network.inputs[0])
    x = [normalize(pixels).double() for pixels in inputs]

    def loss(channel: int, factor: float) -> float:
        module = checkpoint.module().double()
        part = module.get_submodule(maker)
        with torch.no_grad():
            part.weight[channel] *= factor
            part.bias[channel] *= factor
            return nn.functional.cross_entropy(module(*x), labels).item()

    scores = saliency("taylor", checkpoint, (maker,), pairs)[maker]
    for channel in (0, 3, 5):
        slope = (loss(channel, 1 + 1e-4) - loss(channel, 1 - 1e-4)) / 2e-4
        assert scores[channel].item() == pytest.approx(slope**2, rel=0.02, abs=1e-11)


def test_a_group_of_a_grouped_convolution_counts_as_the_mean_of_its_channels(lived_in: LivedIn) -> None:
    checkpoint = lived_in(EVERY["groups of several channels on both sides"])
    found = groups(checkpoint.network)
    group = next(group for group in found if group.name == "layer1.0.groups")
    pairs = dataset(checkpoint.network).split("train")
    score = importance("bn", checkpoint, found, pairs)["layer1.0.groups"]
    first, second = (checkpoint.tensors[f"layer1.0.bn{i}.weight"].square() for i in (1, 2))
    assert (group.width, len(first), len(second)) == (4, 12, 20)
    torch.testing.assert_close(score, first.view(4, 3).mean(1) + second.view(4, 5).mean(1))


def test_fisher_is_the_mean_square_of_what_single_images_lose(
    narrow: Narrow, lived_in: LivedIn, digits: Dataset
) -> None:
    """Taylor's square, of batches of one image."""
    check_fisher(lived_in(narrow((2, 1))), digits.split("train").take(6, 0))


@pytest.mark.parametrize("name", ["two inputs, gated, norms and stems of their own", "two inputs, concatenated"])
def test_what_a_channel_says_of_two_inputs_is_one_thing(name: str, lived_in: LivedIn) -> None:
    """It leaves for both, so its slopes add up before they are squared; a norm of the second's own counts once."""
    checkpoint = lived_in(EVERY[name])
    check_fisher(checkpoint, dataset(checkpoint.network).split("train").take(6, 0))


def check_fisher(checkpoint: Checkpoint, images: Images) -> None:
    found = groups(checkpoint.network)
    together = importance("fisher", checkpoint, found, images, batch=6)
    alone = importance("taylor", checkpoint, found, images, batch=1)
    for group in found:
        torch.testing.assert_close(together[group.name], alone[group.name])


def test_l2_sums_all_weights_that_leave_together(narrow: Narrow, lived_in: LivedIn, digits: Dataset) -> None:
    checkpoint = lived_in(narrow((1,)))
    found, images = groups(checkpoint.network), digits.split("train").take(2, 0)
    score = importance("l2", checkpoint, found, images)["layer1.0.inner0"]
    before = checkpoint.tensors["layer1.0.conv1.weight"].square().sum((1, 2, 3))
    after = checkpoint.tensors["layer1.0.conv2.weight"].square().sum((0, 2, 3))
    torch.testing.assert_close(score, (before + after) / (before + after).mean())
