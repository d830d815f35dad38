"""Verbs that make weights and bundles of trained networks. Each imports torch only when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
    resident,
    settings,
    split_seed,
)
from fit50.cli.screen import Screen
from fit50.spec.digest import edit
from fit50.spec.errors import BundleError, CheckpointError, SpecError
from fit50.spec.machine import physical_cores
from fit50.spec.monitor import Monitor
from fit50.spec.numerics import Float32, Half, Numerics
from fit50.spec.presets import EFFORTS
from fit50.spec.recipe import Load, Prune, Quantize, Recipe, Resize
from fit50.spec.runtimes import Deployable, RuntimeName
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
    if recover:
        trained = EFFORTS["quick"].recover.model_copy(update={"teacher": Teacher(after=1)})
        recovery = edited(edit(trained, "epochs", recover), known["train"])
    from fit50.compress.depth import refuse_depths
    from fit50.compress.groups import groups
    from fit50.search.space import pruning_rounds, refuse_larger
    from fit50.weights.foreign import load_weights

    start = load_weights(model)
    steps: tuple[Prune | Train, ...] = (recovery,) if recovery else ()
    if pruning is not None:
        groups(start.network)  # refuses what cannot be pruned before anything is read
        steps = pruning_rounds(pruning, rounds, recovery, begun=1 + len(resized))
        if pruning.depths is not None:
            refuse_depths(start.network, pruning.depths)
    if image_size is not None:
        refuse_larger(start.network, image_size, recovery, "--image-size")
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
    from fit50.pipeline.realise import realise
    from fit50.pipeline.store import Store
    from fit50.report.damage import damage_text
    from fit50.train.devices import devices, launched
    from fit50.weights.foreign import refuse_other_classes

    if output.is_dir():
        raise CheckpointError(f"{output}: expected a file to write, found a folder; choose another --output")
    used = devices(*asked)
    fabric = launched(used)
    screen = Screen() if fabric.is_global_zero else Monitor()
    first = recipe.steps[0]
    assert isinstance(first, Load)
    network = start.network if start else first.network
    assert network is not None
    with fabric.rank_zero_first():
        dataset = resident(data, network, out, recipe.seed, screen, pair)
        for step in recipe.steps:
            if isinstance(step, Resize):
                dataset.fitted(network.sized(step.size).inputs)
    if start:
        refuse_other_classes(start, dataset.classes, str(first.weights))
    screen.say(dataset.audit.summary())
    store = Store(out / "steps", writes=fabric.is_global_zero)
    checkpoint = realise(recipe, dataset, store, screen, devices=used, trackers=trackers)
    if not fabric.is_global_zero:
        return
    checkpoint.save(output)
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


def quantize(
    model: Path,
    data: str,
    *,
    pair: Pair = None,
    runtime: Deployable = "openvino",
    method: Annotated[
        Literal["ptq", "qat"],
        Parameter(help="After training, from the ranges of the activations; or by training through the rounding."),
    ] = "ptq",
    max_drop: Annotated[float, Parameter(help="Points of validation accuracy that int8 may lose.")] = 1.0,
    samples: Annotated[int, Parameter(help="Training images for the ranges of the activations.")] = 300,
    seed: Seed = None,
    output: Annotated[Path, Parameter(help="The bundle's folder.")] = Path("int8"),
    out: Path = Path("runs"),
    set_: Set = (),
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make an int8 bundle of a trained network, within a loss of accuracy; and say what it loses.

    Example: fit50 quantize model.safetensors photos/ --runtime openvino --max-drop 0.5 --output int8/

    Example: fit50 quantize model.safetensors photos/ --method qat --quantize.epochs 5 --quantize.lr 0.005
    """
    for text in set_:
        if not text.startswith("quantize."):
            raise SpecError(f"--set {text}: expected a field of quantize, such as quantize.epochs=5")
    fields = tuple(text.removeprefix("quantize.") for text in set_)
    given = Quantize.parse({"method": method, "samples": samples, "max_drop": max_drop}, "quantize")
    step = edited(given, fields)
    if step.to != "int8":
        raise SpecError(f"quantize: expected int8, found {step.to}; fit50 export --precision {step.to} makes that")
    if dry_run:
        emit(step.canonical(), f"would quantise {model} for {runtime} into {output}:\n{step.yaml()}", as_json)
        return
    from fit50.compress.damage import damage
    from fit50.compress.quantize import calibration
    from fit50.pipeline.answers import file_answer, module_answer
    from fit50.pipeline.realise import realise
    from fit50.pipeline.store import Store
    from fit50.report.damage import damage_text
    from fit50.runtimes import runtime as runtime_named
    from fit50.weights.foreign import load_weights, refuse_other_classes

    _refuse_existing(output)
    checkpoint = load_weights(model)
    drawn = split_seed(seed, checkpoint.provenance)
    screen = Screen()
    dataset = resident(data, checkpoint.network, out, drawn, screen, pair)
    refuse_other_classes(checkpoint, dataset.classes, str(model))
    recipe = Recipe(steps=(Load(weights=str(model), sha256=file_digest(model)), step), seed=drawn)
    form = realise(recipe, dataset, Store(out / "steps"), screen)
    bundle = runtime_named(runtime).export(form, output, calibration(form, dataset, seed=drawn))
    lost = damage(
        module_answer(checkpoint), file_answer(bundle, physical_cores()), dataset.split("val"), dataset.classes, drawn
    )
    size = f"{output}: {bundle.size:.2f} MB, int8, {runtime}"
    text = f"{size}\n\nbefore: the trained network in float32; after: the file\n{damage_text(lost)}"
    emit({"bundle": str(output), "size_mb": bundle.size, "damage": lost.model_dump()}, text, as_json)


def export(
    model: Path,
    *,
    runtime: RuntimeName = "openvino",
    precision: Annotated[
        Literal["float32", "bf16", "fp16"], Parameter(help="What the file computes in; quantize makes int8.")
    ] = "float32",
    output: Annotated[Path, Parameter(help="The bundle's folder.")] = Path("bundle"),
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make a bundle of a trained network, in float32 or, where the processor has it, half precision.

    Example: fit50 export model.safetensors --runtime onnxruntime --output bundle/

    Example: fit50 export model.safetensors --precision bf16 --output bundle/
    """
    if dry_run:
        emit({"bundle": str(output)}, f"would export {model} for {runtime} in {precision} into {output}", as_json)
        return
    from fit50.runtimes import runtime as runtime_named
    from fit50.weights.foreign import load_weights

    _refuse_existing(output)
    numerics: Numerics = Float32() if precision == "float32" else Half(kind=precision)
    bundle = runtime_named(runtime).export(replace(load_weights(model), numerics=numerics), output)
    text = f"{output}: {bundle.size:.2f} MB, {precision}, {runtime}"
    emit({"bundle": str(output), "size_mb": bundle.size}, text, as_json)


def _refuse_existing(output: Path) -> None:
    if output.exists():
        raise BundleError(
            f"{output}: expected a new folder, found one that exists; choose another --output or remove it"
        )
