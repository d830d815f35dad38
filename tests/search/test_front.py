"""What is worth offering."""

from __future__ import annotations

from tests.search.figures import answers, candidate

from fit50.search.front import costs, front, outpaced
from fit50.spec.outcome import Candidate


def names(candidates: list[Candidate]) -> list[str]:
    """Of the front."""
    return [each.name for each in front(candidates, answers(candidates))]


def test_the_front_is_in_order_of_speed() -> None:
    accurate, fast = candidate("accurate", right=95, ms=9), candidate("fast", right=80, ms=1)
    assert names([accurate, fast]) == ["fast", "accurate"]


def test_a_candidate_that_is_worse_in_one_respect_and_equal_in_the_others_is_left_out() -> None:
    best = candidate("best")
    for worse in (candidate("slow", ms=3), candidate("large", mb=11), candidate("wrong", right=89)):
        assert names([worse, best]) == ["best"]


def test_a_candidate_that_is_better_in_one_respect_stays() -> None:
    base = candidate("base")
    for other in (
        candidate("fast", ms=1, mb=20, right=50),
        candidate("small", ms=9, mb=1, right=50),
        candidate("right", ms=9, mb=20, right=91),
    ):
        assert sorted(names([base, other])) == sorted(["base", other.name])


def test_int8_that_is_slower_than_an_equal_float_is_not_offered() -> None:
    floating = candidate("float", ms=2, mb=20)
    slow, more = (candidate(f"int8 {right}", ms=3, mb=5, right=right) for right in (90, 91))
    slow, more = (each.model_copy(update={"precision": "int8"}) for each in (slow, more))
    half = candidate("half", ms=3, mb=10).model_copy(update={"precision": "bf16"})
    assert names([floating, slow, half]) == ["float", "half"]
    assert names([floating, more]) == ["float", "int8 91"]


def test_int8_that_is_slower_than_its_own_network_in_float_must_be_better_beyond_chance() -> None:
    floating = candidate("float", ms=2, mb=20)
    luckier, better = (candidate(f"int8 {right}", ms=3, mb=5, right=right) for right in (95, 97))
    luckier, better = (each.model_copy(update={"precision": "int8", "network": "float"}) for each in (luckier, better))
    everyone = [floating, luckier, better]
    assert [outpaced(each, everyone, answers(everyone)) for each in everyone] == [False, True, False]
    assert names(everyone) == ["float", "int8 97"]


def test_equals_both_stay() -> None:
    assert names([candidate("one"), candidate("two")]) == ["one", "two"]


def test_memory_does_not_count() -> None:
    assert names([candidate("one", peak=100), candidate("two", ms=3, peak=50)]) == ["one"]


def test_nothing_has_no_front() -> None:
    assert names([]) == []


def test_costs_are_smaller_where_better() -> None:
    assert costs(candidate("one", right=90, ms=2, mb=3, peak=4)) == (2, 3, 10)
