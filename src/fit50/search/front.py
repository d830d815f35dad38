"""The measured trade-off."""

from __future__ import annotations

from collections.abc import Sequence

from fit50.spec.outcome import Candidate


def costs(candidate: Candidate) -> tuple[float, float, float]:
    """What is to be small: latency (ms), size (MB), and the error (percent)."""
    score = candidate.score
    assert score.accuracy is not None and score.latency is not None and score.size is not None
    return score.latency.median, score.size, 100 - score.accuracy.percent


def front(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The candidates that no other one equals or betters in accuracy, latency and size alike, fastest first.

    Memory does not count here: the peak of a process is mostly the runtime's own.
    """

    def dominated(one: Candidate) -> bool:
        mine = costs(one)
        return any(
            costs(other) != mine and all(theirs <= ours for theirs, ours in zip(costs(other), mine, strict=True))
            for other in candidates
        )

    return tuple(sorted((c for c in candidates if not dominated(c)), key=costs))
