"""The verb that makes trained networks smaller, and what it shares with the one that trains them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from fit50.cli.options import (
    DryRun,
    Json,
    Pair,
    Seed,
    Set,
    edited,
    emit,
    file_digest,
    refuse_other,
    resident,
    settings,
    split_seed,
)
from fit50.cli.screen import Screen
from fit50.spec.digest import edit
from fit50.spec.errors import SpecError
from fit50.spec.monitor import Monitor
from fit50.spec.presets import EFFORTS
from fit50.spec.recipe import Load, Prune, Recipe, Resize
from fit50.spec.training import Teacher, Train

if TYPE_CHECKING:
    from fit50.weights.checkpoint import Checkpoint


def provenance(weights: Path | str | None) -> Mapping[str, str] | None:
    """What weights say of how they came about. Raises what loading them does."""
    from fit50.weights.foreign import load_weights

    return load_weights(weights).provenance if weights else None


def prune(
    model: Path,
    data: str,
    *,
    pair: Pair = None,
    keep: Annotated[
        float | None, Parameter(help="The fraction of the cost to keep; 0.5 where nothing says what shall leave.")
    ] = None,
    of: Annotated[
        Literal["gmacs", "parameters", "size", "latency"],
        Parameter(help="Which cost; size and latency are those of the file that --prune.runtime runs, measured here."),
    ] = "gmacs",
    most: Annotated[
        float | None, Parameter(help="The cost itself: GMACs, millions of parameters, megabytes, or milliseconds.")
    ] = None,
    depths: Annotated[str | None, Parameter(help="The new number of blocks of each stage, such as 3,3,4,2.")] = None,
    image_size: Annotated[
        int | None, Parameter(validator=Number(gte=1), help="The input's new height and width in pixels.")
    ] = None,
    rounds: Annotated[
        int, Parameter(validator=Number(gte=1), help="Prunings in which --keep is reached, each with its recovery.")
    ] = 1,
    recover: Annotated[
        int, Parameter(help="Epochs of training after each round, taught by the model as it was given.")
    ] = 15,
    seed: Seed = None,
    output: Path = Path("pruned.safetensors"),
    out: Path = Path("runs"),
    set_: Set = (),
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Remove channels, whole blocks or pixels from a trained network, then train it to recover.

    Example: fit50 prune model.safetensors photos/ --keep 0.35 --prune.importance bn --recover 15

    Example: fit50 prune model.safetensors photos/ --depths 3,3,4,2

    Example: fit50 prune model.safetensors photos/ --image-size 160 --keep 0.25 --rounds 3

    Example: fit50 prune model.safetensors photos/ --of latency --most 5 --prune.runtime openvino --prune.precision int8
    """
    known = {
        "prune": tuple(text.removeprefix("prune.") for text in set_ if text.startswith("prune.")),
        "train": tuple(text.removeprefix("train.") for text in set_ if text.startswith("train.")),
    }
    for text in set_:
        if not text.startswith(("prune.", "train.")):
            raise SpecError(f"--set {text}: expected a field of prune or train, such as prune.importance=bn")
    fields = {"keep": keep, "of": of, "most": most, "depths": depths and depths.split(","), **settings(known["prune"])}
    removes = any(fields[name] is not None for name in ("keep", "most", "depths"))
    if not removes and image_size is None:
        fields["keep"], removes = 0.5, True
    if not removes and (known["prune"] or of != "gmacs" or rounds > 1):
        raise SpecError(
            "prune: expected --keep, --most or --depths with the options of pruning, found --image-size alone"
        )
    pruning = Prune.parse(fields, "prune") if removes else None
    resized = () if image_size is None else (Resize(size=image_size),)
    recovery = None
    if known["train"] and not recover:
        raise SpecError(
            "prune: expected no options of the training without one (--recover 0), found --train; leave it out"
        )
    if recover:
        trained = EFFORTS["quick"].recover.model_copy(update={"teacher": Teacher(after=1)})
        recovery = edited(edit(trained, "epochs", recover), known["train"])
    from fit50.compress.depth import refuse_depths
    from fit50.compress.groups import groups
    from fit50.compress.widths import refuse_unreachable
    from fit50.search.space import pruning_rounds, refuse_larger
    from fit50.weights.foreign import load_weights

    start = load_weights(model)
    whole = start.network
    if image_size is not None:
        refuse_larger(whole, image_size, recovery, "--image-size")
        whole = whole.sized(image_size)
    steps: tuple[Prune | Train, ...] = (recovery,) if recovery else ()
    if pruning is not None:
        groups(start.network)  # refuses what cannot be pruned before anything is read
        steps = pruning_rounds(pruning, rounds, recovery, begun=1 + len(resized))
        refuse_unreachable(whole, (step for step in steps if isinstance(step, Prune)))
        if pruning.depths is not None:
            refuse_depths(start.network, pruning.depths)
    loaded = Load(weights=str(model), sha256=file_digest(model))
    drawn = split_seed(seed, start.provenance)
    recipe = Recipe.parse({"steps": (loaded, *resized, *steps), "seed": drawn}, "prune")
    make(recipe, data, output, out, dry_run, as_json, pair, start=start)


def make(
    recipe: Recipe,
    data: str,
    output: Path,
    out: Path,
    dry_run: bool,
    as_json: bool,
    pair: str | None = None,
    asked: tuple[int | None, int | None] = (None, None),
    trackers: tuple[str, ...] = (),
    start: Checkpoint | None = None,
) -> None:
    """Realises a recipe on the devices of so many machines, and writes its checkpoint to ``output``.

    ``start`` is what the recipe loads where that says no network; the data must then have its classes.
    """
    if trackers:
        from fit50.train.logging import refuse_missing

        refuse_missing(trackers)
    if dry_run:
        emit(recipe.canonical(), recipe.yaml(), as_json)
        return
    from fit50.compress.damage import damage
    from fit50.evaluate.intervals import accuracy
    from fit50.nn.cost import cost
    from fit50.pipeline.answers import module_answer, module_answers
    from fit50.pipeline.realise import realise, with_origin
    from fit50.pipeline.store import Store
    from fit50.report.damage import damage_text
    from fit50.train.devices import devices, launched
    from fit50.weights.foreign import refuse_other_classes

    refuse_other(output, recipe)
    used = devices(*asked)
    fabric = launched(used)
    screen = Screen() if fabric.is_global_zero else Monitor()
    first = recipe.steps[0]
    assert isinstance(first, Load)
    network = start.network if start else first.network
    assert network is not None
    with fabric.rank_zero_first():
        dataset = resident(data, network, out, recipe.seed, screen, pair)
        learned = dataset
        for step in recipe.steps:
            if isinstance(step, Resize):
                learned = dataset.fitted(network.sized(step.size).inputs)
    refuse_other(output, recipe, learned.identity)
    if start:
        refuse_other_classes(start, dataset.classes, str(first.weights))
    screen.say(dataset.audit.summary())
    store = Store(out / "steps", writes=fabric.is_global_zero)
    checkpoint = realise(recipe, dataset, store, screen, devices=used, trackers=trackers)
    if not fabric.is_global_zero:
        return
    with_origin(checkpoint, recipe, learned.identity).save(output)
    counted, lost = cost(checkpoint.network), None
    fitted = dataset.fitted(checkpoint.network.inputs)
    if start:
        answers = module_answer(start), module_answer(checkpoint)
        other = fitted.split("val") if fitted is not dataset else None
        lost = damage(*answers, dataset.split("val"), dataset.classes, resized=other)
    found = lost.comparison.new if lost else accuracy(module_answers(checkpoint, fitted.split("val")))
    text = f"{output}: {counted.parameters:,} parameters, {counted.gmacs:.3g} GMACs, validation accuracy {found}"
    facts = {"file": str(output), "parameters": counted.parameters, "gmacs": counted.gmacs}
    facts["validation"] = found.model_dump()
    if lost:
        facts["damage"] = lost.model_dump()
        text += f"\n\nbefore: {first.weights}; after: {output}\n{damage_text(lost)}"
    emit(facts, text, as_json)
