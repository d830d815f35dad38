"""What is kept is worth most for what it costs."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from tests.compress.zoo import EVERY

from fit50.compress.convolutions import Convolution, convolutions
from fit50.compress.groups import groups, narrowed
from fit50.compress.knapsack import Choice, choices, knapsack
from fit50.nn.cost import cost
from fit50.runtimes.layers import Layer
from fit50.spec.network import Network
from fit50.spec.recipe import Prune

Narrow = Callable[..., Network]


def multiplications(layer: Layer) -> float:
    pixels = (layer.height // layer.stride) * (layer.width // layer.stride)
    return layer.kernel**2 * layer.inputs // layer.groups * layer.outputs * pixels / 1e9


def test_convolutions_cost_what_the_network_costs(narrow: Narrow) -> None:
    network = narrow((2, 1), width=32)
    total = sum(multiplications(each.layer) for each in convolutions(network, groups(network)))
    assert total == pytest.approx(cost(network).gmacs, rel=0.01), "but for the classifier"


@pytest.mark.parametrize("keep", [0.9, 0.6, 0.3])
def test_the_network_costs_as_much_as_is_allowed(keep: float, narrow: Narrow) -> None:
    network = narrow((2, 2), width=64)
    found = groups(network)
    generator = torch.Generator().manual_seed(0)
    scores = {group.name: torch.rand(group.width, generator=generator) for group in found}
    step = Prune(keep=keep, multiple=4)
    most = keep * sum(multiplications(each.layer) for each in convolutions(network, found))
    widths = knapsack(choices(found, scores, step), convolutions(network, found), multiplications, most)
    smaller = narrowed(network, widths)
    spent = sum(multiplications(each.layer) for each in convolutions(smaller, groups(smaller)))
    assert keep - 0.05 < spent / (most / keep) <= keep
    assert all(width % 4 == 0 and width >= 8 for width in widths.values())


def test_what_is_expensive_leaves_before_what_is_cheap() -> None:
    """Two layers of equal importance, one of which costs ten times as much."""
    cheap, dear = Layer(8, 8, 1, 1, 4, 4), Layer(8, 8, 3, 1, 4, 4)
    wired = (Convolution(cheap, (), (("cheap", 1),)), Convolution(dear, (), (("dear", 1),)))
    even = Choice(tuple(range(1, 9)), tuple(float(8 - width) for width in range(1, 9)))
    total = multiplications(cheap) + multiplications(dear)
    widths = knapsack({"cheap": even, "dear": even}, wired, multiplications, 0.5 * total)
    assert widths["cheap"] == 8 and widths["dear"] < 4


@pytest.mark.parametrize("seed", range(5))
def test_it_is_as_good_as_trying_everything(seed: int) -> None:
    """Three layers in a row: within a tenth of the best of all combinations, whose budget it keeps."""
    generator = torch.Generator().manual_seed(seed)
    places = (1, 2, 3, 4, 5, 6)
    given = {}
    for name in "abc":
        worst = torch.rand(6, generator=generator).sort().values.cumsum(0).flip(0).tolist()
        given[name] = Choice(places, (*worst[1:], 0.0))
    sides = ((), (("a", 8),), (("b", 8),)), ((("a", 8),), (("b", 8),), (("c", 8),))
    wired = [
        Convolution(Layer(48, 48, k, 1, 4, 4), *side)
        for k, side in zip((1, 3, 1), zip(*sides, strict=True), strict=True)
    ]

    def spent(widths: dict[str, int]) -> float:
        return sum(multiplications(each.at(widths)) for each in wired)

    def lost(widths: dict[str, int]) -> float:
        return sum(given[name].lost[width - 1] for name, width in widths.items())

    most = 0.5 * spent(dict.fromkeys("abc", 6))
    found = knapsack(given, wired, multiplications, most)
    every = [dict(zip("abc", widths, strict=True)) for widths in itertools.product(places, repeat=3)]
    best = min(lost(widths) for widths in every if spent(widths) <= most)
    worst = max(lost(widths) for widths in every if spent(widths) <= most)
    assert spent(found) <= most
    assert lost(found) <= best + 0.1 * (worst - best)


def test_the_narrowest_is_what_is_left_where_nothing_fits(narrow: Narrow) -> None:
    network = narrow((1,), width=16)
    found = groups(network)
    scores = {group.name: torch.ones(group.width) for group in found}
    given = choices(found, scores, Prune(keep=0.5, multiple=4))
    narrowest = {field: choice.widths[0] for field, choice in given.items()}
    assert knapsack(given, convolutions(network, found), multiplications, 0) == narrowest
    assert knapsack(given, convolutions(network, found), lambda layer: 1.0, 0) == narrowest, "though it saves nothing"


def test_a_group_of_a_grouped_convolution_loses_all_its_channels() -> None:
    network = EVERY["groups of several channels on both sides"]
    found = groups(network)
    scores = {group.name: torch.ones(group.width) for group in found}
    given = choices(found, scores, Prune(keep=0.5, multiple=1, floor=0.01))
    grouped, stream = given["layer1.0.groups"], given["layer1"]
    assert grouped.widths[-1] == 4
    assert grouped.lost[-2] == 4, "the mean of 3 channels before it and 5 in it, as its importance is that of one"
    assert stream.lost[-2] == 1
