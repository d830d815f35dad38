"""The verb that says what int8 would cost, before any file is made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from fit50.cli.options import Json, On, Pair, Seed, emit, resident, split_seed
from fit50.cli.screen import Screen
from fit50.spec.request import Device

_COUNT = Number(gte=1)


def probe(
    model: Path,
    data: str,
    *,
    pair: Pair = None,
    device: On = "cpu",
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

    Of the device it only matters whether its processor sums 8-bit products without saturating.

    Example: fit50 probe model.safetensors photos/ --max-drop 0.5
    """
    from fit50.compress.damage import JUDGES
    from fit50.compress.sensitivity import probe as probed
    from fit50.report.probing import probe_text
    from fit50.runtimes.base import weight_bits
    from fit50.runtimes.remote import place_of
    from fit50.weights.foreign import load_weights, refuse_other_classes

    place = place_of(Device.parse({"name": device}, "--device"))
    bits = weight_bits(place.facts.environment.isa)
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
        weight_bits=bits,
        monitor=screen,
    )
    emit({**found.model_dump(), "advice": found.advice}, probe_text(found), as_json)
