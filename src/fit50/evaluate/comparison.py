"""Two models on the same images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from fit50.evaluate.intervals import accuracy, difference, estimate, proportion
from fit50.spec.evaluation import Comparison, Flip

Labels = NDArray[np.int64]


def compare(
    old: Labels, new: Labels, labels: Labels, classes: tuple[str, ...], names: tuple[str, ...], seed: int = 0
) -> Comparison:
    """What changes when one model takes another's place.

    Args:
        old: the first model's answers, class indices (N,).
        new: the second's on the same images (N,).
        labels: the right answers (N,).
        classes: their names.
        names: of the images (N,).
        seed: of the bootstrap.
    """
    was, now = old == labels, new == labels
    lost, won = int((was & ~now).sum()), int((now & ~was).sum())
    regressions = proportion(lost, len(labels))
    return Comparison(
        old=accuracy(was),
        new=accuracy(now),
        difference=difference(now, was, seed),
        p=mcnemar(lost, won),
        lost=lost,
        won=won,
        changed=int((~was & ~now & (old != new)).sum()),
        negative_flip_rate=estimate(regressions.percent, regressions.low, regressions.high),
        flips=tuple(
            Flip(name=names[i], label=classes[labels[i]], old=classes[old[i]], new=classes[new[i]])
            for i in np.flatnonzero(old != new)
        ),
    )


def mcnemar(lost: int, won: int) -> float:
    """The two-sided p of McNemar's exact test: of images that one model has right, either is as likely the one."""
    return float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0
