"""Verbs that make bundles of trained networks. Each imports torch only when it runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from fit50.cli.options import DryRun, Json, Pair, Seed, Set, edited, emit, file_digest, resident, split_seed
from fit50.cli.screen import Screen
from fit50.spec.errors import BundleError, RuntimeRefusal, SpecError
from fit50.spec.machine import isa, physical_cores
from fit50.spec.numerics import Float32, Half, Numerics
from fit50.spec.recipe import Load, Quantize, Recipe
from fit50.spec.request import Device
from fit50.spec.runtimes import Deployable, RuntimeName


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
    if step.saturates:
        raise SpecError("quantize: expected no saturates, which this machine's processor decides; leave it out")
    if step.to != "int8":
        raise SpecError(f"quantize: expected int8, found {step.to}; fit50 export --precision {step.to} makes that")
    from fit50.runtimes.base import saturates

    step = step.model_copy(update={"saturates": step.trains and saturates(isa())})
    if dry_run:
        emit(step.canonical(), f"would quantise {model} for {runtime} into {output}:\n{step.yaml()}", as_json)
        return
    from fit50.compress.damage import damage
    from fit50.compress.quantize import calibration
    from fit50.pipeline.answers import file_answer, module_answer
    from fit50.pipeline.realise import realise, step_seed
    from fit50.pipeline.store import Store
    from fit50.report.damage import damage_text
    from fit50.runtimes import runtime as runtime_named
    from fit50.runtimes.qat import refuse_missing
    from fit50.runtimes.remote import place_of
    from fit50.weights.foreign import load_weights, refuse_other_classes

    _refuse_existing(output)
    checkpoint, chosen = load_weights(model), runtime_named(runtime)
    if refusal := chosen.refusal(checkpoint.network, Device(), step.to, learned=step.trains):
        raise RuntimeRefusal(refusal)
    place_of(Device(), (runtime,))  # refuses what is not installed before the data is read
    if step.trains:
        refuse_missing()
    drawn = split_seed(seed, checkpoint.provenance)
    screen = Screen()
    dataset = resident(data, checkpoint.network, out, drawn, screen, pair)
    refuse_other_classes(checkpoint, dataset.classes, str(model))
    recipe = Recipe(steps=(Load(weights=str(model), sha256=file_digest(model)), step), seed=drawn)
    form = realise(recipe, dataset, Store(out / "steps"), screen)
    bundle = chosen.export(form, output, calibration(form, dataset, seed=step_seed(recipe)))
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
