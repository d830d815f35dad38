"""The verb that trains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from fit50.cli.making import make, provenance
from fit50.cli.options import DryRun, Json, Pair, Set, Weights, edited, file_digest, network_edits, split_seed
from fit50.spec.presets import EFFORTS
from fit50.spec.recipe import Load, Recipe
from fit50.spec.recipes import recipe as named
from fit50.spec.recipes import scaled
from fit50.spec.request import Request
from fit50.spec.training import Teacher


def train(
    data: str,
    *,
    pair: Pair = None,
    network: str = "resnet50",
    start: Weights = None,
    recipe: Annotated[
        str, Parameter(help="How: quick, classic, tv2, a1, a2, a3, finetune or lowdata; --train.FIELD changes it.")
    ] = "quick",
    batch: Annotated[
        int | None, Parameter(validator=Number(gte=2), help="Images in a step; the recipe's rate is scaled with it.")
    ] = None,
    teacher: Annotated[
        str | None,
        Parameter(help="A trained network to distil from: like --start, or a .onnx file, or timm:MODEL[:FILE]."),
    ] = None,
    image_size: int | None = None,
    devices: Annotated[
        int | None, Parameter(validator=Number(gte=1), help="GPUs of each machine, or processes where there are none.")
    ] = None,
    nodes: Annotated[int | None, Parameter(validator=Number(gte=1), help="Machines that train together.")] = None,
    log: Annotated[
        tuple[str, ...], Parameter(negative="", help="Trackers besides metrics.csv: tensorboard, mlflow, wandb.")
    ] = (),
    seed: Annotated[
        int | None,
        Parameter(
            validator=Number(gte=0),
            help="Of the splits, the first weights, the order of images, augmentation; by default that of --start.",
        ),
    ] = None,
    output: Annotated[Path, Parameter(help="The file to write.")] = Path("model.safetensors"),
    out: Path = Path("runs"),
    set_: Set = (),
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train a network on images.

    Example: fit50 train photos/ --network se-resnet50 --train.epochs 30 --output model.safetensors

    Example: fit50 train photos/ --recipe a2 --batch 1024 --devices 8 --nodes 4 --log tensorboard
    """
    edits = {text: text.removeprefix("train.") for text in set_ if text.startswith("train.")}
    named(recipe)  # refuses what is unknown before anything is read
    from fit50.search.start import start_network

    given: dict[str, object] = {
        "data": data,
        "pair": pair,
        "network": network,
        "start": start,
        "image_size": image_size,
        "seed": split_seed(seed, provenance(start) or (provenance(teacher) if _is_ours(teacher) else None)),
        "edits": network_edits(tuple(text for text in set_ if text not in edits)),
        "effort": EFFORTS["quick"],
    }
    request = Request.parse(given, "train")
    built = start_network(request, None if dry_run else out / "cache")
    step = named(recipe, size=min(built.inputs[0].height, built.inputs[0].width))
    if batch is not None:
        step = scaled(step, batch)
    if teacher is not None:
        step = step.model_copy(update={"teacher": Teacher(weights=teacher, sha256=file_digest(teacher))})
    step = edited(step, tuple(edits.values()))
    loaded = Load(network=built, weights=request.start, sha256=file_digest(start) if start else None)
    made = Recipe.parse({"steps": (loaded, step), "seed": request.seed}, "train")
    make(made, data, output, out, dry_run, as_json, pair, (devices, nodes), log)


def _is_ours(teacher: str | None) -> bool:
    """Whether a teacher is a file of fit50's own, which knows the splits that it was trained with."""
    from fit50.weights.reading import is_ours

    return teacher is not None and Path(teacher).is_file() and is_ours(Path(teacher))
