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

    Those that are ``outpaced`` do not count at all. Memory does not count here: the peak of a process is mostly the
    runtime's own.
    """
    offered = [each for each in candidates if not outpaced(each, candidates)]

    def dominated(one: Candidate) -> bool:
        mine = costs(one)
        return any(
            costs(other) != mine and all(theirs <= ours for theirs, ours in zip(costs(other), mine, strict=True))
            for other in offered
        )

    return tuple(sorted((each for each in offered if not dominated(each)), key=costs))


def outpaced(candidate: Candidate, candidates: Sequence[Candidate]) -> bool:
    """Whether a file in int8 is slower than one in float that is as accurate: smaller is then all that it is."""
    latency, _, error = costs(candidate)
    return candidate.precision == "int8" and any(
        other.precision != "int8" and costs(other)[0] < latency and costs(other)[2] <= error for other in candidates
    )
