"""The choice and its reasons."""

from __future__ import annotations

import pytest
from tests.search.figures import answers, candidate

from fit50.search import objective
from fit50.search.objective import excesses
from fit50.spec.errors import BudgetError
from fit50.spec.outcome import Candidate, Score
from fit50.spec.request import Budget

FREE = Budget(max_drop=None)


def choose(candidates: list[Candidate], budget: Budget, best_float: float) -> Candidate:
    return objective.choose(candidates, budget, best_float, answers(candidates))


def test_nothing_exceeds_an_open_budget() -> None:
    assert excesses(candidate("one").score, FREE, 100.0) == ()


def test_a_limit_that_is_met_exactly_is_met() -> None:
    budget = Budget(latency=2, size=10, memory=50, max_drop=5, min_accuracy=90)
    assert excesses(candidate("one", peak=50).score, budget, 95.0) == ()


def test_each_limit_has_its_phrase() -> None:
    budget = Budget(latency=1, size=5, memory=20, max_drop=2, min_accuracy=95)
    assert excesses(candidate("one", peak=50).score, budget, 94.5) == (
        "latency 2 ms > 1 ms",
        "size 10 MB > 5 MB",
        "memory 50 MB > 20 MB",
        "4.5 points below the best float > 2",
        "accuracy 90.0 % < 95 %",
    )


def test_what_was_not_measured_exceeds_nothing() -> None:
    assert excesses(Score(), Budget(latency=1, size=1, memory=1, min_accuracy=99), 100.0) == ()
    assert excesses(candidate("one").score, Budget(max_drop=0), None) == ()


def test_with_bounded_accuracy_the_fastest_is_chosen() -> None:
    slow, fast, wrong = candidate("slow", right=95, ms=5), candidate("fast", right=94, ms=2), candidate("wrong", ms=1)
    assert choose([slow, fast, wrong], Budget(max_drop=1), 95.0) is fast
    assert choose([slow, fast, wrong], Budget(max_drop=None, min_accuracy=95), 95.0) is slow


def test_otherwise_the_most_accurate_is_chosen() -> None:
    slow, fast = candidate("slow", right=95, ms=5), candidate("fast", right=94, ms=2)
    assert choose([fast, slow], FREE, 95.0) is slow
    assert choose([fast, slow], Budget(max_drop=None, latency=3), 95.0) is fast


def test_ties_go_to_the_smaller_file() -> None:
    large, small = candidate("large", mb=9), candidate("small", mb=3)
    assert choose([large, small], FREE, 90.0) is small
    assert choose([large, small], Budget(max_drop=1), 90.0) is small


def test_equally_accurate_ones_are_told_apart_by_speed_first() -> None:
    fast, small = candidate("fast", ms=1, mb=9), candidate("small", ms=2, mb=3)
    assert choose([small, fast], FREE, 90.0) is fast


def test_int8_that_is_slower_than_float_is_chosen_for_its_size_alone() -> None:
    floating = candidate("float", ms=2, mb=20)
    int8 = candidate("int8", ms=3, mb=5, right=95).model_copy(update={"precision": "int8", "network": "float"})
    assert choose([floating, int8], FREE, 90.0) is floating
    assert choose([floating, int8], Budget(max_drop=None, size=10), 90.0) is int8


def test_where_none_is_within_the_nearest_are_named() -> None:
    both = candidate("both", ms=9, mb=99)
    near = candidate("near", ms=9)
    far = candidate("far", ms=9, mb=99, right=10)
    farther = candidate("farther", ms=9, mb=99, right=9)
    with pytest.raises(BudgetError) as error:
        choose([far, farther, both, near], Budget(latency=1, size=10, max_drop=1), 90.0)
    _, *lines = str(error.value).splitlines()
    assert lines == [
        "  near: latency 9 ms > 1 ms",
        "  both: latency 9 ms > 1 ms; size 99 MB > 10 MB",
        "  far: latency 9 ms > 1 ms; size 99 MB > 10 MB; 80.0 points below the best float > 1",
    ]
