"""What every part of the main job needs, and in which numbers its files are made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fit50.data.dataset import Dataset
from fit50.pipeline.realise import realise
from fit50.pipeline.store import Store
from fit50.runtimes.base import saturates
from fit50.runtimes.place import Place
from fit50.spec.monitor import Monitor
from fit50.spec.recipe import Quantize, Recipe
from fit50.spec.request import Request
from fit50.weights.checkpoint import Checkpoint


@dataclass(frozen=True)
class Job:
    """What every part of the main job needs."""

    request: Request
    folder: Path
    store: Store
    dataset: Dataset
    place: Place
    threads: int
    monitor: Monitor

    @property
    def flags(self) -> tuple[str, ...]:
        """The instruction sets of the device's processor."""
        return self.place.facts.environment.isa

    def realise(self, recipe: Recipe) -> Checkpoint:
        """The recipe's checkpoint on this job's data."""
        return realise(recipe, self.dataset, self.store, self.monitor)


def fewer_bits(request: Request, flags: tuple[str, ...]) -> tuple[Quantize, ...]:
    """The numerics that files are made in besides float32, where a device of these instruction sets has them."""
    drop = int8_drop(request)
    int8 = (
        step.model_copy(update={"max_drop": drop, "saturates": step.trains and saturates(flags)})
        for step in request.effort.int8
    )
    return (Quantize(to="bf16"), Quantize(to="fp16"), *int8)


def int8_drop(request: Request) -> float:
    """How much int8 alone may lose: what the budget allows in all, or else 1 point."""
    return 1.0 if request.budget.max_drop is None else request.budget.max_drop
