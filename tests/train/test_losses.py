"""The loss against labels, each part against what its formula says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import timm.loss
import torch
from torch import Tensor

from fit50.spec.training import Train
from fit50.train.losses import class_weights, supervised, targets

LOGITS = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
LABELS = torch.tensor([1, 0])


def log_softmax(row: Tensor) -> list[float]:
    values = [float(value) for value in row]
    total = math.log(sum(math.exp(value) for value in values))
    return [value - total for value in values]


def cross_entropies(smoothing: float) -> list[float]:
    """Of each image, by the definition of label smoothing."""
    found = []
    for row, label in zip(LOGITS, LABELS, strict=True):
        logs = log_softmax(row)
        found.append(-(1 - smoothing) * logs[int(label)] - smoothing * sum(logs) / len(logs))
    return found


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_labels_are_smoothed(smoothing: float) -> None:
    soft = targets(LABELS, 3, smoothing)
    assert soft.sum(1).tolist() == pytest.approx([1, 1])
    assert soft[0].tolist() == pytest.approx([smoothing / 3, 1 - smoothing * 2 / 3, smoothing / 3])
    found = supervised(Train(label_smoothing=smoothing), LOGITS, soft)
    assert float(found) == pytest.approx(np.mean(cross_entropies(smoothing)), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_bce_of_single_labels_is_timms(smoothing: float) -> None:
    found = supervised(Train(loss="bce", label_smoothing=smoothing), LOGITS, targets(LABELS, 3, smoothing))
    expected = timm.loss.BinaryCrossEntropy(smoothing=smoothing)(LOGITS, LABELS)
    torch.testing.assert_close(found, expected)


def test_every_class_of_a_mixed_image_is_a_yes() -> None:
    """As timm's threshold has it; a share below it is no class of the image."""
    soft = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.1, 0.9]])
    found = supervised(Train(loss="bce", label_smoothing=0), LOGITS, soft)
    torch.testing.assert_close(found, timm.loss.BinaryCrossEntropy(target_threshold=0.2)(LOGITS, soft))
    both = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(found, -(both * LOGITS.sigmoid().log() + (1 - both) * (-LOGITS).sigmoid().log()).mean())


def test_smoothing_is_no_class_of_a_mixed_image() -> None:
    """Of two classes smoothed by a half, each has a quarter to begin with."""
    step = Train(loss="bce", label_smoothing=0.5)
    soft = targets(torch.tensor([0, 1]), 2, 0.5)
    mixed = 0.6 * soft + 0.4 * soft.flip(0)
    logits = LOGITS[:, :2]
    expected = timm.loss.BinaryCrossEntropy(smoothing=0)(logits, torch.full((2, 2), 0.75))
    torch.testing.assert_close(supervised(step, logits, mixed), expected)
    expected = timm.loss.BinaryCrossEntropy(smoothing=0.5)(logits, torch.tensor([0, 1]))
    torch.testing.assert_close(supervised(step, logits, soft), expected)


def test_weights_of_classes_are_one_on_average_and_alike_in_sum() -> None:
    labels = torch.tensor([0, 0, 0, 0, 2, 2, 3])
    weights = class_weights(labels, 5)
    assert float(weights[labels].mean()) == pytest.approx(1)
    assert [float(weights[label] * (labels == label).sum()) for label in (0, 2, 3)] == pytest.approx([7 / 3] * 3)
    assert bool(weights.isfinite().all())


@pytest.mark.parametrize("loss", ["cross-entropy", "bce"])
def test_an_image_counts_by_its_classes(loss: str) -> None:
    step = Train.parse({"loss": loss, "label_smoothing": 0.1})
    weights, soft = torch.tensor([3.0, 0.5, 1.0]), targets(LABELS, 3, 0.1)
    alone = [supervised(step, LOGITS[i : i + 1], soft[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(supervised(step, LOGITS, soft, weights), (0.5 * alone[0] + 3 * alone[1]) / 2)
    mixed = 0.75 * soft[:1] + 0.25 * soft[1:]
    found = supervised(step, LOGITS[:1], mixed, weights) / supervised(step, LOGITS[:1], mixed)
    assert float(found) == pytest.approx(0.75 * 0.5 + 0.25 * 3, rel=1e-5)


@pytest.mark.parametrize("loss", ["cross-entropy", "bce"])
def test_half_precision_is_computed_in_full(loss: str) -> None:
    step, soft = Train.parse({"loss": loss}), targets(LABELS, 3, 0.1)
    logits = LOGITS.bfloat16().requires_grad_()
    found = supervised(step, logits, soft)
    found.backward()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, supervised(step, LOGITS, soft))
    assert logits.grad is not None and bool(logits.grad.isfinite().all())
