"""Which networks are tried."""

from __future__ import annotations

from typing import get_args

import pytest

from fit50.search.space import grown, growth, shrunk
from fit50.spec.blocks import SE, Swish
from fit50.spec.digest import edit, edit_all
from fit50.spec.network import Network
from fit50.spec.presets import EFFORTS, resnet
from fit50.spec.recipe import Load, Morph, Prune, Recipe
from fit50.spec.request import Technique
from fit50.spec.training import Train
from fit50.weights.surgery import grown as morphed
from fit50.weights.surgery import plan

EFFORT = EFFORTS["demo"]


@pytest.fixture
def network() -> Network:
    return resnet((1, 2, 1), widths=(8, 8, 8))


@pytest.fixture
def baseline(network: Network) -> Recipe:
    return Recipe(steps=(Load(network=network), EFFORT.train), seed=5)


def test_every_technique_is_tried_beside_the_control(baseline: Recipe, network: Network) -> None:
    recipes = grown(baseline, network, EFFORT)
    assert list(recipes) == ["control", "se", "deeper", "swish"]
    assert recipes["control"].steps == (*baseline.steps, EFFORT.grow)
    for name in ("se", "deeper", "swish"):
        start, morph, training = recipes[name].steps[:2], recipes[name].steps[2], recipes[name].steps[3]
        assert (start, training, len(recipes[name].steps)) == (baseline.steps, EFFORT.grow, 4)
        assert isinstance(morph, Morph)
        assert recipes[name].seed == 5


def test_only_the_techniques_of_the_effort_are_tried(baseline: Recipe, network: Network) -> None:
    assert list(grown(baseline, network, EFFORT.model_copy(update={"techniques": ("swish",)}))) == ["control", "swish"]
    assert list(grown(baseline, network, EFFORT.model_copy(update={"techniques": ()}))) == ["control"]


def test_what_the_network_has_is_skipped(baseline: Recipe, network: Network) -> None:
    attentive = edit(network, "stages[*].blocks[*].attention", SE())
    assert growth(attentive, "se") is None
    assert growth(network.model_copy(update={"activation": Swish()}), "swish") is None
    assert list(grown(baseline, attentive, EFFORT)) == ["control", "deeper", "swish"]


def test_what_only_some_blocks_have_is_added_to_the_others(network: Network) -> None:
    step = growth(edit(network, "stages[0].blocks[*].attention", "cbam"), "se")
    assert step is not None
    assert [edit.path for edit in step.edits] == [
        "stages[1].blocks[0].attention",
        "stages[1].blocks[1].attention",
        "stages[2].blocks[0].attention",
    ]


@pytest.mark.parametrize("technique", get_args(Technique))
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"activation": "swish"},
        {"stages[0].blocks[*].attention": "cbam"},
        {"stages[*].blocks[*].groups": 2},
        {"stages[2].blocks[*].activation": "swish"},
        {"stages[1].blocks[1].activation": "swish"},
        {"activation": "swish", "stages[*].blocks[*].activation": "relu"},
    ],
)
def test_what_is_tried_can_be_grown(network: Network, change: dict[str, object], technique: Technique) -> None:
    """No technique fails after the baseline's training: what no morph can make is not tried."""
    start = edit_all(network, change.items())
    step = growth(start, technique)
    assert step is None or plan(start, morphed(start, step))


def test_what_a_network_cannot_take_is_not_tried(network: Network) -> None:
    assert growth(edit(network, "activation", "swish"), "deeper") is None
    assert growth(edit(network, "stages[*].blocks[*].groups", 2), "wider") is None


def test_the_deepest_stage_gets_one_more_block(network: Network) -> None:
    assert growth(network, "deeper") == Morph(depths=(1, 3, 1))


def test_the_parent_teaches_what_it_is_pruned_to(baseline: Recipe) -> None:
    parent = baseline.then(EFFORT.grow)
    recipe = shrunk(parent, 0.25, EFFORT)
    prune, recovery = recipe.steps[3:]
    assert recipe.steps[:3] == parent.steps
    assert prune == Prune(keep=0.25)
    assert isinstance(recovery, Train)
    assert recovery.teacher is not None
    assert recovery.teacher.after == 3
    assert recovery.model_copy(update={"teacher": None}) == EFFORT.recover
