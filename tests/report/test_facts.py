"""What the report reads out of an outcome."""

from __future__ import annotations

from fit50.report.facts import accuracy_floor, baseline, by_latency, front, points, speed_up
from fit50.spec.request import Budget


def with_budget(outcome, **limits):
    return outcome.model_copy(
        update={"request": outcome.request.model_copy(update={"budget": Budget(**{"max_drop": None, **limits})})}
    )


def test_the_front_drops_what_is_slower_and_no_more_accurate(candidate, outcome):
    rows = (("a", 1000, 1.0), ("b", 1050, 2.0), ("worse", 1040, 3.0), ("equal", 1050, 4.0), ("c", 1100, 5.0))
    made = outcome(*(candidate(name, correct, ms) for name, correct, ms in rows))
    assert [point.candidate.name for point in front(points(made))] == ["a", "b", "c"]


def test_of_two_equally_fast_the_more_accurate_is_on_the_front(candidate, outcome):
    made = outcome(candidate("a", 1000, 2.0), candidate("b", 1001, 2.0))
    assert [point.candidate.name for point in front(points(made))] == ["b"]


def test_the_baseline_is_the_most_accurate_float_file_rather_than_the_reference(candidate, outcome):
    made = outcome(
        candidate("torch", 1100, 40.0, verdict="reference"),
        candidate("slow", 1100, 20.0),
        candidate("fast", 1100, 10.0),
        candidate("int8", 1150, 5.0, precision="int8"),
        candidate("refused", None, None, verdict="refused"),
    )
    assert baseline(made).name == "fast"


def test_the_floor_is_the_stricter_of_the_two_limits(candidate, outcome):
    made = outcome(candidate("a", 1080))
    assert accuracy_floor(with_budget(made)) is None
    assert accuracy_floor(with_budget(made, max_drop=1.0)) == 89.0
    assert accuracy_floor(with_budget(made, max_drop=1.0, min_accuracy=50)) == 89.0
    assert accuracy_floor(with_budget(made, max_drop=1.0, min_accuracy=89.5)) == 89.5


def test_a_floor_under_nothing_measured_is_the_absolute_one(candidate, outcome):
    made = outcome(candidate("a", None))
    assert accuracy_floor(with_budget(made, max_drop=1.0)) is None
    assert accuracy_floor(with_budget(made, max_drop=1.0, min_accuracy=0)) == 0


def test_the_speed_up_is_against_the_reference(candidate, outcome):
    slow, fast, unknown = (
        candidate("torch", ms=40.0, verdict="reference"),
        candidate("a", ms=5.0),
        candidate("b", ms=None),
    )
    made = outcome(slow, fast, unknown)
    assert speed_up(made, fast) == 8.0
    assert speed_up(made, unknown) is None
    assert speed_up(outcome(fast), fast) is None


def test_those_without_a_latency_come_last(candidate, outcome):
    made = outcome(candidate("unknown", ms=None), candidate("slow", ms=9.0), candidate("fast", ms=1.0))
    assert [each.name for each in by_latency(made)] == ["fast", "slow", "unknown"]
