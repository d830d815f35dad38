"""How much accuracy common corruptions and missing inputs cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fit50.evaluate.corruptions import SEVERITIES
from fit50.evaluate.intervals import Floats, accuracy, bootstrap, difference, percentile
from fit50.evaluate.views import Corrupted, View, WithoutInput
from fit50.spec.evaluation import CorruptedAccuracy, Corruption, Robustness, Without
from fit50.spec.monitor import Monitor

Correct = NDArray[np.bool_]


def missing_inputs(
    correct: Callable[[View], Correct], split: View, clean: Correct, names: Sequence[str]
) -> tuple[Without, ...]:
    """Accuracy on a split without each of the inputs in turn, for a network that has learned to miss them.

    Args:
        correct: whether the model answers each image of a view correctly (N,).
        split: the images as they are.
        clean: ``correct(split)``.
        names: of the inputs, in their order.
    """
    found = [correct(WithoutInput(split, place)) for place in range(len(names))]
    return tuple(
        Without(input=name, accuracy=accuracy(right), difference=difference(right, clean))
        for name, right in zip(names, found, strict=True)
    )


def robustness(
    correct: Callable[[View], Correct],
    split: View,
    clean: Correct,
    corruptions: Sequence[Corruption],
    monitor: Monitor,
    seed: int = 0,
) -> Robustness:
    """Accuracy on a split under corruptions at severities 1 to 5, a pass for each, with bootstrap intervals.

    The same images are seen in each pass, so that an image is drawn with all its corrupted forms. Resampled are the
    images and two more, one always right and one never (compare ``difference``): 20 of 20 is not 100 % for certain.

    Args:
        correct: whether the model answers each image of a view correctly (N,).
        split: the images as they are.
        clean: ``correct(split)``.
        corruptions: at least one.
        monitor: told how many passes are done.
        seed: of the corruptions and of the resampling.
    """
    passes = [(corruption, severity) for corruption in corruptions for severity in SEVERITIES]
    answers = []
    for done, (corruption, severity) in enumerate(passes, 1):
        answers.append(correct(Corrupted(split, corruption, severity, seed)))
        monitor.progress("corruptions", done, len(passes))
    by_pass = 100.0 * np.reshape(answers, (len(corruptions), len(SEVERITIES), len(clean)))  # (corruption, severity, N)
    by_corruption = by_pass.mean(1)
    figures = np.vstack([by_corruption, by_corruption.mean(0), 100.0 * clean])
    means, drawn = figures.mean(1), _resampled(figures, seed)
    *each, mean = (percentile(means[i], drawn[:, i]) for i in range(len(figures) - 1))
    return Robustness(
        corruptions=tuple(
            CorruptedAccuracy(corruption=name, severities=tuple(severities.mean(1).round(4).tolist()), mean=estimate)
            for name, severities, estimate in zip(corruptions, by_pass, each, strict=True)
        ),
        mean=mean,
        relative_drop=percentile(_drop(means[None])[0], _drop(drawn)) if clean.any() else None,
    )


def _resampled(figures: Floats, seed: int) -> Floats:
    """Means (draws, K) of figures (K, N) in percent."""
    extended = np.hstack([figures, np.full((len(figures), 1), 100.0), np.zeros((len(figures), 1))])
    n = extended.shape[1]
    return bootstrap(lambda weights: weights @ extended.T / n, n, seed)[1]


def _drop(means: Floats) -> Floats:
    """The relative drop in percent (B,) from means (B, K), of which the last two are corrupted and clean."""
    corrupted, clean = means[:, -2], means[:, -1]
    return 100 * (1 - corrupted / np.where(clean > 0, clean, np.nan))
