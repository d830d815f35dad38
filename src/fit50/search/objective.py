"""The choice under a budget, by one rule that can be said in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from fit50.search.front import Answered, costs, outpaced
from fit50.spec.errors import BudgetError
from fit50.spec.outcome import Candidate, Score
from fit50.spec.request import Budget, Request


def excesses(score: Score, budget: Budget, best_float: float | None) -> tuple[str, ...]:
    """What a score exceeds, a phrase for each limit; empty when it is within the budget.

    Args:
        score: figures that were not measured exceed nothing.
        budget: the limits.
        best_float: the validation accuracy (percent) that ``max_drop`` counts from.
    """
    found = []
    for name, value, limit, unit in (
        ("latency", score.latency.median if score.latency else None, budget.latency, "ms"),
        ("size", score.size, budget.size, "MB"),
        ("memory", score.memory, budget.memory, "MB"),
    ):
        if value is not None and limit is not None and value > limit:
            found.append(f"{name} {value:.3g} {unit} > {limit:.3g} {unit}")
    if score.accuracy is not None:
        percent = score.accuracy.percent
        if budget.max_drop is not None and best_float is not None and best_float - percent > budget.max_drop + 1e-9:
            found.append(f"{best_float - percent:.1f} points below the best float > {budget.max_drop:.3g}")
        if budget.min_accuracy is not None and percent < budget.min_accuracy:
            found.append(f"accuracy {percent:.1f} % < {budget.min_accuracy:.3g} %")
    return tuple(found)


def choose(candidates: Sequence[Candidate], budget: Budget, best_float: float, answers: Answered) -> Candidate:
    """The candidate to deploy, among those measured.

    Where the budget bounds the accuracy: the fastest within it. Otherwise: the most accurate within it, but no int8
    that a float file within it has ``outpaced``. What ties goes to the smaller file.

    Raises BudgetError, naming the nearest candidates, where none is within the budget.
    """
    within = [c for c in candidates if not excesses(c.score, budget, best_float)]
    if not within:
        raise BudgetError(
            "no measured candidate is within the budget; the nearest:\n  "
            + "\n  ".join(_nearest(candidates, budget, best_float))
        )
    bounded = budget.max_drop is not None or budget.min_accuracy is not None

    def rank(candidate: Candidate) -> tuple[float, float, float]:
        latency, size, error = costs(candidate)
        return (latency, size, error) if bounded else (error, latency, size)

    return min((c for c in within if not outpaced(c, within, answers)), key=rank)


def _nearest(candidates: Sequence[Candidate], budget: Budget, best_float: float) -> list[str]:
    """The three candidates that exceed the fewest limits, with what they exceed."""
    ranked = sorted(candidates, key=lambda c: len(excesses(c.score, budget, best_float)))
    return [f"{c.name}: {'; '.join(excesses(c.score, budget, best_float))}" for c in ranked[:3]]


def choice_rule(request: Request) -> str:
    """The rule by which the choice is made, in words."""
    budget = request.budget
    bounds = []
    if budget.max_drop is not None:
        bounds.append(f"at most {budget.max_drop:.3g} points below the best float file")
    if budget.min_accuracy is not None:
        bounds.append(f"at least {budget.min_accuracy:.3g} % on validation")
    if bounds:
        return f"the fastest within the budget, {' and '.join(bounds)}"
    return (
        "the most accurate within the budget, int8 only where no faster float file is as accurate (within chance, if "
        "it is of the same network)"
    )


def sentence(chosen: Candidate, candidates: tuple[Candidate, ...], request: Request) -> str:
    """The choice in one sentence, with what it gains over the trained network in torch.

    Where the device has no torch, that is over the trained network's fastest float file.
    """
    floats = [c for c in candidates if c.network == "baseline" and c.precision == "float32" and c.verdict != "refused"]
    reference = next((c for c in candidates if c.verdict == "reference"), None) or min(floats, key=costs)
    score, before = chosen.score, reference.score
    assert score.latency is not None
    assert score.size is not None
    assert before.latency is not None
    assert before.size is not None
    faster, smaller = before.latency.median / score.latency.median, before.size / score.size
    return (
        f"Deploy {chosen.name}: {choice_rule(request)}; {score.latency.median:.2f} ms for an image, "
        f"{faster:.1f}x faster and {smaller:.1f}x smaller than the trained float network in {reference.runtime}, "
        f"validation accuracy {score.accuracy} ({chosen.against_baseline} against the best float file)."
    )
