"""Budgets as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from fit50.spec.errors import SpecError
from fit50.spec.request import Budget


@pytest.mark.parametrize(
    ("latency", "milliseconds"),
    [
        ("5ms", 5),
        ("0.005s", 5),
        ("5", 5),
        (5, 5),
        (" 5 ms ", 5),
        ("5 MS", 5),
        ("800us", 0.8),
        ("800µs", 0.8),
        ("2e1", 20),
    ],
)
def test_latency_has_units_of_time(latency: Any, milliseconds: float) -> None:
    assert Budget(latency=latency).latency == pytest.approx(milliseconds)


@pytest.mark.parametrize(
    ("size", "megabytes"), [("10MB", 10), ("10 mb", 10), ("1.5GB", 1500), ("500kB", 0.5), ("10", 10), (10, 10)]
)
def test_size_and_memory_have_units_of_bytes(size: Any, megabytes: float) -> None:
    budget = Budget(size=size, memory=size)
    assert budget.size == pytest.approx(megabytes)
    assert budget.memory == pytest.approx(megabytes)


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("latency", "5min", "expected a number with a unit of us, µs, ms, s, found '5min'"),
        ("latency", "5MB", "expected a number with a unit of us, µs, ms, s, found '5MB'"),
        ("size", "10MiB", "expected a number with a unit of kb, mb, gb, found '10MiB'"),
        ("latency", "1.2.3ms", "expected a number such as 5ms, found '1.2.3ms'"),
        ("latency", "fast", "latency"),
        ("latency", "-5ms", "greater than 0"),
        ("latency", "0s", "greater than 0"),
        ("latency", "1e999s", "finite"),
        ("max_drop", -1, "max_drop"),
        ("min_accuracy", 101, "min_accuracy"),
        ("latencies", 5, "unknown field 'latencies'; did you mean 'latency'?"),
    ],
)
def test_a_budget_that_is_none_is_refused(field: str, text: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Budget.parse({field: text})
    assert message in str(caught.value)


def test_a_budget_with_units_is_the_budget_without() -> None:
    assert Budget(latency="0.005s") == Budget(latency=5.0)
