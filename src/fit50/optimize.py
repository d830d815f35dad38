"""The main job, in one straight line: images and a budget in, a measured file out."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from fit50.compress.damage import JUDGES
from fit50.compress.groups import groups
from fit50.compress.quantize import calibration
from fit50.compress.sensitivity import int8_difference
from fit50.data.dataset import Dataset, open_dataset
from fit50.evaluate.intervals import accuracy
from fit50.nn.cost import cost
from fit50.pipeline.answers import Correct, module_answers, split_answers
from fit50.pipeline.exporting import exported
from fit50.pipeline.realise import realise, step_seed
from fit50.pipeline.store import Store
from fit50.report.figures import front_svg
from fit50.report.html import report_html
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle, saturates, sha256, weight_bits
from fit50.runtimes.place import Place
from fit50.runtimes.qat import refuse_missing
from fit50.runtimes.remote import place_of
from fit50.search.feasible import feasible
from fit50.search.objective import sentence
from fit50.search.space import WHOLE, Shape, grown, shrunk
from fit50.search.start import refuse_other_splits, start_network
from fit50.search.trials import Trained, tried
from fit50.search.verdicts import judge
from fit50.spec.digest import digest
from fit50.spec.errors import BudgetError, RuntimeRefusal
from fit50.spec.files import write_text
from fit50.spec.machine import physical_cores
from fit50.spec.monitor import Monitor, Parts
from fit50.spec.network import Network
from fit50.spec.numerics import Precision
from fit50.spec.outcome import Candidate, Difference, Outcome, Trial
from fit50.spec.recipe import Load, Quantize, Recipe
from fit50.spec.request import Request
from fit50.weights.checkpoint import Checkpoint
from fit50.weights.foreign import knows_classes
from fit50.weights.origin import local_file

_CALIBRATED = 300


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

    def realise(self, recipe: Recipe) -> Checkpoint:
        """The recipe's checkpoint on this job's data."""
        return realise(recipe, self.dataset, self.store, self.monitor)


def optimize(request: Request, out: Path, monitor: Monitor) -> Outcome:
    """Fits a ResNet-50 to the request's images, device and budget.

    Everything is kept below ``out``: the job's own folder (``job_folder``) with ``report.html``, ``outcome.json`` and
    the chosen bundle in ``best/``, and the trained steps in ``out/steps``, which other jobs on the same data reuse.
    Stopped at any moment and called again, it goes on where it was.

    Raises:
        DataError: the images cannot be used.
        DeviceError: the device cannot be reached, or lacks a runtime.
        BudgetError: nothing can meet the budget; the nearest that can be met is named.
    """
    started = time.monotonic()
    place = place_of(request.device, request.runtimes)
    threads = request.device.threads or place.facts.environment.cores
    torch.set_num_threads(threads if request.device.ssh is None else physical_cores())
    start = start_network(request, out / "cache")
    learned = [step for step in fewer_bits(request, place.facts.environment.isa) if step.trains]
    if learned:
        refuse_missing()
    if request.effort.keeps:
        groups(start)  # refuses what cannot be pruned before anything is read
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
    for step in learned:
        parts.begin("int8 by training")
        for label, recipe in recipes.items():
            monitor.say(f"      {label}")
            with suppress(RuntimeRefusal):  # whose reason becomes the candidate's
                job.realise(recipe.then(step))
    parts.begin("export and measure")
    candidates, answers = deploy(job, recipes)
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
    head = start.head.model_copy(update={"classes": len(job.dataset.classes)})
    figures = job.store.folder.parent / "cache" / "figures"
    try:
        shapes = feasible(
            start.model_copy(update={"head": head}), job.request, job.place, job.threads, figures, job.monitor
        )
    except BudgetError:
        for name in ("request.yaml", "splits.json"):
            (job.folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            job.folder.rmdir()
        raise
    write_text(kept, json.dumps(shapes))
    return shapes


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
    trials = tried(networks, _int8_drop(job.request))
    return next(recipes[trial.name] for trial in trials if trial.kept), trials


def _int8(job: Job, checkpoint: Checkpoint) -> Difference | None:
    """What int8 would probably change; None where no runtime makes such files of this network."""
    device, flags = job.request.device, job.place.facts.environment.isa
    if all(runtime(name, flags).refusal(checkpoint.network, device, "int8") for name in job.request.runtimes):
        return None
    learned, judges = job.dataset.split("train").take(_CALIBRATED, 0), job.dataset.split("val").take(JUDGES, 0)
    return int8_difference(checkpoint, learned, judges, weight_bits(flags))


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


def deploy(job: Job, recipes: dict[str, Recipe]) -> tuple[list[Candidate], dict[str, Correct]]:
    """Exports every recipe in every runtime and precision; measures and validates the files in turns on the device.

    Gives the candidates, the refused among them, and by name which validation images each file answers correctly.
    """
    candidates: list[Candidate] = []
    bundles: dict[str, Bundle] = {}
    out, flags = job.store.folder.parent, job.place.facts.environment.isa
    for index, (label, recipe) in enumerate(recipes.items()):
        job.monitor.progress("export", index, len(recipes))
        network = job.realise(recipe).network
        dataset, counted = job.dataset.fitted(network.inputs), cost(network)
        forms: list[tuple[Recipe, Precision, str]] = [(recipe, "float32", name) for name in job.request.runtimes]
        forms += [
            (recipe.then(step), step.to, name)
            for step in fewer_bits(job.request, flags)
            for name in job.request.runtimes
            if not runtime(name, flags).refusal(network, job.request.device, step.to)
        ]
        if label == "baseline" and "torch" in job.place.facts.runtimes:
            forms.append((recipe, "float32", "torch"))
        for made_by, precision, name in forms:
            run = job.store.run(made_by, job.dataset.identity)
            last = made_by.steps[-1]
            candidate = Candidate(
                name=f"{label} {name} {precision}" + (" qat" if isinstance(last, Quantize) and last.trains else ""),
                network=label,
                precision=precision,
                runtime=name,
                parameters=counted.parameters,
                gmacs=counted.gmacs,
                run=run.folder.name,
            )
            try:
                form = job.realise(made_by)
                given = partial(calibration, form, dataset, seed=step_seed(made_by))
                bundle = exported(run, form, name, job.request.device, flags, given)
            except RuntimeRefusal as refusal:
                candidates.append(candidate.model_copy(update={"verdict": "refused", "reason": str(refusal)}))
                continue
            bundles[candidate.name] = bundle
            candidates.append(candidate.model_copy(update={"bundle": str(bundle.folder.relative_to(out))}))
    job.monitor.progress("export", len(recipes), len(recipes))
    scores = job.place.measure(bundles, job.threads, monitor=job.monitor)
    answers = split_answers(job.place, bundles, job.dataset, "val", job.threads)
    scored = [
        c.model_copy(update={"score": scores[c.name].model_copy(update={"accuracy": accuracy(answers[c.name])})})
        if c.name in bundles
        else c
        for c in candidates
    ]
    return scored, answers


def fewer_bits(request: Request, flags: tuple[str, ...]) -> tuple[Quantize, ...]:
    """The numerics that files are made in besides float32, where a device of these instruction sets has them."""
    drop = _int8_drop(request)
    int8 = (
        step.model_copy(update={"max_drop": drop, "saturates": step.trains and saturates(flags)})
        for step in request.effort.int8
    )
    return (Quantize(to="bf16"), Quantize(to="fp16"), *int8)


def _int8_drop(request: Request) -> float:
    """How much int8 alone may lose: what the budget allows in all, or else 1 point."""
    return 1.0 if request.budget.max_drop is None else request.budget.max_drop
