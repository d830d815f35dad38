"""What training minimises."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from fit50.spec.training import Train


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 * KL(softmax(teacher/T) || softmax(student/T)), the mean over N (Hinton et al. 2015). Logits (N, classes)."""
    divergence = F.kl_div(
        F.log_softmax(student / temperature, 1),
        F.log_softmax(teacher / temperature, 1),
        reduction="batchmean",
        log_target=True,
    )
    return divergence * temperature**2


def loss(step: Train, logits: Tensor, labels: Tensor, taught: Tensor | None) -> Tensor:
    """Cross-entropy with label smoothing; with a teacher's logits ``taught``, weighted with the distillation loss.

    Args:
        logits: (N, classes).
        labels: (N,), class indices.
        taught: the teacher's logits (N, classes) for the same images.
    """
    supervised = F.cross_entropy(logits, labels, label_smoothing=step.label_smoothing)
    if taught is None or step.teacher is None:
        return supervised
    weight = step.teacher.weight
    return (1 - weight) * supervised + weight * distillation(logits, taught, step.teacher.temperature)
