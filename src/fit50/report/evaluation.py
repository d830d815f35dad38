"""Evaluations and comparisons for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fit50.report.columns import columns
from fit50.report.markup import shorten
from fit50.spec.evaluation import ClassScore, Comparison, Estimate, Evaluation, Robustness
from fit50.spec.outcome import Accuracy

_CLASSES = 20
_CONFUSIONS = 5
_FLIPS = 10
_NAME = 40


def evaluation_text(evaluation: Evaluation, split: str) -> str:
    """All figures with their 95 % intervals; of many classes those with the least recall."""
    return "\n".join(_evaluation(evaluation, split))


def _evaluation(found: Evaluation, split: str) -> Iterator[str]:
    yield f"{split} accuracy {found.accuracy}"
    if found.top_k is not None:
        yield f"top-{found.k} accuracy {found.top_k}"
    yield f"balanced accuracy {_percent(found.balanced_accuracy)}"
    yield f"macro F1 {_percent(found.macro_f1)}"
    yield f"calibration error {_percent(found.calibration_error)}"
    loss = found.log_likelihood_loss
    yield f"negative log-likelihood {loss.value:.3f} [{loss.low:.3f}, {loss.high:.3f}]"
    for each in found.without:
        yield f"without {each.input}: accuracy {each.accuracy}; {each.difference}"
    yield from _classes(found.classes)
    confusions = found.confusions(_CONFUSIONS)
    if confusions:
        yield "\nmost confused"
        yield from (f"  {each.label} answered as {each.answer}: {each.count} of {each.n}" for each in confusions)
    if found.robustness is not None:
        yield from _robustness(found.robustness)


def _classes(classes: Sequence[ClassScore]) -> Iterator[str]:
    shown = [each for each in classes if each.recall is not None]
    shown = sorted(shown, key=lambda each: each.recall.percent if each.recall else 0)[:_CLASSES]
    yield "" if len(shown) == len(classes) else f"\nthe {len(shown)} of {len(classes)} classes with the least recall"
    rows = [
        (shorten(each.name, _NAME), _images(each.recall), _share(each.recall), _share(each.precision)) for each in shown
    ]
    yield from columns([("class", "images", "recall %", "precision %"), *rows])


def _robustness(found: Robustness) -> Iterator[str]:
    yield "\naccuracy (%) under corruptions of severity 1 to 5, and their mean"
    rows = [
        (each.corruption, *(f"{percent:.1f}" for percent in each.severities), _percent(each.mean))
        for each in found.corruptions
    ]
    yield from columns([*rows, ("mean", *[""] * 5, _percent(found.mean))])
    drop = found.relative_drop
    if drop is not None and drop.value >= 0:
        yield f"of the accuracy on the images as they are, {_percent(drop)} is lost"
    elif drop is not None:
        gain = Estimate(value=-drop.value, low=-drop.high, high=-drop.low)
        yield f"no accuracy is lost: {_percent(gain)} of that on the images as they are is gained"


def comparison_text(comparison: Comparison, split: str) -> str:
    """Both accuracies, their difference, and what became of the images."""
    return "\n".join(_comparison(comparison, split))


def _comparison(found: Comparison, split: str) -> Iterator[str]:
    yield f"{split} accuracy {found.old} (old)"
    yield f"{split} accuracy {found.new} (new)"
    yield f"difference {found.difference} (new minus old)"
    yield f"McNemar's exact test: p = {found.p:.2g}"
    yield f"flips: {found.lost} right to wrong, {found.won} wrong to right, {found.changed} wrong to otherwise wrong"
    yield f"negative flip rate {_percent(found.negative_flip_rate)}"
    lost = [flip for flip in found.flips if flip.kind == "lost"]
    if lost:
        yield "\nright to wrong"
        yield from columns([(f"  {flip.name}", f"{flip.old} -> {flip.new}") for flip in lost[:_FLIPS]], left=2)
    if len(lost) > _FLIPS:
        yield f"  and {len(lost) - _FLIPS} more (--flips FOLDER writes all)"


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value:.1f} % [{estimate.low:.1f}, {estimate.high:.1f}]"


def _images(recall: Accuracy | None) -> str:
    return "-" if recall is None else str(recall.n)


def _share(share: Accuracy | None) -> str:
    return "-" if share is None else f"{share.percent:.1f} [{share.low:.1f}, {share.high:.1f}]"
