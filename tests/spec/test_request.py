"""Budgets as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from fit50.spec.digest import edit
from fit50.spec.errors import SpecError
from fit50.spec.presets import EFFORTS
from fit50.spec.request import Budget, Device, Request, Ssh


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
        ("latency", "five", "latency: expected a number such as 5ms, found 'five'"),
        ("size", "", "size: expected a number such as 10MB, found ''"),
        ("latency", "-5ms", "greater than 0"),
        ("latency", "0s", "greater than 0"),
        ("latency", "1e999s", "finite"),
        ("max_drop", -1, "max_drop"),
        ("min_accuracy", 101, "min_accuracy"),
        ("min_accuracy", 0.9, "min_accuracy: expected percent, found 0.9; did you mean 90?"),
        ("min_accuracy", 1, "did you mean 100?"),
        ("latencies", 5, "unknown field 'latencies'; did you mean 'latency'?"),
    ],
)
def test_a_budget_that_is_none_is_refused(field: str, text: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Budget.parse({field: text})
    assert message in str(caught.value)


def test_a_budget_says_its_units() -> None:
    budget = Budget(latency="5", size=10, memory="1GB", min_accuracy=90)
    assert str(budget) == (
        "latency at most 5 ms, size at most 10 MB, memory at most 1000 MB, "
        "at most 1 points of accuracy below the best float file, at least 90 % of validation right"
    )
    assert str(Budget(max_drop=None)) == "no limits"
    assert Budget(min_accuracy=0).min_accuracy == 0


def test_a_fault_is_placed_once() -> None:
    with pytest.raises(SpecError, match=r"^budget\.latency: expected a number such as 5ms, found 'five'$"):
        edit(Request(data="photos", effort=EFFORTS["quick"]), "budget.latency", "five")


def test_a_budget_with_units_is_the_budget_without() -> None:
    assert Budget(latency="0.005s") == Budget(latency=5.0)


@pytest.mark.parametrize(
    ("name", "ssh"),
    [
        ("ssh://pi@camera", Ssh("pi@camera", None, "python3")),
        ("ssh://camera", Ssh("camera", None, "python3")),
        ("ssh://some.body@10.0.0.7:2222/", Ssh("some.body@10.0.0.7", "2222", "python3")),
        ("ssh://pi@[fe80::1%eth0]:22", Ssh("pi@fe80::1%eth0", "22", "python3")),
        ("ssh://pi@camera?python=/opt/a%20b/bin/python", Ssh("pi@camera", None, "/opt/a b/bin/python")),
        ("cpu", None),
    ],
)
def test_a_device_is_here_or_reached_over_ssh(name: str, ssh: Ssh | None) -> None:
    assert Device(name=name).ssh == ssh


@pytest.mark.parametrize(
    "name",
    [
        *("gpu", "pi@camera", "ssh://", "ssh://pi@", "ssh://-oProxyCommand=x", "ssh://-l@camera", "ssh://a b"),
        *("ssh://a:b", "ssh://camera/path", "ssh://camera?pyhton=3", "ssh://pi:word@camera", "ssh://camera\n"),
    ],
)
def test_a_device_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match=r"expected cpu or ssh://user@host\[:port\]"):
        Device.parse({"name": name})


def test_a_device_keeps_its_identity() -> None:
    assert Device().canonical() == {}
    assert Device(threads=4).canonical() == {"threads": 4}
    assert Device(name="ssh://pi@camera").canonical() == {"name": "ssh://pi@camera"}


@pytest.mark.parametrize(
    ("int8", "fault"),
    [
        ([], "at least 1 item"),
        ([{"to": "bf16"}], "expected int8, found bf16"),
        ([{}, {"method": "ptq", "samples": 100}], "expected each method once, found ptq, ptq"),
        ([{"max_drop": 0.5}], "expected no max_drop, for the budget's counts"),
        ([{"method": "qat", "saturates": True}], "expected no saturates, which the device's processor decides"),
    ],
)
def test_ways_to_int8_that_contradict_are_refused(int8: list[dict[str, object]], fault: str) -> None:
    with pytest.raises(SpecError, match=fault):
        edit(EFFORTS["quick"], "int8", int8)


def test_a_way_to_int8_more_is_another_job() -> None:
    quick = EFFORTS["quick"]
    assert "int8" not in quick.canonical()
    assert [step.method for step in edit(quick, "int8", [{}, {"method": "qat"}]).int8] == ["ptq", "qat"]
