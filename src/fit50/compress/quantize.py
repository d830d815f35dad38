"""Fewer bits as a property of a checkpoint; the runtime's export makes it true in the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fit50.compress.qat import trained_to_round
from fit50.data.dataset import Dataset
from fit50.data.images import Images
from fit50.runtimes.base import Calibration
from fit50.spec.monitor import Monitor
from fit50.spec.numerics import Float32, Half, Int8
from fit50.spec.recipe import Quantize
from fit50.weights.checkpoint import Checkpoint

# Validation images by which an int8 file is judged where they are not resident: a point is then 50 images.
_JUDGES = 5000


def quantize(
    checkpoint: Checkpoint,
    step: Quantize,
    dataset: Dataset,
    *,
    seed: int = 0,
    saved: Path | None = None,
    monitor: Monitor | None = None,
) -> Checkpoint:
    """The checkpoint with the numerics asked for; PTQ's int8 is to be calibrated on images of this data set.

    Args:
        checkpoint: in float.
        step: what for, and how.
        dataset: QAT learns from its training split, and remembers the float network's accuracy on its validation
            split; otherwise only its identity and its length are asked for.
        seed: decides what is random in QAT.
        saved: where QAT keeps its state; only QAT needs it.
        monitor: told of its progress.

    Raises:
        RuntimeRefusal, MissingExtraError: see ``trained_to_round``.
    """
    if step.to != "int8":
        return replace(checkpoint, numerics=Half(kind=step.to))
    samples = min(step.samples, len(dataset.split("train")))
    post = replace(checkpoint, numerics=Int8(dataset=dataset.identity, samples=samples, max_drop=step.max_drop))
    if step.method == "ptq":
        return post
    assert saved is not None
    judges = _judges(dataset, step.max_drop, seed)
    return trained_to_round(post, step, dataset, judges, seed=seed, saved=saved, monitor=monitor or Monitor())


def calibration(checkpoint: Checkpoint, dataset: Dataset, *, seed: int) -> Calibration | None:
    """The images that an export in the checkpoint's numerics needs: validation ones to judge, and training ones to take
    the ranges of the activations from, unless these were learned.
    """
    match checkpoint.numerics:
        case Float32() | Half():
            return None
        case Int8(samples=samples, max_drop=max_drop, learned=learned):
            images = () if learned else dataset.split("train").take(samples, seed).pixels
            return replace(_judges(dataset, max_drop, seed), images=images)


def _judges(dataset: Dataset, max_drop: float, seed: int) -> Calibration:
    """The validation images alone."""
    validation = dataset.split("val")
    if not isinstance(validation, Images):
        validation = validation.take(_JUDGES, seed)
    return Calibration((), validation.pixels, validation.labels, max_drop)
