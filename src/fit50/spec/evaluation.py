"""What an evaluation finds: the values that ``evaluate`` and ``compare`` print."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from fit50.spec.outcome import Accuracy, Difference
from fit50.spec.value import Value

Corruption = Literal[
    "gaussian-noise",
    "shot-noise",
    "impulse-noise",
    "defocus-blur",
    "motion-blur",
    "zoom-blur",
    "fog",
    "brightness",
    "contrast",
    "elastic",
    "pixelate",
    "jpeg",
]


class Estimate(Value):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class ClassScore(Value):
    """One class: the share of its images that are answered with it, and the share of these answers that are right.

    ``recall`` is None where the split has no image of the class, ``precision`` where no image is answered with it.
    """

    name: str
    recall: Accuracy | None
    precision: Accuracy | None


class Confusion(Value):
    """``count`` of the ``n`` images of a class are answered with another."""

    label: str
    answer: str
    count: PositiveInt
    n: PositiveInt


class Without(Value):
    """What is left of the accuracy where an input is missing; the difference is to all inputs, on the same images."""

    input: str
    accuracy: Accuracy
    difference: Difference


class CorruptedAccuracy(Value):
    """Accuracy on corrupted images: for each severity from 1 to 5, and their mean (percent)."""

    corruption: Corruption
    severities: tuple[float, ...]
    mean: Estimate


class Robustness(Value):
    """Accuracy under common corruptions (Hendrycks and Dietterich 2019), in percent.

    ``mean`` is over corruptions and severities. ``relative_drop`` is the part of the accuracy on the images as they are
    that is lost in the mean; None where nothing could be lost.
    """

    corruptions: tuple[CorruptedAccuracy, ...]
    mean: Estimate
    relative_drop: Estimate | None


class Evaluation(Value):
    """What a model answers on the ``n`` images of a split.

    Attributes:
        accuracy: the most probable class is right.
        k: how many classes ``top_k`` looks at.
        top_k: the class is among the ``k`` most probable; None where there are no more than ``k`` classes.
        balanced_accuracy: the mean of the classes' recalls, in percent.
        macro_f1: the mean over classes of the harmonic mean of recall and precision, in percent.
        calibration_error: how far confidence lies from accuracy on average, in percent (Guo et al. 2017, 15 bins).
        log_likelihood_loss: the mean negative log-likelihood, in nats.
        classes: each class by itself.
        confusion: images of each class (row) answered with each class (column).
        without: for a network that may miss inputs, its accuracy without each.
        robustness: where it was asked for.
    """

    n: PositiveInt
    accuracy: Accuracy
    k: PositiveInt
    top_k: Accuracy | None
    balanced_accuracy: Estimate
    macro_f1: Estimate
    calibration_error: Estimate
    log_likelihood_loss: Estimate
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[NonNegativeInt, ...], ...]
    without: tuple[Without, ...] = ()
    robustness: Robustness | None = None

    def confusions(self, most: int) -> tuple[Confusion, ...]:
        """At most ``most`` pairs of classes, those first whose images are taken for one another most often."""
        names = [each.name for each in self.classes]
        found = [
            Confusion(label=names[i], answer=names[j], count=count, n=sum(row))
            for i, row in enumerate(self.confusion)
            for j, count in enumerate(row)
            if count and i != j
        ]
        return tuple(sorted(found, key=lambda each: -each.count)[:most])


class Flip(Value):
    """An image that two models answer differently, the old one first."""

    name: str
    label: str
    old: str
    new: str

    @property
    def kind(self) -> Literal["lost", "won", "changed"]:
        """``lost``: right became wrong; ``won``: wrong became right; ``changed``: wrong became otherwise wrong."""
        return "lost" if self.old == self.label else "won" if self.new == self.label else "changed"


class Comparison(Value):
    """Two models on the same images.

    Attributes:
        old: the first model's accuracy.
        new: the second model's.
        difference: the second's minus the first's (paired).
        p: of McNemar's exact test that both are right equally often (McNemar 1947).
        lost: images that the old model has right and the new one wrong.
        won: images that the old model has wrong and the new one right.
        changed: images that both have wrong, with different answers.
        negative_flip_rate: ``lost`` in percent of all images (Yan et al. 2021).
        flips: all images that are answered differently.
    """

    old: Accuracy
    new: Accuracy
    difference: Difference
    p: float
    lost: NonNegativeInt
    won: NonNegativeInt
    changed: NonNegativeInt
    negative_flip_rate: Estimate
    flips: tuple[Flip, ...]
