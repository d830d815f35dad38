"""The main job, in one straight line: images and a budget in, a measured file out."""

from __future__ import annotations

import json
import math
import time
from contextlib import suppress
from pathlib import Path

import torch

from fit50.compress.damage import JUDGES
from fit50.compress.sensitivity import int8_difference
from fit50.data.dataset import open_dataset
from fit50.evaluate.intervals import accuracy
from fit50.pipeline.answers import module_answers, split_answers
from fit50.pipeline.store import Store
from fit50.report.figures import front_svg
from fit50.report.html import report_html
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle, sha256, weight_bits
from fit50.runtimes.qat import refuse_missing
from fit50.runtimes.remote import place_of
from fit50.search.deploy import deploy
from fit50.search.feasible import feasible, refuse_fractions
from fit50.search.job import Job, fewer_bits, int8_drop
from fit50.search.objective import sentence
from fit50.search.space import WHOLE, Shape, grown, shrunk
from fit50.search.start import refuse_other_splits, refuse_runtimes, start_network
from fit50.search.trials import Trained, tried
from fit50.search.verdicts import judge
from fit50.spec.digest import digest
from fit50.spec.errors import RuntimeRefusal, TrainingDiverged, UserError
from fit50.spec.files import write_text
from fit50.spec.machine import physical_cores
from fit50.spec.monitor import Monitor, Parts
from fit50.spec.network import Network
from fit50.spec.outcome import Difference, Outcome, Trial
from fit50.spec.recipe import Load, Recipe
from fit50.spec.request import Request
from fit50.weights.checkpoint import Checkpoint
from fit50.weights.foreign import knows_classes
from fit50.weights.origin import local_file

_CALIBRATED = 300


def optimize(request: Request, out: Path, monitor: Monitor) -> Outcome:
    """Fits a ResNet-50 to the request's images, device and budget.

    Everything is kept below ``out``: the job's own folder (``job_folder``) with ``report.html``, ``outcome.json`` and
    the chosen bundle in ``best/``, and the trained steps in ``out/steps``, which other jobs on the same data reuse.
    Stopped at any moment and called again, it goes on where it was.

    Raises:
        DataError: the images cannot be used.
        DeviceError: the device cannot be reached, or lacks a runtime.
        SpecError: pruning cannot reach a fraction of ``effort.keeps``.
        BudgetError: nothing can meet the budget; the nearest that can be met is named.
        RuntimeRefusal: a runtime cannot run the network.
    """
    started = time.monotonic()
    place = place_of(request.device, request.runtimes)
    threads = request.device.threads or place.facts.environment.cores
    torch.set_num_threads(threads if request.device.ssh is None else physical_cores())
    start = start_network(request, out / "cache")
    learned = [step for step in fewer_bits(request, place.facts.environment.isa) if step.trains]
    refuse_runtimes(request, place.facts.environment.isa, start)
    if learned:
        refuse_missing()
    refuse_fractions(with_classes(start, 2), request.effort)  # and what cannot be pruned, before anything is read
    folder = job_folder(request, out)
    dataset = open_dataset(
        request.data,
        start.inputs,
        cache=out / "cache",
        pair=request.pair,
        record=folder / "splits.json",
        seed=request.seed,
        progress=lambda done, total: monitor.progress("decode", done, total),
    )
    if request.start is not None:
        refuse_other_splits(request.start, dataset, request.seed)
    monitor.say(dataset.audit.summary())
    write_text(folder / "request.yaml", request.yaml())
    job = Job(request, folder, Store(out / "steps"), dataset, place, threads, monitor)

    if (folder / "outcome.json").exists():
        monitor.say(f"{folder}: finished before; remove outcome.json to measure and choose anew")
        return Outcome.read(folder / "outcome.json")
    monitor.say(f"budget on {request.device.name}: {request.budget}")
    smaller = [shape for shape in feasible_shapes(job, start) if shape != WHOLE]
    for shape in smaller:
        dataset.fitted(shape.of(start).inputs)  # read, or refused, before anything is trained
    baseline = start_recipe(job, start)
    trained = {"baseline": baseline, **grown(baseline, start, request.effort)}
    parts = Parts(monitor, len(trained) + len(smaller) + len(learned) + 1)
    best, trials = grow(job, trained, parts)
    recipes = {"baseline": baseline, "grown": best} if best != baseline else {"baseline": baseline}
    if smaller:
        kept = next(trial for trial in trials if trial.kept)
        monitor.say(f"to be shrunk: {kept.name}, {kept.reason}")
    for shape in smaller:
        recipes[str(shape)] = shrunk(best, shape, request.effort)
        parts.begin(str(shape))
        job.realise(recipes[str(shape)])
    refused: dict[str, str] = {}
    for step in learned:
        parts.begin("int8 by training")
        for label, recipe in recipes.items():
            monitor.say(f"      {label}")
            try:
                job.realise(recipe.then(step))
            except (RuntimeRefusal, TrainingDiverged) as refusal:
                refused[digest(recipe.then(step))] = str(refusal)
    parts.begin("export and measure")
    candidates, answers = deploy(job, recipes, refused)
    judged, chosen = judge(request, candidates, answers)

    bundle = Bundle.open(out / str(chosen.bundle))
    test = split_answers(place, {chosen.name: bundle}, dataset, "test", threads)
    outcome = Outcome(
        request=request,
        classes=dataset.classes,
        images={name: len(split) for name, split in dataset.splits.items()},
        set_aside=tuple(f"{name}: {reason}" for name, reason in dataset.audit.set_aside),
        environment=place.environment(threads),
        trials=trials,
        candidates=judged,
        chosen=chosen.name,
        sentence=sentence(chosen, judged, request),
        test=accuracy(test[chosen.name]),
        seconds=time.monotonic() - started,
    )
    bundle.with_score(chosen.score, outcome.environment).copy(folder / "best")
    write_text(folder / "front.svg", front_svg(outcome))
    write_text(folder / "report.html", report_html(outcome))
    write_text(folder / "outcome.json", outcome.model_dump_json(indent=1))
    return outcome


def feasible_shapes(job: Job, start: Network) -> tuple[Shape, ...]:
    """What the budget allows, found out once: a resumed job keeps to it.

    A refused job leaves no folder behind; what was measured is kept below ``out/cache``. Raises BudgetError.
    """
    kept = job.folder / "shapes.json"
    if kept.exists():
        return tuple(Shape(*shape) for shape in json.loads(kept.read_text(encoding="utf-8")))
    network, figures = with_classes(start, len(job.dataset.classes)), job.store.folder.parent / "cache" / "figures"
    try:
        refuse_fractions(network, job.request.effort)
        shapes = feasible(network, job.request, job.place, job.threads, figures, job.monitor)
    except UserError:
        for name in ("request.yaml", "splits.json"):
            (job.folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            job.folder.rmdir()
        raise
    write_text(kept, json.dumps(shapes))
    return shapes


def with_classes(network: Network, classes: int) -> Network:
    """The network with so many classes."""
    return network.model_copy(update={"head": network.head.model_copy(update={"classes": classes})})


def job_folder(request: Request, out: Path) -> Path:
    """Where the job keeps what is its own."""
    return out / f"{Path(request.data).name}-{digest(request)[:8]}"


def grow(job: Job, recipes: dict[str, Recipe], parts: Parts) -> tuple[Recipe, tuple[Trial, ...]]:
    """Trains the baseline, then each grown candidate and the control; gives the one to go on with."""
    networks: dict[str, Trained] = {}
    for name, recipe in recipes.items():
        parts.begin(name)
        checkpoint = job.realise(recipe)
        right, int8 = module_answers(checkpoint, job.dataset.split("val")), _int8(job, checkpoint)
        networks[name] = Trained(job.store.run(recipe, job.dataset.identity).folder.name, right, int8)
        job.monitor.say(f"      validation accuracy {accuracy(right)}" + (f"; in int8 probably {int8}" if int8 else ""))
    recovers = any(step.trains for step in job.request.effort.int8)  # what int8 after training would lose
    trials = tried(networks, math.inf if recovers else int8_drop(job.request))
    return next(recipes[trial.name] for trial in trials if trial.kept), trials


def _int8(job: Job, checkpoint: Checkpoint) -> Difference | None:
    """What int8 would probably change; None where no runtime makes such files of this network."""
    network, device, learned = checkpoint.network, job.request.device, job.request.effort.only_qat
    chosen = (runtime(name, job.flags) for name in job.request.runtimes)
    if all(each.refusal(network, device, "int8", learned=learned) for each in chosen):
        return None
    ranged, judges = job.dataset.split("train").take(_CALIBRATED, 0), job.dataset.split("val").take(JUDGES, 0)
    return int8_difference(checkpoint, ranged, judges, weight_bits(job.flags))


def start_recipe(job: Job, start: Network) -> Recipe:
    """The baseline's recipe: from scratch; or given weights as they are; or, for other classes, fine-tuned.

    Fine-tuning takes the epochs of the training from scratch, and the lower rate of the grown candidates.
    """
    effort, weights = job.request.effort, job.request.start
    loaded = Load(network=start, weights=weights, sha256=sha256(local_file(weights)) if weights else None)
    recipe = Recipe(steps=(loaded,), seed=job.request.seed)
    if weights is None:
        return recipe.then(effort.train)
    if knows_classes(job.realise(recipe)):
        return recipe
    return recipe.then(effort.grow.model_copy(update={"epochs": effort.train.epochs}))
