"""Whether a machine was quiet, from what it says of itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fit50.runtimes import noise
from fit50.runtimes.noise import Ticks, Watch, judged, tail, ticks

STAT = """cpu  100 10 50 800 20 3 7 5 90 4
cpu0 50 5 25 400 10 2 3 2 45 2
cpu1 50 5 25 400 10 1 4 3 45 2
intr 12345
"""
SECOND = os.sysconf("SC_CLK_TCK")
QUIET = {"it": [5.0] * 10}


def told(busy: float, steal: float = 0, seconds: float = 10, processors: int = 2) -> tuple[Ticks, Ticks]:
    """The system's account of some seconds, in which processors were busy so many seconds altogether."""
    after = [round(SECOND * each) for each in (busy, steal, seconds * processors)]
    return Ticks(0, 0, 0, processors), Ticks(*after, processors)


def test_the_systems_account_counts_guests_once() -> None:
    assert ticks(STAT) == Ticks(busy=170, steal=5, total=995, processors=2)


def test_the_tail_is_what_the_slowest_tenth_takes_more() -> None:
    assert tail([3.0] * 8) == 0
    assert tail([10.0] * 8 + [12.0] * 3) == pytest.approx(20)
    assert tail([10.0] * 50 + [99.0]) == 0, "a single hiccup is no noise"


def test_a_quiet_machine() -> None:
    found = judged([1.0, 1.01, 1.02], QUIET, told(busy=10.1), own=10, threads=1)
    assert found.findings == ()
    assert found.others == pytest.approx(0.01)
    assert (found.steal, found.rounds) == (0, 0)
    assert found.probe == pytest.approx(0.792, abs=1e-3)


def test_each_disturbance_is_named() -> None:
    found = judged([1.0] * 8 + [1.5] * 4, QUIET, told(busy=10), own=10, threads=2)
    assert found.findings == ("the slowest tenth of a fixed piece of work took 50 % longer than its median",)
    found = judged([1.0], {"a": [1.0], "b": [2.0] * 8 + [3.0] * 4}, told(busy=10), own=10, threads=2)
    assert found.findings == ("the slowest tenth of the rounds of b took 50 % longer than their median",)
    found = judged([1.0], QUIET, told(busy=15), own=10, threads=2)
    assert found.findings == ("other processes kept 0.5 of 2 processors busy",)
    found = judged([1.0], QUIET, told(busy=10, steal=1), own=10, threads=1)
    assert found.findings == ("the hypervisor gave 5.0 % of the processors' time to others",)


def test_other_processes_may_use_processors_that_are_left_over() -> None:
    assert judged([1.0], QUIET, told(busy=15, processors=4), own=10, threads=2).findings == ()
    assert judged([1.0], QUIET, told(busy=9), own=10, threads=2).others == 0, "clocks differ a little"


def test_more_threads_than_processors_are_no_noise() -> None:
    assert judged([1.0], QUIET, told(busy=20), own=20, threads=8).findings == ()
    found = judged([1.0], QUIET, told(busy=25), own=20, threads=8)
    assert found.findings == ("other processes kept 0.5 of 2 processors busy",)


def test_a_system_without_an_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "_STAT", tmp_path / "stat")
    watch = Watch(threads=1)
    for _ in range(3):
        watch.probe()
    found = watch.verdict(QUIET)
    assert (found.others, found.steal) == (None, None)


def test_the_fixed_piece_of_work_is_long_enough_to_be_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "_STAT", tmp_path / "stat")
    (tmp_path / "stat").write_text(STAT, encoding="ascii")
    watch = Watch(threads=1)
    watch.probe()
    (tmp_path / "stat").write_text(STAT.replace("cpu  100", "cpu  300"), encoding="ascii")
    assert len(watch._probes) == 1
    assert watch._repeats > 1
    assert watch.verdict(QUIET).others is not None
