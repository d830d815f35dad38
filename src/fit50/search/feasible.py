"""What the budget allows, found out before any training: the cost of a file does not depend on what it learned."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from fit50.compress.groups import groups, narrowed
from fit50.compress.widths import counted_widths
from fit50.nn.compose import compose
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle, Calibration
from fit50.runtimes.graph import golden_images
from fit50.runtimes.place import Place
from fit50.search.objective import excesses
from fit50.search.space import Shape, pruning_rounds, shapes
from fit50.spec.digest import digest
from fit50.spec.errors import BudgetError, RuntimeRefusal
from fit50.spec.files import write_text
from fit50.spec.monitor import Monitor
from fit50.spec.network import Network
from fit50.spec.numerics import Precision, uncalibrated
from fit50.spec.outcome import Score
from fit50.spec.recipe import Prune
from fit50.spec.request import Budget, Effort, Request
from fit50.weights.checkpoint import Checkpoint


def feasible(
    network: Network, request: Request, place: Place, threads: int, figures: Path, monitor: Monitor
) -> tuple[Shape, ...]:
    """The shapes, the network as it is among them, in which an untrained network meets the costs, or nearly.

    Each shape is exported in each runtime, in float32, in half precision where there is any, and in int8, until one
    form is within the budget on its device; a smaller shape than one that passed in float32 passes too. What was
    measured is kept in the folder ``figures``, so another budget is answered without measuring it again.

    Raises BudgetError, with the nearest budget that can be met, where none passes.
    """
    wanted, budget = shapes(request.effort), _generous(request.budget)
    if budget.latency is None and budget.size is None and budget.memory is None:
        return wanted
    passed: list[Shape] = []
    in_float: list[Shape] = []
    tried: dict[str, Score] = {}
    refused: dict[str, str] = {}
    for index, shape in enumerate(wanted):
        monitor.progress("feasibility", index, len(wanted))
        if any(shape.within(larger) for larger in in_float):
            passed.append(shape)
            continue
        untrained = _untrained(network, shape, request.effort)
        for precision in get_args(Precision):
            scores = _scores(untrained, precision, request, place, threads, figures, refused)
            fits = [name for name, score in scores.items() if not excesses(score, budget, None)]
            size = f"{shape.size} pixels, " if shape.size else ""
            form = f"{size}{shape.keep:.0%} of the GMACs, {precision}"
            tried |= {f"{form}, {name}": score for name, score in scores.items()}
            if fits:
                passed.append(shape)
                in_float += [shape] if precision == "float32" else []
                break
    if not passed:
        raise BudgetError(_nearest(tried, refused, request, figures))
    return tuple(passed)


def refuse_fractions(network: Network, effort: Effort) -> None:
    """Raises SpecError where pruning that narrows all groups alike cannot reach the least fraction, at each size."""
    wanted = shapes(effort)
    for shape in wanted:
        if shape.keep == wanted[-1].keep:
            _untrained(network, shape, effort)


def _generous(budget: Budget) -> Budget:
    """The budget's costs and a fifth more: a quick look at a proxy refuses only what is clearly out."""
    limits = {name: getattr(budget, name) for name in ("latency", "size", "memory")}
    return Budget(**{name: 1.2 * limit for name, limit in limits.items() if limit is not None}, max_drop=None)


@dataclass(frozen=True)
class _Untrained:
    """A network with random weights, drawn once, when they are needed."""

    network: Network

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        return compose(self.network).state_dict()


def _untrained(network: Network, shape: Shape, effort: Effort) -> _Untrained:
    """The network in a shape, where that is pruned with all its groups narrowed alike. Raises SpecError."""
    whole = network = shape.of(network)
    if shape.keep < 1:
        rounds = pruning_rounds(Prune(keep=shape.keep), effort.rounds, None, begun=1)
        for step in (step for step in rounds if isinstance(step, Prune)):
            found = groups(network)
            scores = {group.name: torch.linspace(0, 1, group.width) for group in found}
            network = narrowed(network, counted_widths(network, step, found, scores, whole))
    return _Untrained(network)


def _scores(
    untrained: _Untrained,
    precision: Precision,
    request: Request,
    place: Place,
    threads: int,
    figures: Path,
    refused: dict[str, str],
) -> dict[str, Score]:
    """Quick measurements of the network's file in each runtime; what is kept in ``figures`` is not measured again.

    Why a file could not be made is put into ``refused``.
    """
    network, device = untrained.network, place.environment(threads)
    memory = request.budget.memory is not None
    identity = [digest(network), precision, request.device.name, digest(device)]
    kept: dict[str, Path] = {}
    missing = []
    for name in request.runtimes:
        chosen = runtime(name, device.isa)
        learned = precision == "int8" and request.effort.only_qat
        if chosen.refusal(network, request.device, precision, learned=learned):
            continue
        key = hashlib.sha256(" ".join([*identity, name]).encode()).hexdigest()[:16]
        kept[name] = figures / f"{key}.json"
        if not kept[name].exists() or (memory and Score.read(kept[name]).memory is None):
            missing.append(chosen)
    if missing:
        checkpoint = Checkpoint(network, untrained.tensors, numerics=uncalibrated(precision))
        images = tuple(golden_images(image, 16) for image in network.inputs)
        calibration = Calibration(images, images, np.zeros(16, np.int64), max_drop=100)
        with tempfile.TemporaryDirectory() as folder:
            bundles: dict[str, Bundle] = {}
            for each in missing:
                try:
                    bundles[each.name] = each.export(checkpoint, Path(folder) / each.name, calibration)
                except RuntimeRefusal as error:  # which only the attempt shows
                    refused[f"{each.name} {precision}"] = str(error)
                    del kept[each.name]
            found = place.measure(bundles, threads, rounds=5, batch=1, memory=memory) if bundles else {}
        for measured, score in found.items():
            write_text(kept[measured], score.model_dump_json())
    return {name: Score.read(path) for name, path in kept.items()}


def _nearest(tried: dict[str, Score], refused: dict[str, str], request: Request, figures: Path) -> str:
    """Which budget could be met: the least of each cost that was measured, and in which form."""
    budget, lines = request.budget, []
    for name, limit, unit, values in (
        ("latency", budget.latency, "ms", {k: s.latency.median for k, s in tried.items() if s.latency}),
        ("size", budget.size, "MB", {k: s.size for k, s in tried.items() if s.size is not None}),
        ("memory", budget.memory, "MB", {k: s.memory for k, s in tried.items() if s.memory is not None}),
    ):
        if limit is not None and values:
            best = min(values, key=lambda key: values[key])
            lines.append(
                f"{name}: asked for {limit:.3g} {unit}, the least measured is {values[best]:.3g} {unit} ({best})"
            )
    smaller = " or smaller images (--effort.sizes, --image-size)" if budget.latency or budget.memory else ""
    again = f";\n  if the machine was busy when this was measured, remove {figures} to measure it again"
    lines += [f"not made: {reason}" for reason in refused.values()]
    return (
        "no candidate can meet the budget on this device; nothing was trained.\n  "
        + "\n  ".join(lines)
        + f"\n  raise the budget, or allow stronger pruning (--effort.keeps){smaller}"
        + (again if budget.latency else "")
    )
