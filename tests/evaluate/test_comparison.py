"""Two models on the same images."""

from __future__ import annotations

import numpy as np
import pytest

from fit50.evaluate.comparison import compare, mcnemar
from fit50.spec.evaluation import Flip


@pytest.mark.parametrize(
    ("lost", "won", "p"),
    [(0, 0, 1.0), (0, 5, 0.0625), (0, 6, 0.03125), (9, 21, 0.0427739), (21, 9, 0.0427739), (10, 10, 1.0)],
)
def test_mcnemars_exact_test(lost: int, won: int, p: float) -> None:
    """Twice the binomial tail of the smaller count, at most 1."""
    assert mcnemar(lost, won) == pytest.approx(p, abs=1e-6)


def test_what_becomes_of_each_image() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    old = np.array([0, 0, 0, 1, 0, 0])
    new = np.array([0, 1, 1, 1, 1, 0])
    found = compare(old, new, labels, ("bird", "cat", "dog"), tuple("abcdef"))
    assert (found.old.correct, found.new.correct, found.difference.points) == (3, 3, 0)
    assert (found.lost, found.won, found.changed, found.p) == (1, 1, 1, 1.0)
    assert found.negative_flip_rate.value == pytest.approx(100 / 6, abs=1e-4)
    assert found.negative_flip_rate.low > 0
    assert found.flips == (
        Flip(name="b", label="bird", old="bird", new="cat"),
        Flip(name="c", label="cat", old="bird", new="cat"),
        Flip(name="e", label="dog", old="bird", new="cat"),
    )
    assert [flip.kind for flip in found.flips] == ["lost", "won", "changed"]


def test_a_better_second_model_is_ahead() -> None:
    labels = np.zeros(200, np.int64)
    old, new = np.arange(200) % 4 == 0, np.arange(200) % 8 == 0
    found = compare(old.astype(np.int64), new.astype(np.int64), labels, ("a", "b"), ("",) * 200)
    assert found.difference.points == 12.5
    assert found.difference.significant
    assert found.p < 1e-6
    assert (found.lost, found.won) == (0, 25)
