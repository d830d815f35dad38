"""From trained networks to measured files, in every runtime and precision."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from fit50.compress.quantize import calibration
from fit50.evaluate.intervals import accuracy
from fit50.nn.cost import cost
from fit50.pipeline.answers import Correct, split_answers
from fit50.pipeline.exporting import exported
from fit50.pipeline.realise import step_seed
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle
from fit50.search.job import Job, fewer_bits
from fit50.spec.digest import digest
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.network import Network
from fit50.spec.numerics import Precision
from fit50.spec.outcome import Candidate
from fit50.spec.recipe import Quantize, Recipe
from fit50.spec.runtimes import RuntimeName

_Form = tuple[Recipe, Precision, tuple[RuntimeName, ...]]


def deploy(
    job: Job, recipes: Mapping[str, Recipe], refused: Mapping[str, str]
) -> tuple[list[Candidate], dict[str, Correct]]:
    """Exports every recipe in every runtime and precision; measures and validates the files in turns on the device.

    Args:
        job: whose files they are.
        recipes: of the trained networks, by their labels.
        refused: why some recipes for int8 came to nothing, by their digests.

    Returns:
        The candidates, the refused among them, and by name which validation images each file answers correctly.
    """
    candidates: list[Candidate] = []
    bundles: dict[str, Bundle] = {}
    for index, (label, recipe) in enumerate(recipes.items()):
        job.monitor.progress("export", index, len(recipes))
        network = job.realise(recipe).network
        dataset, counted = job.dataset.fitted(network.inputs), cost(network)
        for made_by, precision, runtimes in _forms(job, label, recipe, network):
            run, last = job.store.run(made_by, job.dataset.identity), made_by.steps[-1]
            refusal = refused.get(digest(made_by))
            form = job.realise(made_by) if refusal is None else None
            for name in runtimes:
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
                    if form is None:
                        raise RuntimeRefusal(refusal)
                    given = partial(calibration, form, dataset, seed=step_seed(made_by))
                    bundle = exported(run, form, name, job.flags, given)
                except RuntimeRefusal as reason:
                    candidates.append(candidate.model_copy(update={"verdict": "refused", "reason": str(reason)}))
                    continue
                bundles[candidate.name] = bundle
                place = str(bundle.folder.relative_to(job.store.folder.parent))
                candidates.append(candidate.model_copy(update={"bundle": place}))
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


def _forms(job: Job, label: str, recipe: Recipe, network: Network) -> list[_Form]:
    """What is made of a network: the recipe, the precision, and the runtimes that have it."""
    asked, device = job.request.runtimes, job.request.device
    reference: tuple[RuntimeName, ...] = ()
    if label == "baseline" and "torch" in job.place.facts.runtimes:
        reference = ("torch",)
    forms: list[_Form] = [(recipe, "float32", (*asked, *reference))]
    for step in fewer_bits(job.request, job.flags):
        able = (n for n in asked if not runtime(n, job.flags).refusal(network, device, step.to, learned=step.trains))
        forms.append((recipe.then(step), step.to, tuple(able)))
    return [form for form in forms if form[2]]
