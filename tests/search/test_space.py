"""Which networks are tried."""

from __future__ import annotations

from typing import get_args

import pytest

from fit50.search.space import WHOLE, Shape, grown, growth, pruning_rounds, refuse_larger, shapes, shrunk
from fit50.spec.blocks import SE, Swish
from fit50.spec.digest import edit, edit_all
from fit50.spec.errors import SpecError
from fit50.spec.network import Network
from fit50.spec.presets import EFFORTS, resnet
from fit50.spec.recipe import Load, Morph, Prune, Recipe, Resize
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
    recipe = shrunk(parent, Shape(None, 0.25), EFFORT)
    prune, recovery = recipe.steps[3:]
    assert recipe.steps[:3] == parent.steps
    assert prune == Prune(keep=0.25)
    assert isinstance(recovery, Train)
    assert recovery.teacher is not None
    assert recovery.teacher.after == 3
    assert recovery.model_copy(update={"teacher": None}) == EFFORT.recover


def test_a_fraction_is_one_of_the_parent_in_every_round(baseline: Recipe) -> None:
    effort = EFFORT.model_copy(update={"rounds": 2})
    recipe = shrunk(baseline, Shape(112, 0.25), effort)
    resize, first, recovery, second, again = recipe.steps[2:]
    assert resize == Resize(size=112)
    assert (first, second) == (Prune(keep=0.5, since=3), Prune(keep=0.25, since=3))
    assert recovery == again
    assert isinstance(recovery, Train)
    assert recovery.teacher is not None
    assert recovery.teacher.after == 2, "the parent teaches"
    assert shrunk(baseline, Shape(112, 1), effort).steps[2:] == (resize, recovery)


def test_blocks_leave_in_the_first_round() -> None:
    first, second, third = pruning_rounds(Prune(keep=0.125, depths=(1, 1), importance="bn"), 3, None, begun=1)
    assert (first, second) == (
        Prune(keep=0.5, depths=(1, 1), importance="bn", since=1),
        Prune(keep=0.25, importance="bn", since=1),
    )
    assert isinstance(third, Prune)
    assert third.keep == pytest.approx(0.125)
    with pytest.raises(SpecError, match="expected keep, and no since, for 3 rounds"):
        pruning_rounds(Prune(most=1.0), 3, None, begun=1)
    with pytest.raises(SpecError, match="expected keep, and no since, for 2 rounds"):
        pruning_rounds(Prune(keep=0.5, since=1), 2, None, begun=2)
    assert pruning_rounds(Prune(most=1.0), 1, EFFORT.recover, begun=1) == (Prune(most=1.0), EFFORT.recover)


def test_shapes_come_with_the_largest_first() -> None:
    found = shapes(EFFORT.model_copy(update={"sizes": (64, 96, 64), "keeps": (0.25, 0.5)}))
    assert [str(shape) for shape in found] == [
        "",
        "pruned to 50%",
        "pruned to 25%",
        *("at 96 pixels", "at 96 pixels, pruned to 50%", "at 96 pixels, pruned to 25%"),
        *("at 64 pixels", "at 64 pixels, pruned to 50%", "at 64 pixels, pruned to 25%"),
    ]
    assert found[0] == WHOLE
    assert all(shape.within(WHOLE) for shape in found)
    assert not Shape(64, 0.5).within(Shape(96, 0.25))
    assert not Shape(None, 0.25).within(Shape(96, 0.5))


def test_a_size_must_be_smaller(network: Network) -> None:
    refuse_larger(network, 223, EFFORT.recover, "--image-size")
    with pytest.raises(SpecError, match="--image-size: expected fewer pixels than the network's 224, found 224"):
        refuse_larger(network, 224, None, "--image-size")
    for field in ("size", "start_size"):
        recovery = EFFORT.recover.model_copy(update={field: 128})
        refuse_larger(network, 128, recovery, "effort.sizes")
        with pytest.raises(SpecError, match="expected at least the 128 pixels that the recovery trains at, found 127"):
            refuse_larger(network, 127, recovery, "effort.sizes")
