"""Bundles of what a recipe made, each exported once."""

from __future__ import annotations

from collections.abc import Callable

from fit50.pipeline.store import Run
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle, Calibration, saturates
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.files import write_text
from fit50.spec.request import Device
from fit50.weights.checkpoint import Checkpoint


def exported(
    run: Run,
    checkpoint: Checkpoint,
    name: str,
    device: Device,
    flags: tuple[str, ...],
    calibration: Callable[[], Calibration | None],
) -> Bundle:
    """The bundle of a run's checkpoint in a runtime, made (or refused) unless a call before has done so.

    Args:
        run: whose folder keeps the bundle, or the reason why there is none. Int8 for processors on which 8-bit products
            saturate is a file of its own.
        checkpoint: what the run made, in the numerics of the file.
        name: the runtime's.
        device: where the file will run.
        flags: the instruction sets of its processor.
        calibration: gives what int8 is made from.

    Raises:
        RuntimeRefusal: the runtime, now or before.
    """
    seven = checkpoint.numerics.kind == "int8" and saturates(flags)
    folder = run.bundle(f"{name}-7bit" if seven else name)
    if folder.exists():
        return Bundle.open(folder)
    kept = folder.with_name(f"{folder.name}.refused")
    if kept.exists():
        raise RuntimeRefusal(kept.read_text(encoding="utf-8"))
    chosen = runtime(name, flags)
    try:
        if refusal := chosen.refusal(checkpoint.network, device):
            raise RuntimeRefusal(refusal)
        return chosen.export(checkpoint, folder, calibration())
    except RuntimeRefusal as refused:
        write_text(kept, str(refused))
        raise
