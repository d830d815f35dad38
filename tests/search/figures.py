"""Candidates by their figures."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fit50.search.front import Answered
from fit50.spec.outcome import Accuracy, Candidate, Latency, Score


def candidate(name: str, *, right: int = 90, ms: float = 2.0, mb: float = 10.0, peak: float | None = None) -> Candidate:
    """A measured candidate that answers ``right`` of 100 validation images."""
    return Candidate(
        name=name,
        network=name,
        precision="float32",
        runtime="openvino",
        parameters=1,
        gmacs=1.0,
        run="",
        score=Score(
            accuracy=Accuracy(correct=right, n=100, low=0, high=100),
            latency=Latency(median=ms, low=ms, high=ms, p95=ms, n=1),
            size=mb,
            memory=peak,
        ),
    )


def answers(candidates: Iterable[Candidate]) -> Answered:
    """The first images, as many as each has right; so of two, one has all right that the other has."""
    return {each.name: np.arange(100) < each.score.accuracy.correct for each in candidates if each.score.accuracy}
