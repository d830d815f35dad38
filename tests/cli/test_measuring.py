"""The verb benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Fit50

from fit50.runtimes import benchmark
from fit50.runtimes.floor import Rates
from fit50.runtimes.measure import Start


@pytest.fixture(autouse=True)
def _no_fresh_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are tested elsewhere."""
    monkeypatch.setattr(benchmark, "fresh_start", lambda bundle, threads: Start(memory=123.0, milliseconds=45.0))
    monkeypatch.setattr(benchmark, "measured_rates", lambda threads, sizes: Rates(50, dict.fromkeys(sizes, 20)))


def test_json(fit50: Fit50, bundle: Path) -> None:
    words = ("--rounds", "2", "--threads", "1", "2", "--streams", "1", "2", "--batches", "1", "3", "--json")
    found = json.loads(fit50("benchmark", bundle, *words).out)
    assert found["environment"]["threads"] == 2
    assert found["until"]["rounds"] == 2
    assert found["files"][str(bundle)]["memory"] == 123
    loads = [tuple(each["load"].values()) for each in found["measured"]]
    assert loads == [(1, 1, 1), (1, 1, 3), (2, 1, 1), (2, 1, 3), (2, 2, 1), (2, 2, 3)]
    assert [each["latency"]["n"] for each in found["measured"]] == [20, 6, 20, 6, 40, 12]
    assert all(each["floor"]["milliseconds"] > 0 for each in found["measured"])


def test_table(fit50: Fit50, bundle: Path) -> None:
    text = fit50("benchmark", bundle, "--rounds", "1", "--threads", "1").out
    assert "times floor" in text
    assert "?: 2 of 2 intervals could not be brought within 2 % of the median in 1 rounds" in text
    assert " 45 " in text and "±" not in text, "one round has no interval"


@pytest.mark.parametrize("option", ["--rounds", "--threads", "--streams", "--batches", "--seconds", "--tolerance"])
def test_nothing_is_too_little(fit50: Fit50, bundle: Path, option: str) -> None:
    ended = fit50("benchmark", bundle, option, "0")
    assert ended.code == 2
    assert option in ended.err


def test_streams_that_divide_no_threads(fit50: Fit50, bundle: Path) -> None:
    ended = fit50("benchmark", bundle, "--threads", "2", "3", "--streams", "4")
    assert ended.code == 2
    assert "--streams: expected a count that divides one of the threads 2, 3, found 4" in ended.err
