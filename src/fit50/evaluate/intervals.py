"""The uncertainty of what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from fit50.spec.evaluation import Estimate
from fit50.spec.outcome import Accuracy, Difference

Floats = NDArray[np.float64]


def accuracy(correct: NDArray[np.bool_]) -> Accuracy:
    """Accuracy with Wilson's 95 % interval (Wilson 1927), from the correctness of each image (N,)."""
    return proportion(int(correct.sum()), len(correct))


def proportion(hits: int, n: int) -> Accuracy:
    """``hits`` of ``n``, with Wilson's 95 % interval."""
    interval = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    return Accuracy(correct=hits, n=n, low=100 * float(interval.low), high=100 * float(interval.high))


def difference(correct: NDArray[np.bool_], reference: NDArray[np.bool_], seed: int = 0) -> Difference:
    """Points by which one model is better than another on the same images, with the paired bootstrap's 95 % interval.

    Resampled are the images and two more, one that only the first model has right and one that only the other has (as
    Bonett and Price 2012 do for their interval). So models that agree on every image may still differ by about three
    images of ``n``, and "better" needs as much evidence as McNemar's exact test asks for: 6 : 0, not 4 : 0.

    Args:
        correct: whether the model answered each image correctly (N,).
        reference: the same for the other model, on the same images.
        seed: of the resampling.
    """
    n, won, lost = len(correct), int((correct & ~reference).sum()), int((reference & ~correct).sum())
    chances = np.array([won + 1, lost + 1, n - won - lost]) / (n + 2)
    drawn = np.random.default_rng(seed).multinomial(n + 2, chances, size=20_000)
    low, high = np.percentile(100 * (drawn[:, 0] - drawn[:, 1]) / (n + 2), [2.5, 97.5])
    return Difference(points=100 * (won - lost) / n, low=float(low), high=float(high), n=n)


def balanced(hits: NDArray[np.int64], n: NDArray[np.int64]) -> Estimate:
    """Balanced accuracy in percent: the mean of the recalls of those classes that have images.

    The interval is Price and Bonett's (2004): two right and two wrong answers are added, spread over the classes.
    Unlike the bootstrap's, it knows that a class of three images, all answered rightly, says little.

    Args:
        hits: images of each class that are answered rightly (classes,).
        n: images of each class (classes,); a class without any does not count.
    """
    hits, n = hits[n > 0], n[n > 0]
    classes = len(n)
    recalls = (hits + 2 / classes) / (n + 4 / classes)
    half = 1.96 * float(np.sqrt((recalls * (1 - recalls) / (n + 4 / classes)).sum())) / classes
    centre = float(recalls.mean())
    return estimate(100 * float((hits / n).mean()), 100 * max(centre - half, 0), 100 * min(centre + half, 1))


def estimate(value: float, low: float, high: float) -> Estimate:
    """The three figures with four decimals: more would be noise of the resampling."""
    return Estimate(value=round(float(value), 4), low=round(float(low), 4), high=round(float(high), 4))


def bootstrap(statistics: Callable[[Floats], Floats], n: int, seed: int, draws: int = 2000) -> tuple[Floats, Floats]:
    """What some statistics are, and what they are on images drawn anew, as many and with replacement.

    Args:
        statistics: from weights (B, n), how often each image counts, to figures (B, K).
        n: images.
        seed: of the resampling.
        draws: resamples; a multiple of 50.

    Returns:
        The figures of the images as they are (K,), and of each resample (draws, K).
    """
    drawn = np.concatenate([statistics(weights) for weights in _resampled(n, seed, draws)])
    return statistics(np.ones((1, n)))[0], drawn


def _resampled(n: int, seed: int, draws: int, at_once: int = 50) -> Iterator[Floats]:
    """Weights (at_once, n), which sum to ``n`` in each row."""
    random = np.random.default_rng(seed)
    rows = n * np.arange(at_once)[:, None]
    for _ in range(draws // at_once):
        chosen = random.integers(n, size=(at_once, n)) + rows
        yield np.bincount(chosen.ravel(), minlength=at_once * n).reshape(at_once, n).astype(float)


def percentile(value: float, drawn: Floats) -> Estimate:
    """The value with the bootstrap's percentile interval (Efron and Tibshirani 1993), from its resamples (draws,)."""
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return estimate(value, low, high)
