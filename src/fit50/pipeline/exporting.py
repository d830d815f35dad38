"""Bundles of what a recipe made, each exported once."""

from __future__ import annotations

from collections.abc import Callable

from fit50.pipeline.store import Run
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle, Calibration, refuse, saturates
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.files import write_text
from fit50.spec.machine import environment
from fit50.spec.outcome import Environment
from fit50.spec.value import Value
from fit50.weights.checkpoint import Checkpoint


class Refused(Value):
    """Why there is no file, as it was found out here."""

    reason: str
    environment: Environment


def exported(
    run: Run,
    checkpoint: Checkpoint,
    name: str,
    flags: tuple[str, ...],
    calibration: Callable[[], Calibration | None],
) -> Bundle:
    """The bundle of a run's checkpoint in a runtime, made (or refused) unless a call before has done so.

    What was refused is tried again once the machine, or its software, is another.

    Args:
        run: whose folder keeps the bundle, or the reason why there is none. Int8 for processors on which 8-bit products
            saturate is a file of its own.
        checkpoint: what the run made, in the numerics of the file.
        name: the runtime's.
        flags: the instruction sets of the processor that the file is for.
        calibration: gives what int8 is made from.

    Raises:
        RuntimeRefusal: the runtime, now or before.
    """
    seven = checkpoint.numerics.kind == "int8" and saturates(flags)
    folder = run.bundle(f"{name}-7bit" if seven else name)
    if folder.exists():
        return Bundle.open(folder)
    chosen, here = runtime(name, flags), environment()
    refuse(chosen, checkpoint)
    kept = folder.with_name(f"{folder.name}.refused.json")
    if kept.exists() and (before := Refused.read(kept)).environment == here:
        raise RuntimeRefusal(before.reason)
    try:
        return chosen.export(checkpoint, folder, calibration())
    except RuntimeRefusal as refused:
        write_text(kept, Refused(reason=str(refused), environment=here).model_dump_json(indent=1))
        raise
