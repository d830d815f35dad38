"""Recipes are performed step by step, each step once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from tests.listener import Listener

from fit50.data.dataset import Dataset
from fit50.nn.cost import cost
from fit50.pipeline import realise as module
from fit50.pipeline.realise import load, realise, step_seed
from fit50.pipeline.store import Store
from fit50.runtimes.base import sha256
from fit50.spec.damage import Damage
from fit50.spec.errors import CheckpointError, DataError, SpecError
from fit50.spec.monitor import Monitor
from fit50.spec.network import Network
from fit50.spec.numerics import Float32, Int8, Learned
from fit50.spec.recipe import Edit, Load, Morph, Prune, Quantize, Recipe, Resize
from fit50.spec.training import SGD, AdamW, Teacher, Train
from fit50.train import train
from fit50.weights.checkpoint import Checkpoint

MORE = Train(epochs=1, batch=8, optimizer=SGD(lr=0.01), precision="float32")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Train]:
    """The Train steps that are performed, as it happens."""
    steps: list[Train] = []

    def counted(checkpoint: Checkpoint, step: Train, *given: object, **named: object) -> Checkpoint:
        steps.append(step)
        return train(checkpoint, step, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "train", counted)
    return steps


def same(one: Checkpoint, other: Checkpoint) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        torch.equal(tensor, other.tensors[key]) for key, tensor in one.tensors.items()
    )


def test_a_finished_recipe_is_not_performed_again(
    recipe: Recipe, dataset: Dataset, store: Store, trained: list[Train]
) -> None:
    first = realise(recipe, dataset, store, Monitor())
    again = realise(recipe, dataset, store, Monitor())
    assert len(trained) == 1
    assert same(first, again)
    assert again.classes == dataset.classes
    assert again.network.head.classes == 3


def test_a_longer_recipe_starts_from_its_finished_prefix(
    recipe: Recipe, dataset: Dataset, store: Store, trained: list[Train]
) -> None:
    grown = recipe.then(Morph(edits=(Edit(path="stages[*].blocks[*].attention", value="se"),)), MORE)
    realise(recipe, dataset, store, Monitor())
    result = realise(grown, dataset, store, Monitor())
    realise(recipe.then(MORE), dataset, store, Monitor())
    assert trained == [recipe.steps[1], MORE, MORE]
    assert all(block.attention is not None for stage in result.network.stages for block in stage.blocks)


def test_pruned_with_the_parent_as_teacher(
    recipe: Recipe, dataset: Dataset, store: Store, trained: list[Train]
) -> None:
    recovery = MORE.model_copy(update={"teacher": Teacher(after=2)})
    pruned = recipe.then(Prune(keep=0.5, multiple=2, samples=16), recovery)
    result = realise(pruned, dataset, store, Monitor())
    assert trained == [recipe.steps[1], recovery]
    assert store.run(pruned.prefix(3), dataset.identity).model.exists()
    assert result.tensors["layer1.0.conv1.weight"].numel() < 8 * 8


def test_a_pruning_says_what_it_broke(recipe: Recipe, dataset: Dataset, store: Store) -> None:
    listener = Listener()
    pruned = recipe.then(Prune(keep=0.5, multiple=2, samples=16))
    realise(pruned, dataset, store, listener)
    found = Damage.read(store.run(pruned, dataset.identity).folder / "damage.json")
    assert found.comparison.old.n == len(dataset.split("val"))
    assert [layer.name for layer in found.layers] == ["layer1.0", "layer2.0"]
    assert listener.said[-1] == f"prune, before recovery: validation accuracy {found}"
    realise(pruned, dataset, store, listener)
    assert len(listener.said) == 2


def test_quantize_says_int8_and_keeps_nothing(recipe: Recipe, dataset: Dataset, store: Store) -> None:
    result = realise(recipe.then(Quantize(samples=1000, max_drop=2)), dataset, store, Monitor())
    assert result.numerics == Int8(dataset=dataset.identity, samples=24, max_drop=2)
    assert same(result, realise(recipe, dataset, store, Monitor()))
    assert len(list(store.folder.iterdir())) == 1


def test_what_is_trained_through_the_rounding_serves_whatever_may_be_lost(
    recipe: Recipe, dataset: Dataset, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Quantize] = []

    def learned(before: Checkpoint, step: Quantize, *_: object, **named: object) -> Checkpoint:
        trained.append(step)
        ranges = Learned(ranges={"x": (0.0, 1.0)}, accuracy=90)
        return replace(before, numerics=Int8(dataset="it", samples=24, max_drop=step.max_drop, learned=ranges))

    monkeypatch.setattr(module, "quantize", learned)
    drops = []
    for drop in (0.5, 1, 2):
        numerics = realise(recipe.then(Quantize(method="qat", max_drop=drop)), dataset, store, Monitor()).numerics
        assert isinstance(numerics, Int8) and numerics.learned is not None
        drops.append(numerics.max_drop)
    assert drops == [0.5, 1, 2]
    assert trained == [Quantize(method="qat")]
    realise(recipe.then(Quantize(method="qat", epochs=2, max_drop=2)), dataset, store, Monitor())
    assert len(trained) == 2


def test_what_was_trained_for_int8_starts_in_float(
    recipe: Recipe, dataset: Dataset, weights: Callable[[tuple[str, ...]], Path]
) -> None:
    """Its ranges are those of the weights as they were."""
    path = weights(dataset.classes)
    learned = Int8(dataset="it", samples=9, max_drop=1, learned=Learned(ranges={"x": (0, 1)}, accuracy=90))
    replace(Checkpoint.load(path), numerics=learned).save(path)
    assert load(Load(weights=str(path), sha256=sha256(path)), dataset.classes, seed=0).numerics == Float32()


def test_each_data_set_each_recipe_and_each_seed_has_its_own_folder(
    recipe: Recipe, dataset: Dataset, store: Store
) -> None:
    other = replace(dataset, identity="another")
    reseeded = recipe.model_copy(update={"seed": 4})
    runs = {
        store.run(recipe, dataset.identity).folder,
        store.run(recipe, other.identity).folder,
        store.run(recipe.then(MORE), dataset.identity).folder,
        store.run(reseeded, dataset.identity).folder,
    }
    assert len(runs) == 4
    assert store.run(recipe, dataset.identity).folder in runs


def test_seeds_differ_between_steps_and_recipes(recipe: Recipe) -> None:
    reseeded = recipe.model_copy(update={"seed": 4})
    assert len({step_seed(recipe), step_seed(recipe.then(MORE)), step_seed(reseeded)}) == 3


def test_a_run_leaves_its_recipe_its_machine_and_its_log(recipe: Recipe, dataset: Dataset, store: Store) -> None:
    heard: list[str] = []

    class Listener(Monitor):
        def record(self, event: str, facts: Mapping[str, object]) -> None:
            heard.append(event)

    realise(recipe, dataset, store, Listener())
    folder = store.run(recipe, dataset.identity).folder
    assert {path.name for path in folder.iterdir()} == {
        "metrics.csv",
        "recipe.yaml",
        "environment.json",
        "log.jsonl",
        "model.safetensors",
    }
    assert Recipe.read(folder / "recipe.yaml") == recipe
    assert "python" in json.loads((folder / "environment.json").read_text(encoding="utf-8"))["versions"]
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["event"], line["epoch"]) for line in lines] == [("epoch", 1), ("epoch", 2), ("epoch", 3)]
    assert all(line["loss"] > 0 and 0 <= line["val"] <= 1 for line in lines)
    assert heard == ["epoch"] * 3


class Stop(Exception):
    """Stands for a kill."""


def stop_after(steps: int) -> Monitor:
    """A monitor that ends the training after so many of its steps."""

    class Bomb(Monitor):
        def progress(self, label: str, done: int, total: int) -> None:
            if done >= steps:
                raise Stop

    return Bomb()


@pytest.mark.parametrize("optimizer", [SGD(lr=0.05), AdamW(lr=2e-3)], ids=["sgd", "adamw"])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_stopped_training_goes_on_and_ends_with_the_same_bits(
    recipe: Recipe,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    optimizer: SGD | AdamW,
    ema: float | None,
) -> None:
    step = recipe.steps[1].model_copy(update={"optimizer": optimizer, "ema": ema})
    recipe = recipe.model_copy(update={"steps": (recipe.steps[0], step)})
    monkeypatch.setattr(module, "train", partial(train, save_seconds=0))
    whole, broken = Store(tmp_path / "whole"), Store(tmp_path / "broken")
    realise(recipe, dataset, whole, Monitor())
    run = broken.run(recipe, dataset.identity)
    for steps in (1, 5, 8):  # of 9: in the first, the second and the last epoch
        with pytest.raises(Stop):
            realise(recipe, dataset, broken, stop_after(steps))
        assert run.training.exists() == (steps > 3)
        assert not run.model.exists()
    realise(recipe, dataset, broken, Monitor())
    assert not run.training.exists()
    assert run.model.read_bytes() == whole.run(recipe, dataset.identity).model.read_bytes()


def test_a_resumed_training_does_not_start_anew(
    recipe: Recipe, dataset: Dataset, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "train", partial(train, save_seconds=0))
    with pytest.raises(Stop):
        realise(recipe, dataset, store, stop_after(7))
    epochs: list[object] = []

    class Listener(Monitor):
        def record(self, event: str, facts: Mapping[str, object]) -> None:
            epochs.append(facts["epoch"])

    realise(recipe, dataset, store, Listener())
    assert epochs == [3]


@pytest.fixture
def weights(recipe: Recipe, tmp_path: Path) -> Callable[[tuple[str, ...]], Path]:
    """Writes a checkpoint of the recipe's network for these classes."""

    def write(classes: tuple[str, ...]) -> Path:
        first = recipe.steps[0]
        assert isinstance(first, Load)
        path = tmp_path / f"{len(classes)}.safetensors"
        module.load(first, classes, seed=9).save(path)
        return path

    return write


def test_starts_from_weights_of_the_digest(
    dataset: Dataset, store: Store, weights: Callable[[tuple[str, ...]], Path]
) -> None:
    path = weights(dataset.classes)
    start = Recipe(steps=(Load(weights=str(path), sha256=sha256(path)),))
    assert same(realise(start, dataset, store, Monitor()), Checkpoint.load(path))


def test_changed_weights_are_refused(
    dataset: Dataset, store: Store, weights: Callable[[tuple[str, ...]], Path]
) -> None:
    path = weights(dataset.classes)
    start = Recipe(steps=(Load(weights=str(path), sha256="0" * 64), MORE))
    with pytest.raises(CheckpointError, match=r"3\.safetensors: expected SHA-256 000000000000\.\.\., found"):
        realise(start, dataset, store, Monitor())
    assert not store.run(start, dataset.identity).model.exists()


def test_weights_for_other_classes_get_a_new_classifier(
    dataset: Dataset, store: Store, weights: Callable[[tuple[str, ...]], Path]
) -> None:
    path = weights(("x", "y", "z", "w", "v"))
    found = realise(Recipe(steps=(Load(weights=str(path), sha256=sha256(path)),)), dataset, store, Monitor())
    before = Checkpoint.load(path)
    assert found.tensors["fc.weight"].shape[0] == 3
    assert torch.equal(found.tensors["conv1.weight"], before.tensors["conv1.weight"])


def test_a_teacher_must_know_the_classes(
    recipe: Recipe, dataset: Dataset, store: Store, weights: Callable[[tuple[str, ...]], Path]
) -> None:
    path = weights(("x", "y"))
    taught = MORE.model_copy(update={"teacher": Teacher(weights=str(path), sha256=sha256(path))})
    with pytest.raises(CheckpointError, match=r"expected the data's classes .*, found x, y"):
        realise(Recipe(steps=(recipe.steps[0], taught)), dataset, store, Monitor())


def test_a_teacher_from_a_file_teaches(
    recipe: Recipe, dataset: Dataset, store: Store, weights: Callable[[tuple[str, ...]], Path]
) -> None:
    path = weights(dataset.classes)
    taught = MORE.model_copy(update={"teacher": Teacher(weights=str(path), sha256=sha256(path))})
    first = recipe.steps[0]
    with_teacher = realise(Recipe(steps=(first, taught)), dataset, store, Monitor())
    without = realise(Recipe(steps=(first, MORE)), dataset, store, Monitor())
    assert not same(with_teacher, without)


def test_the_network_of_the_recipe_decides(recipe: Recipe, dataset: Dataset, store: Store) -> None:
    first = recipe.steps[0]
    assert isinstance(first, Load)
    assert isinstance(first.network, Network)
    start = realise(recipe.prefix(1), dataset, store, Monitor())
    expected = first.network.model_copy(update={"head": first.network.head.model_copy(update={"classes": 3})})
    assert start.network == expected
    assert not store.folder.exists()


def test_weights_without_a_digest_are_refused(
    dataset: Dataset, store: Store, weights: Callable[[tuple[str, ...]], Path]
) -> None:
    path = weights(dataset.classes)
    with pytest.raises(SpecError, match=f"expected its sha256 beside it.*it is {sha256(path)}"):
        realise(Recipe(steps=(Load(weights=str(path)),)), dataset, store, Monitor())


def test_a_morph_says_what_grew_and_how_answers_changed(recipe: Recipe, dataset: Dataset, store: Store) -> None:
    listener = Listener()
    gates = Morph(edits=(Edit(path="stages[*].blocks[*].attention", value="se"),))
    swish = Morph(edits=(Edit(path="activation", value="swish"),))
    grown = realise(recipe.then(gates, swish), dataset, store, listener)
    assert grown.provenance is not None
    assert grown.provenance["morph"] == "attention (exact); then activation (rounding)"
    assert grown.provenance["morph_difference"].startswith("a logit by at most 0 on 24 training images; then a logit")
    said = [line for line in listener.said if line.startswith("morph")]
    assert said[0] == "morph: attention (exact); changes a logit by at most 0 on 24 training images"
    found = re.fullmatch(
        r"morph: attention.*; then activation \(rounding\); changes a logit by at most (\S+) on 24 .*", said[1]
    )
    assert found is not None and 0 <= float(found[1]) < 1e-4
    plain = Train(epochs=1, batch=8)
    trained = realise(recipe.then(gates, swish, plain), dataset, store, listener)
    assert trained.network == grown.network.settled() != grown.network


@pytest.fixture
def resized(digits: Dataset, narrow: Callable[..., Network]) -> Recipe:
    """Trained at 16 pixels, resized to 12, pruned in two rounds, each with a recovery taught at 16 pixels."""
    network = narrow((1,), width=32)
    prune = partial(Prune, samples=32, since=3)
    recovery = MORE.model_copy(update={"teacher": Teacher(after=2)})
    steps = (Load(network=network), MORE, Resize(size=12), prune(keep=0.7), recovery, prune(keep=0.5), recovery)
    return Recipe(steps=steps, seed=1)


def test_what_follows_a_resize_learns_from_the_same_examples_at_the_new_size(
    resized: Recipe, digits: Dataset, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, str]] = []

    def watched(checkpoint: Checkpoint, step: Train, dataset: Dataset, *given: object, **named: object) -> Checkpoint:
        seen.append((checkpoint.network.inputs[0].height, dataset.identity))
        assert dataset.split("train").names == digits.split("train").names
        return train(checkpoint, step, dataset, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "train", watched)
    result = realise(resized, digits, store, Monitor())
    small = digits.fitted(result.network.inputs)
    assert result.network.inputs[0].height == 12
    assert seen == [(16, digits.identity), (12, small.identity), (12, small.identity)]
    assert store.run(resized, digits.identity).model.exists(), "kept under the data that the job was opened with"
    assert result.provenance is not None
    assert result.provenance["dataset"] == small.identity
    whole = realise(resized.prefix(3), digits, store, Monitor())
    assert whole.provenance is not None
    assert whole.provenance["dataset"] == small.identity
    assert same(whole, realise(resized.prefix(2), digits, store, Monitor()))
    assert 0.4 < cost(result.network).gmacs / cost(whole.network).gmacs <= 0.5
    damage = Damage.read(store.run(resized.prefix(6), digits.identity).folder / "damage.json")
    assert damage.comparison.old.n == len(digits.split("val"))


def test_images_in_memory_cannot_be_resized(recipe: Recipe, dataset: Dataset, store: Store) -> None:
    with pytest.raises(DataError, match="only what open_dataset opens can be fitted to another size"):
        realise(recipe.then(Resize(size=8), MORE), dataset, store, Monitor())
