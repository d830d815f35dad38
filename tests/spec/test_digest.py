"""Identity, difference and editing."""

from __future__ import annotations

import pytest

from fit50.spec import presets
from fit50.spec.blocks import CBAM, SE, Swish
from fit50.spec.digest import Change, diff, digest, edit, edit_all, scalar
from fit50.spec.errors import SpecError
from fit50.spec.network import Classifier, Input, Stem
from fit50.spec.recipe import Edit, Load, Morph, Prune, Quantize, Recipe
from fit50.spec.request import Budget, Effort, Request
from fit50.spec.training import AdamW, Teacher, Train

SMALL = (("inputs[*].height", 32), ("inputs[*].width", 32))
TRAIN = Train(epochs=3, optimizer=AdamW(lr=0.002))


def recipe() -> Recipe:
    return Recipe(
        steps=(
            Load(network=edit_all(presets.network("resnet50", classes=10), SMALL)),
            Train(epochs=2),
            Morph(depths=(3, 4, 7, 3), edits=(Edit(path="stages[*].blocks[*].attention", value="se"),)),
            Prune(keep=0.5),
            Train(epochs=3, teacher=Teacher(after=2)),
            Quantize(),
        ),
        seed=7,
    )


def test_golden_digests_never_change() -> None:
    """Whoever changes one of these changes what a default means, and orphans every finished run."""
    found = {
        "resnet50": digest(presets.network("resnet50")),
        "se-resnet50": digest(presets.network("se-resnet50")),
        "recipe": digest(recipe()),
        "request": digest(
            Request(data="photos", effort=Effort(train=TRAIN, grow=TRAIN, recover=TRAIN), budget=Budget(latency=5))
        ),
    }
    assert found == {
        "resnet50": "07628bf1b5cb91fd5ba3b292291f247494d110a00a12f3f8c7cf5abb1d18f1be",
        "se-resnet50": "e49df452dd68e926182bf19eb6705c3ee7a284937d2d7d11201573bdd5b506e0",
        "recipe": "998ea26fd1770c5c9ba3fb35d00efae71a9bc45c85e1fea0add428d5ef7b716e",
        "request": "113dc816a7717096681b7f28a930927b93c769c3a49a3a66e3d9001456e5fe01",
    }


def test_defaults_do_not_count() -> None:
    assert digest(Prune(keep=0.5, multiple=16, floor=0.1)) == digest(Prune(keep=0.5))
    assert Prune(keep=0.5, multiple=16).canonical() == {"kind": "prune", "keep": 0.5}


def test_whole_numbers_are_the_same_floats() -> None:
    assert digest(Budget(latency=5, max_drop=0)) == digest(Budget(latency=5.0, max_drop=0.0))


@pytest.mark.parametrize(
    "other", [Prune(keep=0.5, multiple=8), Prune(keep=0.25), Prune(keep=0.5, importance="bn"), Quantize()]
)
def test_what_differs_has_another_digest(other: Prune | Quantize) -> None:
    assert digest(other) != digest(Prune(keep=0.5))


def test_every_preset_has_a_digest_of_its_own() -> None:
    assert len({digest(presets.network(name)) for name in presets.NETWORKS}) == len(presets.NETWORKS)


def test_prefixes_are_recipes_with_digests_of_their_own() -> None:
    whole = recipe()
    prefixes = [whole.prefix(length) for length in range(1, len(whole.steps) + 1)]
    assert len({digest(prefix) for prefix in prefixes}) == len(prefixes)
    assert digest(prefixes[2]) == digest(Recipe(steps=whole.steps[:3], seed=7))
    assert prefixes[4].then(Quantize()) == whole


def test_diff_names_every_changed_path() -> None:
    old = presets.network("resnet50")
    new = edit(edit(old, "stages[1].blocks[2].inner[0]", 96), "head.classes", 10)
    assert diff(old, new) == (Change("stages[1].blocks[2].inner[0]", 128, 96), Change("head.classes", 1000, 10))
    assert diff(old, old) == ()


def test_diff_shows_what_was_added_and_removed() -> None:
    small, large = presets.resnet((1, 1, 1, 1)), presets.resnet((1, 2, 1, 1))
    added = diff(small, large)
    assert [change.path for change in added] == ["stages[1].blocks[1]"]
    assert added[0].old is None
    assert added[0].new["out"] == 512
    assert [(change.path, change.new) for change in diff(large, small)] == [("stages[1].blocks[1]", None)]


def test_edit_with_a_star_reaches_every_element() -> None:
    edited = edit(presets.network("resnet50"), "stages[*].blocks[*].attention", "se")
    assert edited == presets.network("se-resnet50")


def test_edit_with_an_index_reaches_one_element() -> None:
    edited = edit(presets.network("resnet50"), "stages[2].blocks[5].attention", CBAM(kernel=5))
    gates = [block.attention for stage in edited.stages for block in stage.blocks]
    assert [gate for gate in gates if gate] == [CBAM(kernel=5)]
    assert gates.index(CBAM(kernel=5)) == 12


def test_edit_takes_plain_data_and_leaves_the_old_value_alone() -> None:
    old = presets.network("resnet50")
    assert edit(old, "activation", {"kind": "swish", "beta": 2.0}).activation == Swish(beta=2.0)
    assert edit(old, "stem", "light").stem == Stem(kind="light")
    assert old == presets.network("resnet50")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "found an empty one"),
        ("stages[*].bloks[0]", "unknown field 'bloks'; did you mean 'blocks'?"),
        ("had.classes", "unknown field 'had'; did you mean 'head'?"),
        ("stages[4]", r"expected \[\*\] or an index below 4, found 4"),
        ("stages.first", r"expected \[\*\] or an index below 4, found 'first'"),
        ("head.classes.more", "nothing lies below 1000"),
        ("stages[-1]", r"stuck at '\[-1\]'"),
        ("head.", r"stuck at '\.'"),
        ("head[*]", r"unknown field '\*'"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_ends(path: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        edit(presets.network("resnet50"), path, 1)


@pytest.mark.parametrize(
    ("path", "new"),
    [
        ("head.classes", 1),
        ("stages[*].blocks[*].attention", "sse"),
        ("stages[0].blocks[1].out", 100),
        ("head", Input()),
        ("stages", []),
    ],
)
def test_an_edit_to_no_valid_network_names_the_path(path: str, new: object) -> None:
    with pytest.raises(SpecError) as caught:
        edit(presets.network("resnet50"), path, new)
    assert str(caught.value).startswith(path)


def test_a_command_line_word_is_read_as_yaml() -> None:
    assert scalar("0.5") == 0.5
    assert scalar("null") is None
    assert scalar("{kind: se, reduction: 8}") == {"kind": "se", "reduction": 8}
    with pytest.raises(SpecError, match="expected a YAML value"):
        scalar("{kind: se")


def test_an_edit_gives_a_value_equal_to_the_one_written_out() -> None:
    written = presets.resnet(attention=SE(reduction=8)).model_copy(update={"head": Classifier(classes=10)})
    edited = edit(presets.network("resnet50", classes=10), "stages[*].blocks[*].attention", SE(reduction=8))
    assert edited == written
    assert digest(edited) == digest(written)
    assert hash(edited) == hash(written)
