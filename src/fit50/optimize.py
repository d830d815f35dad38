"""The main job, in one straight line: images and a budget in, a measured file out."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from fit50.compress.groups import groups
from fit50.compress.quantize import calibration, quantize
from fit50.data.dataset import Dataset, open_dataset
from fit50.evaluate.intervals import accuracy, difference
from fit50.nn.cost import cost
from fit50.pipeline.answers import Correct, file_answers, module_answers
from fit50.pipeline.realise import realise, step_seed
from fit50.pipeline.store import Store
from fit50.report.figures import front_svg
from fit50.report.html import report_html
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle, sha256
from fit50.runtimes.measure import measure
from fit50.search.feasible import feasible
from fit50.search.front import costs, front
from fit50.search.objective import choice_rule, choose, excesses, sentence
from fit50.search.space import grown, shrunk
from fit50.search.start import refuse_other_splits, start_network
from fit50.spec.digest import digest
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.files import write_text
from fit50.spec.machine import environment, physical_cores
from fit50.spec.monitor import Monitor
from fit50.spec.network import Network
from fit50.spec.outcome import Candidate, Difference, Outcome, Trial
from fit50.spec.recipe import Load, Quantize, Recipe
from fit50.spec.request import Request
from fit50.weights.checkpoint import Checkpoint
from fit50.weights.foreign import knows_classes
from fit50.weights.origin import local_file


@dataclass(frozen=True)
class Job:
    """What every part of the main job needs."""

    request: Request
    folder: Path
    store: Store
    dataset: Dataset
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
        BudgetError: nothing can meet the budget; the nearest that can be met is named.
    """
    started = time.monotonic()
    threads = request.device.threads or physical_cores()
    torch.set_num_threads(threads)
    start = start_network(request, out / "cache")
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
    job = Job(request, folder, Store(out / "steps"), dataset, threads, monitor)

    if (folder / "outcome.json").exists():
        monitor.say(f"{folder}: finished before; remove outcome.json to measure and choose anew")
        return Outcome.read(folder / "outcome.json")
    keeps = feasible_keeps(job, start)
    baseline, best, trials = grow(job, start)
    recipes = {"baseline": baseline, "grown": best} if best != baseline else {"baseline": baseline}
    for keep in sorted(keeps, reverse=True):
        if keep < 1:
            recipes[f"pruned to {100 * keep:.4g}%"] = shrunk(best, keep, request.effort)
    candidates, answers = deploy(job, recipes)
    judged, chosen = judge(job, candidates, answers)

    bundle = Bundle.open(out / str(chosen.bundle))
    test = dataset.split("test")
    outcome = Outcome(
        request=request,
        classes=dataset.classes,
        images={name: len(split) for name, split in dataset.splits.items()},
        set_aside=tuple(f"{name}: {reason}" for name, reason in dataset.audit.set_aside),
        environment=environment(threads),
        trials=trials,
        candidates=judged,
        chosen=chosen.name,
        sentence=sentence(chosen, judged, request),
        test=accuracy(file_answers(bundle, test, threads)),
        seconds=time.monotonic() - started,
    )
    bundle.with_score(chosen.score, outcome.environment).copy(folder / "best")
    write_text(folder / "front.svg", front_svg(outcome))
    write_text(folder / "report.html", report_html(outcome))
    write_text(folder / "outcome.json", outcome.model_dump_json(indent=1))
    return outcome


def feasible_keeps(job: Job, start: Network) -> tuple[float, ...]:
    """What the budget allows, found out once: a resumed job keeps to it."""
    kept = job.folder / "feasible.json"
    if kept.exists():
        return tuple(json.loads(kept.read_text(encoding="utf-8")))
    head = start.head.model_copy(update={"classes": len(job.dataset.classes)})
    keeps = feasible(start.model_copy(update={"head": head}), job.request, job.threads, job.monitor)
    write_text(kept, json.dumps(keeps))
    return keeps


def job_folder(request: Request, out: Path) -> Path:
    """Where the job keeps what is its own."""
    return out / f"{Path(request.data).name}-{digest(request)[:8]}"


def grow(job: Job, start: Network) -> tuple[Recipe, Recipe, tuple[Trial, ...]]:
    """Trains the baseline, then each grown candidate and the control; gives the baseline and the best by validation."""
    effort = job.request.effort
    baseline = start_recipe(job, start)
    recipes = {"baseline": baseline, **grown(baseline, start, effort)}
    hits: dict[str, Correct] = {}
    for index, (name, recipe) in enumerate(recipes.items()):
        job.monitor.say(f"[{index + 1}/{len(recipes)}] {name}")
        hits[name] = module_answers(job.realise(recipe), job.dataset.split("val"))
        job.monitor.say(f"      validation accuracy {accuracy(hits[name])}")
    best = max(recipes, key=lambda name: float(hits[name].mean()))
    trials = []
    for name, recipe in recipes.items():
        against = "baseline" if name == "control" else "control"
        compared = difference(hits[name], hits[against]) if name != "baseline" else None
        trials.append(
            Trial(
                name=name,
                run=job.store.run(recipe, job.dataset.identity).folder.name,
                accuracy=accuracy(hits[name]),
                against=against if compared else "",
                difference=compared,
                kept=name == best,
                reason=_trial_reason(name == best, compared, against),
            )
        )
    return baseline, recipes[best], tuple(trials)


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


def _trial_reason(kept: bool, compared: Difference | None, against: str) -> str:
    outcome = (
        "the most accurate on validation, so it is pruned" if kept else "less accurate on validation than the best"
    )
    if compared is None or compared.significant:
        return outcome
    return f"{outcome}; its difference to the {against} is within chance"


def deploy(job: Job, recipes: dict[str, Recipe]) -> tuple[list[Candidate], dict[str, Correct]]:
    """Exports every recipe in every runtime and precision, measures the files in turns, and runs validation on them.

    Gives the candidates, the refused among them, and by name which validation images each file answers correctly.
    """
    candidates: list[Candidate] = []
    bundles: dict[str, Bundle] = {}
    out = job.store.folder.parent
    for index, (label, recipe) in enumerate(recipes.items()):
        job.monitor.progress("export", index, len(recipes))
        checkpoint = job.realise(recipe)
        forms: list[tuple[Checkpoint, Recipe, str]] = [(checkpoint, recipe, name) for name in job.request.runtimes]
        for step in (Quantize(to="bf16"), Quantize(to="fp16"), Quantize(max_drop=_int8_drop(job.request))):
            fewer = quantize(checkpoint, step, job.dataset)
            forms += [
                (fewer, recipe.then(step), name)
                for name in job.request.runtimes
                if not runtime(name).refusal(checkpoint.network, job.request.device, step.to)
            ]
        if label == "baseline":
            forms.append((checkpoint, recipe, "torch"))
        counted = cost(checkpoint.network)
        for form, made_by, name in forms:
            folder = job.store.run(made_by, job.dataset.identity).bundle(name)
            candidate = Candidate(
                name=f"{label} {name} {form.numerics.kind}",
                network=label,
                precision=form.numerics.kind,
                runtime=name,
                parameters=counted.parameters,
                gmacs=counted.gmacs,
                run=folder.parent.parent.name,
            )
            try:
                bundle = _exported(job, form, made_by, name, folder)
            except RuntimeRefusal as refusal:
                candidates.append(candidate.model_copy(update={"verdict": "refused", "reason": str(refusal)}))
                continue
            bundles[candidate.name] = bundle
            candidates.append(candidate.model_copy(update={"bundle": str(folder.relative_to(out))}))
    job.monitor.progress("export", len(recipes), len(recipes))
    scores = measure(bundles, job.threads, monitor=job.monitor)
    validation = job.dataset.split("val")
    answers = {name: file_answers(bundle, validation, job.threads) for name, bundle in bundles.items()}
    scored = [
        c.model_copy(update={"score": scores[c.name].model_copy(update={"accuracy": accuracy(answers[c.name])})})
        if c.name in bundles
        else c
        for c in candidates
    ]
    return scored, answers


def _int8_drop(request: Request) -> float:
    """How much int8 alone may lose: what the budget allows in all, or else 1 point."""
    return 1.0 if request.budget.max_drop is None else request.budget.max_drop


def _exported(job: Job, checkpoint: Checkpoint, recipe: Recipe, name: str, folder: Path) -> Bundle:
    """The bundle of a checkpoint, made (or refused) unless a call before has done so."""
    if folder.exists():
        return Bundle.open(folder)
    kept = folder.with_name(f"{name}.refused")
    if kept.exists():
        raise RuntimeRefusal(kept.read_text(encoding="utf-8"))
    chosen = runtime(name)
    try:
        if refusal := chosen.refusal(checkpoint.network, job.request.device):
            raise RuntimeRefusal(refusal)
        return chosen.export(checkpoint, folder, calibration(checkpoint, job.dataset, seed=step_seed(recipe)))
    except RuntimeRefusal as refused:
        write_text(kept, str(refused))
        raise


def judge(
    job: Job, candidates: list[Candidate], answers: dict[str, Correct]
) -> tuple[tuple[Candidate, ...], Candidate]:
    """Gives every candidate its verdict, and the chosen one. Raises BudgetError."""
    budget = job.request.budget
    measured = [c for c in candidates if c.verdict != "refused"]
    deployable = [c for c in measured if c.runtime != "torch"]
    floats = [c for c in deployable if c.precision == "float32"]
    best_float = min(floats, key=lambda c: (-float(answers[c.name].mean()), costs(c)))
    points = 100 * float(answers[best_float.name].mean())
    chosen = choose(deployable, budget, points)
    offered = {c.name for c in front(deployable)}

    def verdict(candidate: Candidate) -> dict[str, object]:
        if candidate.verdict == "refused":
            return {}
        compared = difference(answers[candidate.name], answers[best_float.name])
        over = "; ".join(excesses(candidate.score, budget, points))
        if candidate.runtime == "torch":
            found, reason = "reference", "the trained baseline as torch runs it; not offered"
        elif candidate is chosen:
            found, reason = "chosen", choice_rule(job.request)
        elif over:
            found, reason = "over-budget", over
        elif candidate.name in offered:
            found, reason = "front", "no other file is faster, smaller and more accurate"
        else:
            found, reason = "dominated", "another file is at least as fast, small and accurate"
        return {"against_baseline": compared, "verdict": found, "reason": reason}

    judged = tuple(c.model_copy(update=verdict(c)) for c in candidates)
    return judged, next(c for c in judged if c.verdict == "chosen")
