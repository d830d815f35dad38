"""What the report says of an outcome, before any of it is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from fit50.spec.outcome import Accuracy, Candidate, Outcome
from fit50.spec.request import Budget

Cost = Literal["latency", "size"]


@dataclass(frozen=True, slots=True)
class Point:
    """A candidate with what it costs (milliseconds or megabytes) and its validation accuracy."""

    candidate: Candidate
    cost: float
    accuracy: Accuracy

    @property
    def percent(self) -> float:
        """Validation accuracy in percent."""
        return self.accuracy.percent

    @property
    def on_front(self) -> bool:
        """Whether no other file is better in every respect."""
        return self.candidate.verdict in ("chosen", "front")


def latency(candidate: Candidate) -> float | None:
    """Median milliseconds for one image."""
    return candidate.score.latency.median if candidate.score.latency else None


def points(outcome: Outcome, cost: Cost = "latency") -> tuple[Point, ...]:
    """The candidates whose accuracy and cost are known, in the outcome's order."""
    return tuple(
        Point(candidate, value, candidate.score.accuracy)
        for candidate in outcome.candidates
        if candidate.score.accuracy and (value := _cost(candidate, cost))
    )


def _cost(candidate: Candidate, cost: Cost) -> float | None:
    return latency(candidate) if cost == "latency" else candidate.score.size


def front(among: Iterable[Point]) -> tuple[Point, ...]:
    """Those than which none is both cheaper and at least as accurate, the cheapest first."""
    kept: list[Point] = []
    for point in sorted(among, key=lambda point: (point.cost, -point.percent)):
        if not kept or point.percent > kept[-1].percent:
            kept.append(point)
    return tuple(kept)


def chosen(outcome: Outcome) -> Candidate | None:
    """The candidate that the outcome names."""
    return next((candidate for candidate in outcome.candidates if candidate.name == outcome.chosen), None)


def reference(outcome: Outcome) -> Candidate | None:
    """The candidate that was measured for comparison only."""
    return next((candidate for candidate in outcome.candidates if candidate.verdict == "reference"), None)


def baseline(outcome: Outcome) -> Candidate | None:
    """The most accurate float candidate; of equals, a file before the reference, and the faster file."""

    def rank(candidate: Candidate) -> tuple[float, bool, float]:
        percent = candidate.score.accuracy.percent if candidate.score.accuracy else 0.0
        return percent, candidate.verdict != "reference", -(latency(candidate) or 0.0)

    floats = (each for each in outcome.candidates if each.precision == "float32" and each.score.accuracy)
    return max(floats, key=rank, default=None)


def accuracy_floor(outcome: Outcome) -> float | None:
    """The least accuracy that the budget allows, in percent of the validation images."""
    budget, best = outcome.request.budget, baseline(outcome)
    floors = [] if budget.min_accuracy is None else [budget.min_accuracy]
    if budget.max_drop is not None and best and best.score.accuracy:
        floors.append(best.score.accuracy.percent - budget.max_drop)
    return max(floors, default=None)


def limit(budget: Budget, cost: Cost) -> float | None:
    """The most that the budget allows of a cost."""
    return budget.latency if cost == "latency" else budget.size


def speed_up(outcome: Outcome, candidate: Candidate) -> float | None:
    """How many times faster than the reference, by the medians."""
    slow = reference(outcome)
    theirs, ours = latency(slow) if slow else None, latency(candidate)
    return theirs / ours if theirs and ours else None


def by_latency(outcome: Outcome) -> list[Candidate]:
    """The candidates, the fastest first, those without a latency last."""
    return sorted(outcome.candidates, key=lambda each: (latency(each) is None, latency(each) or 0.0))


def summary(candidate: Candidate) -> list[tuple[str, str]]:
    """The candidate's figures, each with what it is, leaving out what is not known."""
    score = candidate.score
    lines = {
        "accuracy": score.accuracy,
        "against the best float file": candidate.against_baseline,
        "latency": score.latency,
        "size": score.size and f"{score.size:.1f} MB",
        "memory": score.memory and f"{score.memory:.0f} MB",
        "verdict": f"{candidate.verdict}: {candidate.reason}" if candidate.reason else candidate.verdict,
    }
    return [(name, str(value)) for name, value in lines.items() if value]
