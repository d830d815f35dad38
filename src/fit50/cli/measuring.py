"""The verb that measures bundles. It needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from fit50.cli.options import Json, On, emit
from fit50.cli.screen import Screen
from fit50.spec.errors import SpecError
from fit50.spec.request import Device

_COUNTS = Parameter(validator=Number(gte=1), consume_multiple=True, negative="")


def benchmark(
    bundles: Annotated[tuple[Path, ...], Parameter(help="One or more bundles, measured in turns.", negative="")],
    *,
    device: On = "cpu",
    threads: Annotated[
        tuple[int, ...] | None,
        _COUNTS,
        Parameter(help="One or more counts; by default the number of the device's cores."),
    ] = None,
    streams: Annotated[
        tuple[int, ...],
        _COUNTS,
        Parameter(help="Calls at the same time, which share the threads; left out where they do not divide them."),
    ] = (1,),
    batches: Annotated[tuple[int, ...], _COUNTS, Parameter(help="Images in a call.")] = (1, 16),
    tolerance: Annotated[
        float,
        Parameter(help="Percent of a median that its 95 % interval shall come within.", validator=Number(gt=0)),
    ] = 2.0,
    rounds: Annotated[int, Parameter(help="Turns of each bundle at most.", validator=Number(gte=1))] = 100,
    seconds: Annotated[
        float, Parameter(help="At most, for each of threads, streams and batches.", validator=Number(gt=0))
    ] = 60.0,
    as_json: Json = False,
) -> None:
    """Measure bundles on a device: latency, throughput, cold start, size, memory, energy, beside the floor.

    The floor is the least time that the device could need: bytes and operations over its measured rates.

    Example: fit50 benchmark runs/photos-1a2b3c4d/best other/bundle --threads 1 2 --streams 1 2

    Example: fit50 benchmark runs/photos-1a2b3c4d/best --device ssh://pi@camera
    """
    from fit50.report.benchmark import benchmark_text
    from fit50.runtimes.base import Bundle
    from fit50.runtimes.remote import place_of
    from fit50.spec.benchmark import Load, Until

    opened = {str(path): Bundle.open(path) for path in bundles}
    place = place_of(Device.parse({"name": device}, "--device"))
    counts = threads or (place.facts.environment.cores,)
    loads = [
        Load(threads=count, streams=shared, batch=batch)
        for count in counts
        for shared in streams
        for batch in batches
        if count % shared == 0
    ]
    if not loads:
        of, found = (", ".join(map(str, given)) for given in (counts, streams))
        raise SpecError(f"--streams: expected a count that divides one of the threads {of}, found {found}")
    until = Until(tolerance=tolerance, rounds=rounds, seconds=seconds)
    result = place.benchmark(opened, loads, until, Screen())
    emit(result.model_dump(), benchmark_text(result), as_json)
