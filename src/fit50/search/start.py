"""Which network the main job starts from, and whether given weights may be judged on these images."""

from __future__ import annotations

from pathlib import Path

from fit50.data.dataset import Dataset, peek
from fit50.nn.cost import cost
from fit50.runtimes import runtime
from fit50.search.space import refuse_larger
from fit50.spec.digest import edit_all
from fit50.spec.errors import DataError, RuntimeRefusal
from fit50.spec.network import Network
from fit50.spec.presets import network as preset
from fit50.spec.request import Request
from fit50.weights.foreign import load_weights


def start_network(request: Request, cache: Path | None = None) -> Network:
    """The network that the job starts from.

    Its input has the size that was asked for, or that fit50 trained the given weights at, or that suits the images;
    edits come last. ``cache`` is what ``peek`` takes.

    Raises SpecError, NotBuiltError, and what reading the data or the weights raises.
    """
    if request.start is None:
        network, size = preset(request.network), request.image_size
    else:
        checkpoint = load_weights(request.start)
        network = checkpoint.network
        size = request.image_size or (network.inputs[0].height if checkpoint.provenance else None)
    if size != network.inputs[0].height or request.start is None:
        network = network.sized(size or fitting_size(peek(request.data, request.pair, cache=cache).sizes))
    network = edit_all(network, ((change.path.removeprefix("network."), change.value) for change in request.edits))
    cost(network)  # refuses what is not built before anything is read
    for smaller in request.effort.sizes:
        refuse_larger(network, smaller, request.effort.recover, "effort.sizes")
    return network


def refuse_runtimes(request: Request, flags: tuple[str, ...], network: Network) -> None:
    """Raises RuntimeRefusal where a runtime that was asked for cannot run the network, or none can as int8 by training.

    ``flags`` are the instruction sets of the device's processor.
    """
    runtimes = [runtime(name, flags) for name in request.runtimes]
    for each in runtimes:
        if reason := each.refusal(network, request.device):
            raise RuntimeRefusal(reason)
    if any(step.trains for step in request.effort.int8):
        reasons = [each.refusal(network, request.device, "int8", learned=True) for each in runtimes]
        if all(reasons):
            raise RuntimeRefusal("; ".join(map(str, reasons)))


def refuse_other_splits(start: Path | str, dataset: Dataset, seed: int) -> None:
    """Raises DataError where weights of fit50's own were trained with splits drawn from another seed."""
    known = load_weights(start).provenance or {}
    if known.get("dataset") != dataset.identity and known.get("seed", str(seed)) != str(seed):
        raise DataError(
            f"{start}: was trained with splits drawn from seed {known['seed']}, found seed {seed}, under which images "
            f"that it learned from would count as validation; give --seed {known['seed']}"
        )


def fitting_size(sizes: tuple[int, int]) -> int:
    """The usual input size for images of this median height and width: 32, 64, 128 or 224 pixels."""
    side = min(sizes)
    return next((size for size in (32, 64, 128) if side <= 1.25 * size), 224)
