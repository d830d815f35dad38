"""Intervals against known values."""

from __future__ import annotations

import numpy as np
import pytest

from fit50.evaluate.intervals import accuracy, difference


def answers(right: int, wrong: int) -> np.ndarray:
    return np.arange(right + wrong) < right


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (8, 10, 49.016, 94.332),
        (0, 10, 0.0, 27.753),
        (10, 10, 72.247, 100.0),
        (50, 100, 40.383, 59.617),
        (1, 1, 20.654, 100),
    ],
)
def test_accuracy_has_wilsons_interval(right: int, n: int, low: float, high: float) -> None:
    found = accuracy(answers(right, n - right))
    assert (found.correct, found.n, found.percent) == (right, n, pytest.approx(100 * right / n))
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))


def test_the_same_answers_differ_by_nothing() -> None:
    found = difference(answers(7, 3), answers(7, 3))
    assert (found.points, found.low, found.high, found.n) == (0, 0, 0, 10)
    assert not found.significant


def test_the_difference_is_paired() -> None:
    """Two models that are right on 80 % each, but on other images, differ by nothing with much uncertainty."""
    n = 500
    found = difference(np.roll(answers(400, 100), 100), answers(400, 100))
    spread = 100 * np.sqrt(0.4 / n)  # 20 % better, 20 % worse
    assert found.points == 0
    assert (found.low, found.high) == (pytest.approx(-1.96 * spread, rel=0.1), pytest.approx(1.96 * spread, rel=0.1))
    nearly = difference(answers(405, 95), answers(400, 100))
    assert nearly.points == pytest.approx(1)
    assert nearly.high - nearly.low < 0.4 * (found.high - found.low)


@pytest.mark.parametrize(
    ("better", "worse", "significant"), [(60, 20, True), (20, 60, True), (22, 20, False), (5, 0, True), (1, 0, False)]
)
def test_better_is_said_only_when_the_interval_says_so(better: int, worse: int, significant: bool) -> None:
    points = np.array([1] * better + [-1] * worse + [0] * (500 - better - worse))
    found = difference(points > 0, points < 0)
    assert found.points == pytest.approx((better - worse) / 5)
    assert found.low <= found.points <= found.high
    assert found.significant == significant


def test_the_seed_decides_the_resampling() -> None:
    points = np.random.default_rng(0).random((2, 300)) < np.array([[0.7], [0.6]])
    first, again, other = (difference(points[0], points[1], seed) for seed in (1, 1, 2))
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)
    assert (first.low, first.high) == (pytest.approx(other.low, abs=1.5), pytest.approx(other.high, abs=1.5))
