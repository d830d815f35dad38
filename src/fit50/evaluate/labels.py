"""Labels that are probably wrong, by what a model answers that did not learn from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fit50.data.dataset import Dataset
from fit50.evaluate.metrics import Answer, probabilities
from fit50.spec.inspection import Labels, Suspect

_SPLITS = ("val", "test")


def check_labels(answer: Answer, dataset: Dataset, model: str, known: bool, batch: int = 50) -> Labels:
    """Asks a model about all images of val and test, together.

    Args:
        answer: for each input uint8 images (N, H, W, C), to probabilities (N, classes).
        dataset: whose val and test the model did not learn from.
        model: what the model is called.
        known: whether it is known that it did not.
        batch: images at once.
    """
    splits = {name: dataset.split(name) for name in _SPLITS}
    found = np.concatenate([probabilities(answer, split, batch=batch) for split in splits.values()])
    labels = np.concatenate([split.labels for split in splits.values()])
    names = [(name, image) for name, split in splits.items() for image in split.names]
    suspects = tuple(
        Suspect(
            name=names[place][1],
            split=names[place][0],
            given=dataset.classes[labels[place]],
            suggested=dataset.classes[suggested],
            given_probability=float(found[place, labels[place]]),
            suggested_probability=float(found[place, suggested]),
        )
        for place, suggested in label_errors(found, labels)
    )
    agreement = 100 * float((found.argmax(1) == labels).mean())
    return Labels(model=model, known=known, n=len(labels), agreement=agreement, suspects=suspects)


def label_errors(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Confident learning (Northcutt et al. 2021): images off the diagonal of the confident joint.

    A class's threshold is the mean probability that its own images give it. An image counts for the most probable of
    the classes whose thresholds it reaches; if that is not the given one, its label is suspected.

    Args:
        probabilities: out of sample, (N, classes).
        labels: the given class indices (N,).

    Returns:
        (index of the image, suggested class), those first whose suggested class is most ahead of the given one.
    """
    n, classes = probabilities.shape
    own = probabilities[np.arange(n), labels]
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, weights=own, minlength=classes)
    thresholds = np.divide(sums, counts, out=np.full(classes, np.inf), where=counts > 0)
    reached = np.where(probabilities >= thresholds, probabilities, -1.0)
    suggested = reached.argmax(1)
    suspected = np.flatnonzero((reached.max(1) >= 0) & (suggested != labels))
    ahead = probabilities[suspected, suggested[suspected]] - own[suspected]
    order = np.argsort(-ahead, kind="stable")
    return [(int(place), int(suggested[place])) for place in suspected[order]]
