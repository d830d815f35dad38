"""All figures of an evaluation, against scikit-learn and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    top_k_accuracy_score,
)
from torchmetrics.functional.classification import multiclass_calibration_error

from fit50.evaluate.scores import calibration_error, evaluation, ranks
from fit50.spec.evaluation import Estimate


def drawn(n: int, classes: int, skill: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, classes) and labels (n,) of unevenly many images."""
    random = np.random.default_rng(seed)
    labels = np.minimum(random.geometric(0.4, n) - 1, classes - 1)
    logits = random.normal(size=(n, classes))
    logits[np.arange(n), labels] += skill
    powers = np.exp(logits)
    return (powers / powers.sum(1, keepdims=True)).astype(np.float32), labels


def names(classes: int) -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(classes))


@pytest.mark.parametrize(("n", "classes", "skill"), [(500, 7, 1.5), (60, 3, 0.5), (300, 40, 3.0)])
def test_the_values_are_those_of_known_libraries(n: int, classes: int, skill: float) -> None:
    probabilities, labels = drawn(n, classes, skill)
    answers, known = probabilities.argmax(1), np.unique(labels)
    found = evaluation(probabilities, labels, names(classes), k=2)
    assert found.n == n
    assert found.accuracy.correct == (answers == labels).sum()
    assert found.top_k is not None
    assert found.top_k.percent == pytest.approx(
        100 * top_k_accuracy_score(labels, probabilities, k=2, labels=range(classes))
    )
    assert found.balanced_accuracy.value == pytest.approx(
        100 * np.mean(recall_score(labels, answers, labels=known, average=None, zero_division=0)), abs=1e-4
    )
    if set(answers) <= set(labels):
        assert found.balanced_accuracy.value == pytest.approx(100 * balanced_accuracy_score(labels, answers), abs=1e-4)
    assert found.macro_f1.value == pytest.approx(100 * f1_score(labels, answers, average="macro"), abs=1e-4)
    assert found.log_likelihood_loss.value == pytest.approx(
        log_loss(labels, probabilities, labels=range(classes)), abs=1e-3
    )
    reference = multiclass_calibration_error(torch.from_numpy(probabilities), torch.from_numpy(labels), classes, 15)
    assert found.calibration_error.value == pytest.approx(100 * float(reference), abs=1e-3)
    assert np.array_equal(found.confusion, confusion_matrix(labels, answers, labels=range(classes)))


def test_each_class_by_itself() -> None:
    probabilities, labels = drawn(400, 6, 1.0)
    answers = probabilities.argmax(1)
    found = evaluation(probabilities, labels, names(6)).classes
    recalls = recall_score(labels, answers, average=None)
    precisions = precision_score(labels, answers, average=None)
    assert [each.name for each in found] == list(names(6))
    for i, each in enumerate(found):
        assert each.recall is not None
        assert each.precision is not None
        assert (each.recall.n, each.precision.n) == ((labels == i).sum(), (answers == i).sum())
        assert (each.recall.percent, each.precision.percent) == (
            pytest.approx(100 * recalls[i]),
            pytest.approx(100 * precisions[i]),
        )


def test_a_class_that_is_neither_shown_nor_answered_has_no_score() -> None:
    probabilities = np.array([[0.6, 0.4, 0.0], [0.3, 0.7, 0.0]], np.float32)
    found = evaluation(probabilities, np.array([0, 0]), names(3))
    assert (found.classes[2].recall, found.classes[2].precision) == (None, None)
    assert found.classes[1].recall is None
    assert found.classes[1].precision is not None
    assert (found.balanced_accuracy.value, found.macro_f1.value) == (50, pytest.approx(100 / 3, abs=1e-4))


def test_every_interval_holds_its_value() -> None:
    found = evaluation(*drawn(80, 4, 1.0), names(4))
    for each in (found.balanced_accuracy, found.macro_f1, found.calibration_error, found.log_likelihood_loss):
        assert each.low < each.value < each.high


def test_nothing_wrong_is_not_certainty() -> None:
    """Ten images of each of two classes, all right: the least recall of either may be about 72 %."""
    labels = np.repeat([0, 1], 10)
    found = evaluation(np.eye(2, dtype=np.float32)[labels], labels, names(2))
    assert (found.balanced_accuracy.value, found.macro_f1.value) == (100, 100)
    assert found.macro_f1 == found.balanced_accuracy
    assert 75 < found.balanced_accuracy.low < 85
    assert found.log_likelihood_loss == Estimate(value=0, low=0, high=0)


def test_a_probability_of_zero_costs_a_finite_loss() -> None:
    found = evaluation(np.array([[1, 0], [1, 0]], np.float32), np.array([0, 1]), names(2))
    assert found.log_likelihood_loss.value == pytest.approx(-np.log(np.finfo(np.float32).eps) / 2, abs=1e-4)


def test_top_k_of_no_more_classes_is_not_given() -> None:
    probabilities, labels = drawn(20, 3, 1.0)
    assert evaluation(probabilities, labels, names(3), k=3).top_k is None
    first = evaluation(probabilities, labels, names(3), k=1)
    assert first.top_k == first.accuracy


def test_of_equal_probabilities_the_first_class_is_the_answer() -> None:
    assert ranks(np.full((3, 3), 1 / 3, np.float32), np.array([0, 1, 2])).tolist() == [0, 1, 2]


@pytest.mark.parametrize("excess", [0.0, 0.03, 0.15])
def test_calibration_errors_lie_in_their_intervals(excess: float) -> None:
    """Confidences from 0.4 to 1 of answers that are right less often by ``excess``."""
    random = np.random.default_rng(1)
    held = 0
    for seed in range(40):
        confidence = random.uniform(0.4, 1, 400).astype(np.float32)
        found = calibration_error(confidence, random.random(400) < confidence - excess, seed)
        held += found.low <= 100 * excess <= found.high
    assert held >= 35


def test_macro_f1s_lie_in_their_intervals() -> None:
    probabilities, labels = drawn(9000, 4, 1.0)
    truth = 100 * f1_score(labels, probabilities.argmax(1), average="macro")
    held = 0
    for part in np.arange(9000).reshape(30, 300):
        found = evaluation(probabilities[part], labels[part], names(4)).macro_f1
        held += found.low <= truth <= found.high
    assert held >= 26


def test_the_seed_decides_the_resampling() -> None:
    probabilities, labels = drawn(200, 4, 1.0)
    first, again, other = (evaluation(probabilities, labels, names(4), seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.macro_f1.low != other.macro_f1.low
    assert first.accuracy == other.accuracy
