from __future__ import annotations

import numpy as np
import pytest
import torch

from fit50.data.audit import Audit, Sizes
from fit50.data.dataset import Dataset
from fit50.data.images import Images
from fit50.evaluate.labels import check_labels, label_errors


def test_thresholds_are_those_of_each_class() -> None:
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.45, 0.55], [0.5, 0.5], [0.2, 0.8], [0.85, 0.15]], np.float32)
    labels = np.array([0, 0, 0, 1, 1, 1])
    # thresholds: 0.683 and 0.483; the third is beyond the second's, the last beyond the first's
    assert label_errors(probabilities, labels) == [(5, 0), (2, 1)]


def test_a_class_that_is_answered_too_often_needs_more_to_be_suggested() -> None:
    probabilities = np.array([[0.9, 0.1], [0.95, 0.05], [0.6, 0.4], [0.7, 0.3]], np.float32)
    assert label_errors(probabilities, np.array([0, 0, 1, 1])) == [], "wrong answers of usual confidence are no errors"


def test_a_class_without_images_is_never_suggested() -> None:
    probabilities = np.array([[0.1, 0.2, 0.7], [0.3, 0.6, 0.1]], np.float32)
    assert label_errors(probabilities, np.array([0, 1])) == []


def test_planted_errors_are_found() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 5, 1000)
    logits = random.normal(0, 1, (1000, 5)) + 4 * np.eye(5)[truth]
    probabilities = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
    wrong = random.choice(1000, 50, replace=False)
    labels = truth.copy()
    labels[wrong] = (truth[wrong] + 1) % 5
    found = label_errors(probabilities, labels)
    hits = [place for place, suggested in found if place in set(wrong) and suggested == truth[place]]
    assert len(hits) >= 35, "those that the model is less sure of than usual are left alone"
    assert len(hits) >= 0.7 * len(found)
    assert {place for place, _ in found[:20]} <= set(wrong), "the clearest come first"


def test_val_and_test_are_judged_and_train_is_not() -> None:
    """Each image's one pixel says its class; the model reads it."""
    shown = np.array([0, 1, 0, 1], np.uint8)
    given = {"train": [1, 0, 1, 0], "val": [0, 1, 0, 0], "test": [0, 1, 1, 1]}
    splits = {
        split: Images((shown.reshape(4, 1, 1, 1),), np.array(labels), tuple(f"{split}/{i}" for i in range(4)))
        for split, labels in given.items()
    }
    dataset = Dataset(("cat", "dog"), splits, Audit({}, Sizes((1, 1), (1, 1), (1, 1)), (), 0), "")

    def answer(images: torch.Tensor) -> torch.Tensor:
        return 0.1 + 0.8 * torch.eye(2)[images.flatten().long()]

    found = check_labels(answer, dataset, "reader", known=True, batch=3)
    assert (found.n, found.agreement) == (8, 75.0)
    assert {(each.name, each.split, each.given, each.suggested) for each in found.suspects} == {
        ("val/3", "val", "cat", "dog"),
        ("test/2", "test", "dog", "cat"),
    }
    for each in found.suspects:
        assert (each.given_probability, each.suggested_probability) == (pytest.approx(0.1), pytest.approx(0.9))
