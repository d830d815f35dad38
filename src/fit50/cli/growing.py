"""The verb that grows a trained network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fit50.cli.options import (
    DryRun,
    Json,
    Pair,
    Seed,
    Set,
    emit,
    file_digest,
    network_edits,
    refuse_other,
    resident,
    split_seed,
)
from fit50.cli.screen import Screen
from fit50.spec.digest import digest
from fit50.spec.errors import CheckpointError
from fit50.spec.recipe import Load, Morph, Recipe


def morph(
    model: Annotated[str, Parameter(help="Weights of a trained network.")],
    data: Annotated[str, Parameter(help="Images, on which the difference of the answers is measured.")],
    *,
    depths: Annotated[str | None, Parameter(help="Blocks of each stage, such as 3,4,9,3.")] = None,
    pair: Pair = None,
    widening: Annotated[float | None, Parameter(help="Multiplies the widths inside all blocks.")] = None,
    seed: Seed = None,
    output: Annotated[Path, Parameter(help="The file to write.")] = Path("grown.safetensors"),
    out: Path = Path("runs"),
    set_: Set = (),
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Grow a trained network, where possible without changing one answer; train it afterwards.

    Example: fit50 morph model.safetensors photos/ --set "stages[*].blocks[*].attention=cbam" --output grown.safetensors
    """
    from fit50.nn.cost import cost
    from fit50.pipeline.realise import realise
    from fit50.pipeline.store import Store
    from fit50.weights.foreign import load_weights, refuse_other_classes
    from fit50.weights.surgery import grown, plan

    given = {"depths": depths and depths.split(","), "widening": widening, "edits": network_edits(set_)}
    step = Morph.parse(given, "morph")
    before = load_weights(model)
    growths = plan(before.network, grown(before.network, step))
    if not growths:
        raise CheckpointError(f"{model}: has all of that; expected --depths, --widening or --set to add something")
    drawn = split_seed(seed, before.provenance)
    recipe = Recipe(steps=(Load(weights=model, sha256=file_digest(model)), step), seed=drawn)
    if dry_run:
        steps = ", ".join(f"{growth.aspect.name} ({growth.aspect.exactness})" for growth in growths)
        emit(recipe.canonical(), f"would grow {steps} by:\n\n{recipe.yaml()}", as_json)
        return
    refuse_other(output, recipe)
    screen = Screen()
    dataset = resident(data, before.network, out, drawn, screen, pair)
    refuse_other_classes(before, dataset.classes, model)
    checkpoint = realise(recipe, dataset, Store(out / "steps"), screen)
    facts, counted = {**(checkpoint.provenance or {}), "recipe": digest(recipe)}, cost(checkpoint.network)
    replace(checkpoint, provenance=facts).save(output)
    second = " --pair FOLDER" if len(checkpoint.network.inputs) == 2 else ""
    emit(
        {"model": str(output), "parameters": counted.parameters, "gmacs": counted.gmacs, **facts},
        f"{output}: {counted.parameters:,} parameters, {counted.gmacs:.3g} GMACs; grown: {facts['morph']}; "
        f"changes {facts['morph_difference']}; train it with: fit50 train {data}{second} --start {output} "
        "--output trained.safetensors",
        as_json,
    )
