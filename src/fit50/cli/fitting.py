"""The main job and its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fit50.cli.options import DryRun, Json, On, Pair, Set, Threads, Weights, edited, emit, network_edits
from fit50.cli.planning import plan
from fit50.cli.screen import Screen
from fit50.spec.digest import edit
from fit50.spec.errors import SpecError
from fit50.spec.outcome import Outcome
from fit50.spec.presets import EFFORTS
from fit50.spec.request import Request
from fit50.spec.value import suggestion

_LIMIT = Parameter(allow_leading_hyphen=True)  # -5ms is refused as a limit, not taken for an option


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
    device: On | None = None,
    latency: Annotated[
        str | None, _LIMIT, Parameter(help="Largest median time for one image, such as 5ms; 5 is milliseconds.")
    ] = None,
    size: Annotated[str | None, _LIMIT, Parameter(help="Largest file, such as 10MB; 10 is megabytes.")] = None,
    memory: Annotated[
        str | None, _LIMIT, Parameter(help="Largest peak memory of a process, such as 300MB; 300 is megabytes.")
    ] = None,
    max_drop: Annotated[float | None, Parameter(help="Points of accuracy that may be lost (default 1).")] = None,
    min_accuracy: Annotated[float | None, Parameter(help="Least validation accuracy in percent, such as 90.")] = None,
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

    Example: fit50 optimize photos/ --latency 50ms --device ssh://pi@camera
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

    folder = job_folder(request, out)
    if dry_run:
        emit(request.canonical(), plan(request, folder), as_json)
        return
    outcome = optimize(request, out, Screen())
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
