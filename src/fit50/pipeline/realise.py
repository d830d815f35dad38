"""From a recipe to its checkpoint: each step performed once, finished prefixes reused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from torch import nn

from fit50.compress import prune, quantize
from fit50.data.dataset import Dataset
from fit50.evaluate.metrics import largest_difference
from fit50.nn.compose import compose
from fit50.pipeline.store import RunLog, Store
from fit50.runtimes.base import sha256
from fit50.spec.digest import digest
from fit50.spec.errors import CheckpointError, SpecError
from fit50.spec.monitor import Monitor
from fit50.spec.recipe import Load, Morph, Prune, Quantize, Recipe, Step
from fit50.spec.training import Teacher, Train
from fit50.train import train
from fit50.weights.checkpoint import Checkpoint
from fit50.weights.foreign import fit_classes, load_weights, redrawn, refuse_other_classes
from fit50.weights.origin import local_file
from fit50.weights.surgery import morph


def realise(recipe: Recipe, dataset: Dataset, store: Store, monitor: Monitor) -> Checkpoint:
    """The checkpoint that a recipe leads to on a data set.

    The results of Train and Prune are kept in the store, and the longest finished prefix is taken from there; the
    other steps take no time worth keeping. A killed call, repeated, goes on where it was and ends with the same bits.
    """
    last = recipe.steps[-1]
    keeps = isinstance(last, Train | Prune)
    run = store.run(recipe, dataset.identity) if keeps else None
    if run is not None and run.model.exists():
        return Checkpoint.load(run.model)
    if isinstance(last, Load):
        return load(last, dataset.classes, recipe.seed)
    before = realise(recipe.prefix(len(recipe.steps) - 1), dataset, store, monitor)
    if run is not None:
        monitor = RunLog(run, monitor)
    if len(recipe.steps) == 2 and (reason := redrawn(before)):
        monitor.say(f"the classifier is {reason}")
        monitor.record("classifier", {"classifier": reason})
    if run is None:
        return _performed(before, last, recipe, dataset, store, monitor, Path())
    result = _performed(before, last, recipe, dataset, store, monitor, run.training)
    origin = {"recipe": digest(recipe), "dataset": dataset.identity, "seed": str(recipe.seed)}
    result = replace(result, provenance={**(result.provenance or {}), **origin})
    result.save(run.model)
    run.training.unlink(missing_ok=True)
    return result


def _performed(
    before: Checkpoint, step: Step, recipe: Recipe, dataset: Dataset, store: Store, monitor: Monitor, training: Path
) -> Checkpoint:
    """One step after the first, by its type."""
    seed = step_seed(recipe)
    match step:
        case Morph():
            return _morphed(before, step, dataset, seed, monitor)
        case Train():
            teacher = _teacher(step.teacher, before, recipe, dataset, store, monitor) if step.teacher else None
            return train(before, step, dataset, seed=seed, saved=training, monitor=monitor, teacher=teacher)
        case Prune():
            return prune(before, step, dataset, seed=seed)
        case Quantize():
            return quantize(before, step, dataset)
        case Load():
            raise AssertionError("a recipe loads only in its first step")
        case _:
            assert_never(step)


def _morphed(before: Checkpoint, step: Morph, dataset: Dataset, seed: int, monitor: Monitor, n: int = 64) -> Checkpoint:
    """The grown checkpoint; what it grew, and how its answers changed on real images, is said and kept with it."""
    after = morph(before, step, seed)
    images = dataset.split("train").take(n, seed)
    largest = largest_difference(before, after, images)
    facts = dict(after.provenance or {})
    found = f"a logit by at most {largest:.2g} on {len(images)} training images"
    monitor.say(f"morph: {facts['morph']}; changes {found}")
    earlier = facts.get("morph_difference")
    facts["morph_difference"] = f"{earlier}; then {found}" if earlier else found
    return replace(after, provenance=facts)


def step_seed(recipe: Recipe) -> int:
    """The seed of a recipe's last step: its own for each position."""
    return int(hashlib.sha256(f"{recipe.seed}:{len(recipe.steps)}".encode()).hexdigest()[:8], 16)


def load(step: Load, classes: tuple[str, ...], seed: int) -> Checkpoint:
    """Where a recipe starts, with a classifier for these classes. Raises CheckpointError."""
    if step.weights is None:
        assert step.network is not None
        head = step.network.head.model_copy(update={"classes": len(classes)})
        network = step.network.model_copy(update={"head": head})
        return Checkpoint(network, compose(network, seed=seed).state_dict(), classes)
    return fit_classes(_file(step.weights, step.sha256, step), classes, seed)


def _file(weights: str, expected: str | None, step: Load | None = None) -> Checkpoint:
    checkpoint = load_weights(weights)
    found = sha256(local_file(weights))
    if expected is None:
        raise SpecError(f"{weights}: expected its sha256 beside it, lest a changed file go unnoticed; it is {found}")
    if found != expected:
        raise CheckpointError(
            f"{weights}: expected SHA-256 {expected[:12]}..., found {found[:12]}...; the file was changed"
        )
    if step is not None and step.network is not None:
        head = step.network.head.model_copy(update={"classes": checkpoint.network.head.classes})
        checkpoint = checkpoint.with_(network=step.network.model_copy(update={"head": head}))
    return checkpoint


def _teacher(
    teacher: Teacher, student: Checkpoint, recipe: Recipe, dataset: Dataset, store: Store, monitor: Monitor
) -> nn.Module:
    """The teacher's module, in evaluation mode, which is shown what the student is shown.

    Raises CheckpointError where its classes are not the data set's, or its images were prepared otherwise.
    """
    if teacher.after is not None:
        return realise(recipe.prefix(teacher.after), dataset, store, monitor).module()
    assert teacher.weights is not None
    checkpoint = _file(teacher.weights, teacher.sha256)
    refuse_other_classes(checkpoint, dataset.classes, teacher.weights)
    if _prepared(checkpoint) != _prepared(student):
        raise CheckpointError(
            f"{teacher.weights}: expected a teacher whose images have the student's mean, std and order of channels, "
            f"{_prepared(student)}, found {_prepared(checkpoint)}; give the student the teacher's with --set "
            "network.inputs[0]..."
        )
    return checkpoint.module().requires_grad_(False)


def _prepared(checkpoint: Checkpoint) -> list[tuple[object, ...]]:
    return [(image.mean, image.std, image.order) for image in checkpoint.network.inputs]
