"""From a recipe to its checkpoint: each step performed once, finished prefixes reused."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from fit50.compress import prune, quantize
from fit50.compress.damage import JUDGES, checkpoint_damage
from fit50.data.dataset import Dataset
from fit50.evaluate.metrics import largest_difference
from fit50.nn.compose import compose
from fit50.pipeline.store import Run, RunLog, Store
from fit50.runtimes.base import sha256
from fit50.spec.digest import digest
from fit50.spec.errors import CheckpointError, SpecError
from fit50.spec.files import write_text
from fit50.spec.monitor import Monitor
from fit50.spec.numerics import Float32
from fit50.spec.recipe import Load, Morph, Prune, Quantize, Recipe, Resize, Step
from fit50.spec.training import Teacher, Train
from fit50.train import train
from fit50.train.devices import ONE, Devices
from fit50.train.logging import Logging, loggers
from fit50.train.teachers import Teaching, teaching
from fit50.weights.checkpoint import Checkpoint
from fit50.weights.foreign import fit_classes, load_weights, redrawn
from fit50.weights.origin import local_file
from fit50.weights.surgery import morph


@dataclass(frozen=True)
class _Work:
    """What every step of a recipe needs."""

    dataset: Dataset
    store: Store
    monitor: Monitor
    devices: Devices
    trackers: Sequence[str]


def realise(
    recipe: Recipe,
    dataset: Dataset,
    store: Store,
    monitor: Monitor,
    *,
    devices: Devices = ONE,
    trackers: Sequence[str] = (),
) -> Checkpoint:
    """The checkpoint that a recipe leads to on a data set.

    The results of Train, Prune and QAT (that once, whatever a file may lose) are kept in the store, and the longest
    finished prefix is taken from there; the other steps take no time worth keeping. A killed call, repeated, goes on
    where it was and ends with the same bits.

    Args:
        recipe: the steps.
        dataset: what they learn from; after a Resize, the same examples at the new size.
        store: where they are kept.
        monitor: told of everything.
        devices: that train.
        trackers: where the figures of training go besides the run's folder (see ``loggers``).
    """
    return _realise(recipe, _Work(dataset, store, monitor, devices, trackers))


def _realise(recipe: Recipe, work: _Work) -> Checkpoint:
    last = recipe.steps[-1]
    if isinstance(last, Quantize) and last.trains and last != last.for_any_loss:
        trained = _realise(recipe.prefix(len(recipe.steps) - 1).then(last.for_any_loss), work)
        return replace(trained, numerics=trained.numerics.model_copy(update={"max_drop": last.max_drop}))
    keeps = isinstance(last, Train | Prune) or (isinstance(last, Quantize) and last.trains)
    run = work.store.run(recipe, work.dataset.identity) if keeps else None
    if run is not None and run.model.exists():
        return Checkpoint.load(run.model)
    if isinstance(last, Load):
        return load(last, work.dataset.classes, recipe.seed)
    before = _realise(recipe.prefix(len(recipe.steps) - 1), work)
    if run is not None and work.store.writes:
        work = replace(work, monitor=RunLog(run, work.monitor))
    if len(recipe.steps) == 2 and (reason := redrawn(before)):
        work.monitor.say(f"the classifier is {reason}")
        work.monitor.record("classifier", {"classifier": reason})
    result = _performed(before, last, recipe, work, run)
    if run is not None and work.store.writes:
        learned = work.dataset.fitted(result.network.inputs)
        result = with_origin(result, recipe, learned.identity)
        if isinstance(last, Prune):
            _report_damage(before, result, learned, work.monitor, run)
        result.save(run.model)
        run.training.unlink(missing_ok=True)
    return result


def with_origin(checkpoint: Checkpoint, recipe: Recipe, dataset: str) -> Checkpoint:
    """The checkpoint with what made it in its provenance: the recipe, on the data set with this identity."""
    origin = {"recipe": digest(recipe), "dataset": dataset, "seed": str(recipe.seed)}
    return replace(checkpoint, provenance={**(checkpoint.provenance or {}), **origin})


def _performed(before: Checkpoint, step: Step, recipe: Recipe, work: _Work, run: Run | None) -> Checkpoint:
    """One step after the first, by its type."""
    seed, dataset = step_seed(recipe), work.dataset.fitted(before.network.inputs)
    match step:
        case Morph():
            return _morphed(before, step, dataset, seed, work.monitor)
        case Train():
            assert run is not None
            return _trained(before, step, recipe, dataset, work, run)
        case Resize():
            return _resized(before, step, dataset)
        case Prune():
            whole = _realise(recipe.prefix(step.since), work) if step.since else before
            return prune(before, step, dataset, seed=seed, monitor=work.monitor, whole=whole)
        case Quantize():
            saved = run.training if run is not None else None
            return quantize(before, step, dataset, seed=seed, saved=saved, monitor=work.monitor)
        case Load():
            raise AssertionError("a recipe loads only in its first step")
        case _:
            assert_never(step)


def _trained(before: Checkpoint, step: Train, recipe: Recipe, dataset: Dataset, work: _Work, run: Run) -> Checkpoint:
    """What training makes, with its figures in the run's folder and wherever else they shall go."""
    teacher = _teacher(step.teacher, before, recipe, work) if step.teacher else None
    kept = loggers(work.trackers, run.folder) if work.store.writes else []
    with Logging(kept, step.model_dump(), work.monitor) as monitor:
        return train(
            before,
            step,
            dataset,
            seed=step_seed(recipe),
            saved=run.training,
            monitor=monitor,
            teaching=teacher,
            devices=work.devices,
        )


def _resized(before: Checkpoint, step: Resize, dataset: Dataset) -> Checkpoint:
    """The checkpoint for images of another size; if it learned from these examples, it is still known to have."""
    network, facts = before.network.sized(step.size), dict(before.provenance or {})
    if facts.get("dataset") == dataset.identity:
        facts["dataset"] = dataset.fitted(network.inputs).identity
    return replace(before, network=network, provenance=facts)


def _report_damage(before: Checkpoint, after: Checkpoint, dataset: Dataset, monitor: Monitor, run: Run) -> None:
    """Says what a pruning broke, judged on validation images before any recovery, and keeps it in the run's folder."""
    images = dataset.split("val").take(JUDGES, 0)
    found = checkpoint_damage(before, after, images, dataset.classes)
    write_text(run.folder / "damage.json", found.model_dump_json(indent=1))
    monitor.say(f"prune, before recovery: validation accuracy {found}")


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
    """Where a recipe starts, in float32, with a classifier for these classes. Raises CheckpointError."""
    if step.weights is None:
        assert step.network is not None
        head = step.network.head.model_copy(update={"classes": len(classes)})
        network = step.network.model_copy(update={"head": head})
        return Checkpoint(network, compose(network, seed=seed).state_dict(), classes)
    return replace(fit_classes(_file(step.weights, step.sha256, step), classes, seed), numerics=Float32())


def _file(weights: str, expected: str | None, step: Load | None = None) -> Checkpoint:
    _refuse_changed(weights, expected)
    checkpoint = load_weights(weights)
    if step is not None and step.network is not None:
        head = step.network.head.model_copy(update={"classes": checkpoint.network.head.classes})
        checkpoint = checkpoint.with_(network=step.network.model_copy(update={"head": head}))
    return checkpoint


def _refuse_changed(weights: str, expected: str | None) -> None:
    """Raises CheckpointError unless the file has this SHA-256, SpecError where none is given."""
    found = sha256(local_file(weights))
    if expected is None:
        raise SpecError(f"{weights}: expected its sha256 beside it, lest a changed file go unnoticed; it is {found}")
    if found != expected:
        raise CheckpointError(
            f"{weights}: expected SHA-256 {expected[:12]}..., found {found[:12]}...; the file was changed"
        )


def _teacher(teacher: Teacher, student: Checkpoint, recipe: Recipe, work: _Work) -> Teaching:
    """Who answers for a training's teacher. Raises CheckpointError where its classes are not the data set's."""
    for each in teacher.files:
        _refuse_changed(each.weights, each.sha256)
    after = None
    if teacher.after is not None:
        after = _realise(recipe.prefix(teacher.after), work)
    return teaching(teacher, after, student.network.inputs, work.dataset.classes)
