"""Intervals against known values."""

from __future__ import annotations

import numpy as np
import pytest

from fit50.evaluate.intervals import accuracy, balanced, bootstrap, difference, percentile


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


def test_models_that_agree_on_every_image_may_still_differ_by_three() -> None:
    """The rule of three: what was seen in none of n images may happen in 3 of n."""
    found = difference(answers(70, 30), answers(70, 30))
    assert (found.points, found.n) == (0, 100)
    assert (found.low, found.high) == (pytest.approx(-300 / 102), pytest.approx(300 / 102))
    assert not found.significant


def test_one_image_says_nothing() -> None:
    found = difference(answers(1, 0), answers(0, 1))
    assert (found.points, found.low, found.high) == (100, -100, 100)


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
    ("better", "worse", "significant"),
    [(60, 20, True), (20, 60, True), (22, 20, False), (6, 0, True), (0, 6, True), (5, 0, False), (1, 0, False)],
)
def test_better_is_said_only_when_the_interval_says_so(better: int, worse: int, significant: bool) -> None:
    points = np.array([1] * better + [-1] * worse + [0] * (500 - better - worse))
    found = difference(points > 0, points < 0)
    assert found.points == pytest.approx((better - worse) / 5)
    assert found.low <= found.points <= found.high
    assert found.significant == significant


@pytest.mark.parametrize(("better", "worse"), [(0.0, 0.0), (0.01, 0.01), (0.1, 0.02)])
def test_differences_lie_in_their_intervals(better: float, worse: float) -> None:
    """Also where few images tell two models apart, or none."""
    random, n = np.random.default_rng(0), 100
    held = 0
    for _ in range(100):
        drawn = random.random(n)
        found = difference(drawn < better, drawn > 1 - worse)
        held += found.low <= 100 * (better - worse) <= found.high
    assert held >= 92


@pytest.mark.parametrize("n", [(10, 100), (8,) * 20], ids=["uneven", "many"])
@pytest.mark.parametrize("share", [0.6, 0.97, 1.0])
def test_balanced_accuracies_lie_in_their_intervals(share: float, n: tuple[int, ...]) -> None:
    random, images = np.random.default_rng(0), np.array(n)
    held = 0
    for _ in range(500):
        found = balanced(random.binomial(images, share), images)
        held += found.low <= 100 * share <= found.high
    assert held >= 460


def test_the_bootstraps_mean_has_the_normal_interval() -> None:
    values = np.random.default_rng(0).gamma(2, size=400)
    point, drawn = bootstrap(lambda weights: weights @ values[:, None] / len(values), len(values), seed=3)
    found = percentile(point[0], drawn[:, 0])
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean(), abs=1e-4)
    assert (found.low, found.high) == (
        pytest.approx(values.mean() - half, abs=0.1 * half),
        pytest.approx(values.mean() + half, abs=0.1 * half),
    )


def test_every_resample_has_as_many_images() -> None:
    _, drawn = bootstrap(lambda weights: np.stack([weights.sum(1), weights.max(1)], 1), 30, seed=0, draws=100)
    assert drawn.shape == (100, 2)
    assert (drawn[:, 0] == 30).all()
    assert (drawn[:, 1] > 1).all()


def test_the_seed_decides_the_resampling() -> None:
    points = np.random.default_rng(0).random((2, 300)) < np.array([[0.7], [0.6]])
    first, again, other = (difference(points[0], points[1], seed) for seed in (1, 1, 2))
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)
    assert (first.low, first.high) == (pytest.approx(other.low, abs=1.5), pytest.approx(other.high, abs=1.5))
