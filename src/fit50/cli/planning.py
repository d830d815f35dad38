"""What the main job would do, in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fit50.spec.request import Request


def plan(request: Request, folder: Path) -> str:
    """Every part of the job, its budget with units, and the request with the fields that are not the defaults.

    Raises what reading the data or the given weights raises.
    """
    return "\n".join([*(f"{part:8} {words}" for part, words in _parts(request, folder)), "", request.yaml()])


def _parts(request: Request, folder: Path) -> Iterator[tuple[str, str]]:
    from fit50.search.space import growth
    from fit50.search.start import start_network

    effort, network = request.effort, start_network(request)
    sizes = " and ".join(f"{image.height}x{image.width}" for image in network.inputs)
    techniques = [name for name in effort.techniques if growth(network, name)]
    yield "budget", f"{request.budget}, on {request.device.name}"
    yield "baseline", f"{_baseline(request)}, at {sizes} pixels"
    yield "grow", ", ".join([*techniques, f"and a control that only trains on; {effort.grow.epochs} epochs each"])
    recover = f"{effort.recover.epochs} epochs {'each' if effort.rounds == 1 else 'a round'}"
    if effort.keeps:
        keeps = ", ".join(f"{100 * keep:g} %" for keep in sorted(effort.keeps, reverse=True))
        rounds = f" in {effort.rounds} rounds" if effort.rounds > 1 else ""
        yield "prune", f"the most accurate of these to {keeps} of its GMACs{rounds}; {recover}"
    if effort.sizes:
        smaller = ", ".join(str(size) for size in sorted(effort.sizes, reverse=True))
        whole = "whole and pruned" if effort.keeps else "whole"
        yield "resize", f"the most accurate of these to {smaller} pixels, {whole}; {recover}"
    if learned := [step for step in effort.int8 if step.trains]:
        epochs = " and ".join(str(step.epochs) for step in learned)
        yield "qat", f"the baseline and all of these, trained through the rounding; {epochs} epochs each"
    forms = "float32, int8, and half precision where the device has it"
    yield "export", f"the baseline and all of these in {', '.join(request.runtimes)}: {forms}"
    yield "measure", "each file on the device; choose by validation images; read the test split once"
    yield "below", str(folder)


def _baseline(request: Request) -> str:
    """Where the baseline's weights come from, and how long it is trained."""
    epochs = f"{request.effort.train.epochs} epochs"
    if request.start is None:
        return f"{request.network} from scratch, {epochs}"
    from fit50.data.dataset import peek
    from fit50.weights.foreign import fit_classes, load_weights, redrawn

    classes = peek(request.data, request.pair).classes
    reason = redrawn(fit_classes(load_weights(request.start), classes, request.seed))
    if reason is None:
        return f"{request.start} as it is, not trained"
    return f"{request.start}, its classifier {reason}; fine-tuned, {epochs}"
