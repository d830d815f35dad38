"""What a compression step breaks: accuracy, classes, single answers, calibration, and the maps between layers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fit50.compress.correspondence import block_errors, blocks, correspondence
from fit50.data.split import Split
from fit50.evaluate.comparison import compare
from fit50.evaluate.intervals import accuracy, difference
from fit50.evaluate.metrics import Answer, probabilities
from fit50.evaluate.scores import calibration_error
from fit50.nn.deployed import Deployed
from fit50.spec.damage import ClassChange, Damage
from fit50.spec.evaluation import Flip
from fit50.weights.checkpoint import Checkpoint

JUDGES = 1000
"""Validation images that a step is judged by at most: a point is then ten images."""
_BATCH = 32
_KINDS = ("lost", "changed", "won")


def damage(
    before: Answer,
    after: Answer,
    images: Split,
    classes: tuple[str, ...],
    seed: int = 0,
    resized: Split | None = None,
) -> Damage:
    """What changes between two models' answers; every image is read once.

    Args:
        before: for each input uint8 images (N, H, W, C), to probabilities (N, classes): a module's or a file's.
        after: the other model's.
        images: at least one; never those of the test split.
        classes: their names.
        seed: of the resampling.
        resized: the same examples as ``after`` takes them, if that is another size.
    """
    if resized is None:
        both = probabilities(lambda *pixels: torch.cat((before(*pixels), after(*pixels)), 1), images, batch=_BATCH)
        old, new = np.split(both, 2, axis=1)
    else:
        old, new = probabilities(before, images, batch=_BATCH), probabilities(after, resized, batch=_BATCH)
    was, now, labels = old.argmax(1), new.argmax(1), images.labels
    found = compare(was, now, labels, classes, images.names, seed)
    sure = dict(zip(images.names, old.max(1) + new.max(1), strict=True))

    def telling(flip: Flip) -> tuple[int, np.float32]:
        return _KINDS.index(flip.kind), -sure[flip.name]

    return Damage(
        comparison=found.model_copy(update={"flips": tuple(sorted(found.flips, key=telling))}),
        old_calibration=calibration_error(old.max(1), was == labels, seed),
        new_calibration=calibration_error(new.max(1), now == labels, seed),
        classes=_changes(was == labels, now == labels, labels, classes, seed),
    )


def _changes(
    was: NDArray[np.bool_], now: NDArray[np.bool_], labels: NDArray[np.int64], classes: tuple[str, ...], seed: int
) -> tuple[ClassChange, ...]:
    members = {name: labels == label for label, name in enumerate(classes)}
    changes = [
        ClassChange(
            name=name, old=accuracy(was[own]), new=accuracy(now[own]), difference=difference(now[own], was[own], seed)
        )
        for name, own in members.items()
        if own.any()
    ]
    return tuple(sorted(changes, key=lambda change: change.difference.points))


def checkpoint_damage(
    before: Checkpoint, after: Checkpoint, images: Split, classes: tuple[str, ...], seed: int = 0
) -> Damage:
    """What changes between a checkpoint and the smaller one that was made of it, block by block as well.

    A block's output after the step is compared with the same channels' before it (``correspondence``).
    """
    old, new = Deployed(before.module()).eval(), Deployed(after.module()).eval()
    pairs = correspondence(before, after)
    with block_errors(old.module, new.module, pairs) as errors:
        found = damage(old, new, images, classes, seed)
    compared = {pair.old for pair in pairs}
    others = tuple(name for name in blocks(before.network) if name not in compared)
    return found.model_copy(update={"layers": tuple(each.found() for each in errors), "not_compared": others})
