"""The uncertainty of what was measured, by scipy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, bootstrap

from fit50.spec.outcome import Accuracy, Difference


def accuracy(correct: NDArray[np.bool_]) -> Accuracy:
    """Accuracy with Wilson's 95 % interval (Wilson 1927), from the correctness of each image (N,)."""
    hits, n = int(correct.sum()), len(correct)
    interval = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    return Accuracy(correct=hits, n=n, low=100 * float(interval.low), high=100 * float(interval.high))


def difference(correct: NDArray[np.bool_], reference: NDArray[np.bool_], seed: int = 0) -> Difference:
    """Points by which one model is better than another on the same images, with the paired bootstrap's 95 % interval.

    Args:
        correct: whether the model answered each image correctly (N,).
        reference: the same for the other model, on the same images.
        seed: of the resampling.
    """
    points = 100 * (correct.astype(float) - reference.astype(float))
    mean, n = float(points.mean()), len(points)
    if points.std() == 0:
        return Difference(points=mean, low=mean, high=mean, n=n)
    drawn = bootstrap(
        (points,), np.mean, n_resamples=2000, batch=50, method="percentile", rng=np.random.default_rng(seed)
    )
    low, high = drawn.confidence_interval
    return Difference(points=mean, low=float(low), high=float(high), n=n)
