"""The main job and its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fit50.cli.options import DryRun, Json, Pair, Set, Threads, Weights, edited, emit, network_edits
from fit50.cli.screen import Screen
from fit50.spec.digest import edit
from fit50.spec.errors import SpecError
from fit50.spec.outcome import Outcome
from fit50.spec.presets import EFFORTS
from fit50.spec.request import Request
from fit50.spec.value import suggestion


def optimize(
    data: Annotated[
        str | None,
        Parameter(
            help="A folder of images, a list of them (.csv, .parquet), hf:owner/name, tar shards, or fashion-mini, "
            "which comes with fit50."
        ),
    ] = None,
    *,
    pair: Pair = None,
    device: str = "cpu",
    latency: Annotated[str | None, Parameter(help="Largest median time for one image, such as 5ms.")] = None,
    size: Annotated[str | None, Parameter(help="Largest file, such as 10MB.")] = None,
    memory: Annotated[str | None, Parameter(help="Largest peak memory of a process, such as 300MB.")] = None,
    max_drop: Annotated[float | None, Parameter(help="Points of accuracy that may be lost (default 1).")] = None,
    min_accuracy: Annotated[float | None, Parameter(help="Least validation accuracy in percent.")] = None,
    start: Weights = None,
    network: Annotated[str | None, Parameter(help="A network of the zoo to train (default resnet50).")] = None,
    image_size: Annotated[int | None, Parameter(help="Pixels; by default what suits the images.")] = None,
    effort: Annotated[str | None, Parameter(help="How much is tried: demo, quick (the default) or full.")] = None,
    threads: Threads = None,
    seed: int | None = None,
    out: Annotated[Path, Parameter(help="The folder for everything that is made.")] = Path("runs"),
    config: Annotated[Path | None, Parameter(help="A request as YAML; options come on top of it.")] = None,
    set_: Set = (),
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Fit a ResNet-50 to images, a device and a budget; the main job.

    Example: fit50 optimize photos/ --latency 5ms --max-drop 1.0
    """
    request = _request(
        config,
        effort,
        {
            "data": data,
            "pair": pair,
            "device.name": device,
            "budget.latency": latency,
            "budget.size": size,
            "budget.memory": memory,
            "budget.max_drop": max_drop,
            "budget.min_accuracy": min_accuracy,
            "start": start,
            "network": network,
            "image_size": image_size,
            "device.threads": threads,
            "seed": seed,
        },
        set_,
    )
    from fit50.optimize import job_folder, optimize
    from fit50.report.text import front_table
    from fit50.search.start import start_network

    if dry_run:
        chosen = start_network(request)
        sizes = " and ".join(f"{image.height}x{image.width}" for image in chosen.inputs)
        keeps = ", ".join(f"to {keep:.0%}" for keep in request.effort.keeps) or "nothing"
        emit(
            request.canonical(),
            f"would grow the baseline by {', '.join(request.effort.techniques)} at {sizes}, "
            f"prune {keeps}, export and measure each in "
            f"{', '.join(request.runtimes)}, float32 and int8, below {job_folder(request, out)}:\n\n{request.yaml()}",
            as_json,
        )
        return
    outcome = optimize(request, out, Screen())
    folder = job_folder(request, out)
    text = (
        f"{front_table(outcome)}\n\nTest accuracy of the chosen file: {outcome.test}\n"
        f"Report:  {folder / 'report.html'}\nDeploy:  {folder / 'best'}\n"
        f"Check:   fit50 verify {folder / 'best'}"
    )
    emit(outcome.model_dump(mode="json") | {"folder": str(folder)}, text, as_json)


def _request(config: Path | None, effort: str | None, options: dict[str, object], edits: tuple[str, ...]) -> Request:
    """The request that a YAML file, the options and the edits say, in this order."""
    if effort is not None and effort not in EFFORTS:
        raise SpecError(f"--effort {effort!r}: unknown{suggestion(effort, EFFORTS)}")
    if config is not None:
        request = Request.read(config)
    elif options["data"] is None:
        raise SpecError("optimize: expected a folder of images, or fashion-mini, found none; see fit50 optimize --help")
    else:
        request = Request(data=str(options["data"]), effort=EFFORTS["quick"])
    if effort is not None:
        request = edit(request, "effort", EFFORTS[effort])
    for path, value in options.items():
        if value is not None:
            request = edit(request, path, value)
    inner = tuple(text for text in edits if text.startswith("network."))
    changes = network_edits(inner)
    request = request.model_copy(update={"edits": request.edits + changes})
    return edited(request, tuple(text for text in edits if text not in inner))


def report(folder: Annotated[Path, Parameter(help="The folder of a finished job.")], *, as_json: Json = False) -> None:
    """Write report.html and front.svg of a finished job anew, and print its front.

    Example: fit50 report runs/photos-1a2b3c4d
    """
    from fit50.report.figures import front_svg
    from fit50.report.html import report_html
    from fit50.report.text import front_table
    from fit50.spec.files import write_text

    outcome = Outcome.read(folder / "outcome.json")
    write_text(folder / "front.svg", front_svg(outcome))
    write_text(folder / "report.html", report_html(outcome))
    emit(outcome.model_dump(mode="json"), f"{front_table(outcome)}\n\nReport:  {folder / 'report.html'}", as_json)
