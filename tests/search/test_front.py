"""What is worth offering."""

from __future__ import annotations

from tests.search.figures import candidate

from fit50.search.front import costs, front, outpaced
from fit50.spec.outcome import Candidate


def names(candidates: tuple[Candidate, ...]) -> list[str]:
    return [each.name for each in candidates]


def test_the_front_is_in_order_of_speed() -> None:
    accurate, fast = candidate("accurate", right=95, ms=9), candidate("fast", right=80, ms=1)
    assert names(front([accurate, fast])) == ["fast", "accurate"]


def test_a_candidate_that_is_worse_in_one_respect_and_equal_in_the_others_is_left_out() -> None:
    best = candidate("best")
    for worse in (candidate("slow", ms=3), candidate("large", mb=11), candidate("wrong", right=89)):
        assert names(front([worse, best])) == ["best"]


def test_a_candidate_that_is_better_in_one_respect_stays() -> None:
    base = candidate("base")
    for other in (
        candidate("fast", ms=1, mb=20, right=50),
        candidate("small", ms=9, mb=1, right=50),
        candidate("right", ms=9, mb=20, right=91),
    ):
        assert sorted(names(front([base, other]))) == sorted(["base", other.name])


def test_int8_that_is_slower_than_an_equal_float_is_not_offered() -> None:
    floating = candidate("float", ms=2, mb=20)
    slow = candidate("slow int8", ms=3, mb=5).model_copy(update={"precision": "int8"})
    better = candidate("better int8", ms=3, mb=5, right=91).model_copy(update={"precision": "int8"})
    half = candidate("half", ms=3, mb=10).model_copy(update={"precision": "bf16"})
    assert names(front([floating, slow, half])) == ["float", "half"]
    assert names(front([floating, better])) == ["float", "better int8"]
    assert outpaced(slow, [floating, slow]) and not outpaced(better, [floating, better])


def test_equals_both_stay() -> None:
    assert names(front([candidate("one"), candidate("two")])) == ["one", "two"]


def test_memory_does_not_count() -> None:
    assert names(front([candidate("one", peak=100), candidate("two", ms=3, peak=50)])) == ["one"]


def test_nothing_has_no_front() -> None:
    assert front([]) == ()


def test_costs_are_smaller_where_better() -> None:
    assert costs(candidate("one", right=90, ms=2, mb=3, peak=4)) == (2, 3, 10)
