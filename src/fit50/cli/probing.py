"""The verb that says what int8 would cost, before any file is made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from fit50.cli.options import Json, Pair, Seed, emit, resident, split_seed
from fit50.cli.screen import Screen

_COUNT = Number(gte=1)


def probe(
    model: Path,
    data: str,
    *,
    pair: Pair = None,
    max_drop: Annotated[
        float, Parameter(validator=Number(gte=0), help="Points of validation accuracy that int8 may lose.")
    ] = 1.0,
    samples: Annotated[
        int, Parameter(validator=_COUNT, help="Training images for the ranges of the activations.")
    ] = 300,
    tried: Annotated[
        int, Parameter(validator=_COUNT, help="Validation images that each layer by itself is tried on.")
    ] = 100,
    seed: Seed = None,
    out: Path = Path("runs"),
    as_json: Json = False,
) -> None:
    """What int8 would cost a trained network: layer by layer, and in all, simulated on validation images.

    Example: fit50 probe model.safetensors photos/ --max-drop 0.5
    """
    from fit50.compress.damage import JUDGES
    from fit50.compress.sensitivity import probe as probed
    from fit50.report.probing import probe_text
    from fit50.weights.foreign import load_weights, refuse_other_classes

    screen = Screen()
    checkpoint = load_weights(model)
    drawn = split_seed(seed, checkpoint.provenance)
    dataset = resident(data, checkpoint.network, out, drawn, screen, pair)
    refuse_other_classes(checkpoint, dataset.classes, str(model))
    found = probed(
        checkpoint,
        dataset.split("train").take(samples, drawn),
        dataset.split("val").take(JUDGES, drawn),
        dataset.classes,
        allowed=max_drop,
        tried=tried,
        monitor=screen,
    )
    emit({**found.model_dump(), "advice": found.advice}, probe_text(found), as_json)
