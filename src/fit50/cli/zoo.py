"""The verb that lists the named networks."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from fit50.cli.options import Json, Threads, emit
from fit50.cli.screen import Screen
from fit50.spec.machine import environment, physical_cores
from fit50.spec.presets import NETWORKS
from fit50.spec.presets import network as preset
from fit50.spec.runtimes import Deployable

if TYPE_CHECKING:
    from fit50.spec.network import Network
    from fit50.spec.outcome import Latency


def zoo(
    networks: Annotated[tuple[str, ...], Parameter(help="Names; by default all.", negative="")] = (),
    *,
    latency: Annotated[bool, Parameter(help="Measure each on this machine, which takes seconds for each.")] = True,
    runtime: Deployable = "openvino",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """List the named networks: what they cost at 224x224 and 1000 classes, and how fast they are here.

    The latency is the median of an untrained float32 file for one image, one network after the other.

    Example: fit50 zoo resnet50 se-resnet50 hff-senet
    """
    from fit50.nn.cost import cost

    chosen = {name: preset(name) for name in networks or NETWORKS}
    used, screen = threads or physical_cores(), Screen()
    facts: list[dict[str, object]] = []
    lines = [f"{'network':<22}{'parameters':>13}{'GMACs':>9}{'top-1':>7}{'ms':>8}  (ImageNet top-1 as published)"]
    for index, (name, network) in enumerate(chosen.items()):
        known, counted = NETWORKS[name], cost(network)
        paper = (known.make.__doc__ or "").strip().splitlines()[0]
        row = {"network": name, "published_top1": known.top1, "paper": paper, **counted._asdict()}
        top1, speed = f"{known.top1:.1f}" if known.top1 else "-", "-"
        if latency:
            screen.progress("measure", index, len(chosen))
            found = _latency(network, runtime, used)
            row["latency"], speed = found.model_dump(), f"{found.median:.1f}"
        facts.append(row)
        lines.append(f"{name:<22}{counted.parameters:>13,}{counted.gmacs:>9.3f}{top1:>7}{speed:>8}  {paper}")
    device = environment(used)
    if latency:
        lines.append(f"ms: {runtime}, float32, {used} threads, {device.processor}")
    emit({"networks": facts, "environment": device.model_dump()}, "\n".join(lines), as_json)


def _latency(network: Network, runtime: Deployable, threads: int) -> Latency:
    """The latency of a network's file with random weights."""
    from fit50.nn.compose import initial
    from fit50.runtimes import runtime as runtime_named
    from fit50.runtimes.measure import measure
    from fit50.weights.checkpoint import Checkpoint

    with TemporaryDirectory() as folder:
        bundle = runtime_named(runtime).export(Checkpoint(network, initial(network, 0)), Path(folder) / "bundle")
        latency = measure({"it": bundle}, threads, rounds=3, calls=5, batch=1, memory=False)["it"].latency
    assert latency is not None
    return latency
