"""What labels teach: soft targets, the loss against them, and the weights of rare classes."""

from __future__ import annotations

from typing import assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

from fit50.spec.training import Train

PRESENT = 0.2
"""A class with more than this share of a mixed image is in it, for ``bce`` (timm's ``--bce-target-thresh 0.2``, with
which procedure A2 of Wightman et al. 2021 is reproduced)."""


def targets(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Smoothed one-hot targets (Szegedy et al. 2016), float32 (N, classes), of class indices (N,)."""
    off = smoothing / classes
    soft = torch.full((len(labels), classes), off, device=labels.device)
    return soft.scatter_(1, labels.unsqueeze(1), 1 - smoothing + off)


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """How much an image of each class counts, float32 (classes,), for class indices (N,).

    The classes that occur count alike in sum, and the images 1 on average.
    """
    counts = labels.bincount(minlength=classes)
    return len(labels) / (counts.count_nonzero() * counts.clamp(min=1)).float()


def supervised(step: Train, logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean over images of ``step.loss``, computed in float32; a scalar.

    ``bce`` is the mean over classes of each one's yes or no (Wightman et al. 2021): whatever their shares, all classes
    that were mixed into an image are targets of 1, or of 1 less the smoothing.

    Args:
        step: the loss and the smoothing that is in the targets.
        logits: (N, classes).
        target: (N, classes), from ``targets``; mixed where images are mixed.
        weights: of the classes (classes,); an image counts by the classes that it shows.
    """
    smoothing, off = step.label_smoothing, step.label_smoothing / logits.shape[1]
    shares = (target - off) / (1 - smoothing)  # (N, classes), without smoothing
    match step.loss:
        case "cross-entropy":
            losses = F.cross_entropy(logits.float(), target, reduction="none")
        case "bce":
            yes_or_no = (shares > PRESENT) * (1 - smoothing) + off
            losses = F.binary_cross_entropy_with_logits(logits.float(), yes_or_no, reduction="none").mean(1)
        case _:
            assert_never(step.loss)
    if weights is not None:
        losses = losses * (shares * weights).sum(1)
    return losses.mean()
