"""The measured trade-off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fit50.evaluate.intervals import difference
from fit50.spec.outcome import Candidate

Answered = Mapping[str, NDArray[np.bool_]]
"""By a candidate's name, which validation images its file answers correctly (N,)."""


def costs(candidate: Candidate) -> tuple[float, float, float]:
    """What is to be small: latency (ms), size (MB), and the error (percent)."""
    score = candidate.score
    assert score.accuracy is not None and score.latency is not None and score.size is not None
    return score.latency.median, score.size, 100 - score.accuracy.percent


def front(candidates: Sequence[Candidate], answers: Answered) -> tuple[Candidate, ...]:
    """The candidates that no other one equals or betters in accuracy, latency and size alike, fastest first.

    Those that are ``outpaced`` do not count at all. Memory does not count here: the peak of a process is mostly the
    runtime's own.

    Args:
        candidates: measured.
        answers: of each.
    """
    offered = [each for each in candidates if not outpaced(each, candidates, answers)]

    def dominated(one: Candidate) -> bool:
        mine = costs(one)
        return any(
            costs(other) != mine and all(theirs <= ours for theirs, ours in zip(costs(other), mine, strict=True))
            for other in offered
        )

    return tuple(sorted((each for each in offered if not dominated(each)), key=costs))


def outpaced(candidate: Candidate, candidates: Sequence[Candidate], answers: Answered) -> bool:
    """Whether a file in int8 is slower than one in float that is as accurate: smaller is then all that it is.

    A float file of the same network is as accurate where the int8 file is not more accurate beyond chance.

    Args:
        candidate: measured.
        candidates: those that it is compared with.
        answers: of each.
    """
    latency, _, error = costs(candidate)

    def as_accurate(other: Candidate) -> bool:
        alike = other.network == candidate.network
        return costs(other)[2] <= error or (alike and difference(answers[candidate.name], answers[other.name]).low <= 0)

    return candidate.precision == "int8" and any(
        other.precision != "int8" and costs(other)[0] < latency and as_accurate(other) for other in candidates
    )
