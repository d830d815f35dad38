"""When a measurement has gone on long enough, and what it finds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from fit50.runtimes import benchmark as module
from fit50.runtimes.base import Bundle, Images, Probabilities
from fit50.runtimes.benchmark import Round, benchmark, repeated, settled
from fit50.runtimes.energy import Meter
from fit50.runtimes.onnxruntime import OnnxRuntime
from fit50.spec.benchmark import Benchmark, Load, Until
from fit50.spec.monitor import Monitor
from fit50.weights.checkpoint import Checkpoint


def turn(medians: Iterator[float]) -> Callable[[], Round]:
    return lambda: Round((next(medians),), 1.0)


def test_a_median_is_settled_when_its_interval_is_narrow() -> None:
    assert settled([100.0] * 6, 2)
    assert not settled([100.0] * 5, 2), "too few rounds for an interval"
    assert settled([98.0, 99.0, 100.0, 100.0, 101.0, 102.0], 2)
    assert not settled([97.9, 99.0, 100.0, 100.0, 101.0, 102.0], 2)
    assert settled([1.0] + [100.0] * 50 + [1e6], 2), "the interval asks nothing of the extremes"


def test_rounds_end_when_all_are_settled() -> None:
    shares: list[float] = []
    steady, late = count(100, 0), iter([200.0, 100.0, *[150.0] * 90])
    found = repeated({"steady": turn(steady), "late": turn(late)}, Until(rounds=50), shares.append, clock=lambda: 0)
    lengths = {len(rounds) for rounds in found.values()}
    (length,) = lengths
    medians = [each.median for each in found["late"]]
    assert settled(medians, 2)
    assert not settled(medians[:-1], 2)
    assert 6 < length < 50
    assert shares == [*(pytest.approx(done / 50) for done in range(1, length)), 1]


def test_rounds_end_at_their_limit() -> None:
    found = repeated({"wild": turn(count(1, 10))}, Until(rounds=9), lambda share: None, clock=lambda: 0)
    assert len(found["wild"]) == 9


def test_rounds_end_when_the_time_is_over() -> None:
    clock = count(0, 10)
    found = repeated(
        {"wild": turn(count(1, 10))}, Until(rounds=99, seconds=35), lambda share: None, clock=lambda: next(clock)
    )
    assert len(found["wild"]) == 4


@dataclass
class Fake:
    """A session that answers when as many streams as expected are calling at once."""

    together: threading.Barrier
    batches: list[int]

    def run(self, *images: Images) -> Probabilities:
        self.together.wait(timeout=10)
        self.batches.append(len(images[0]))
        return np.zeros((len(images[0]), 2), np.float32)


@pytest.mark.parametrize(("streams", "batch", "calls"), [(1, 1, 10), (3, 1, 10), (2, 4, 2), (1, 16, 2)])
def test_streams_call_at_the_same_time(streams: int, batch: int, calls: int) -> None:
    sessions = [Fake(threading.Barrier(streams), []) for _ in range(streams)]
    for session in sessions:
        session.together = sessions[0].together
    with ThreadPoolExecutor(streams) as pool:
        found = module._turn(sessions, (np.zeros((batch, 2, 2, 3), np.uint8),), pool, None)
    assert [session.batches for session in sessions] == [[batch] * (2 + calls)] * streams
    assert len(found.times) == calls * streams
    assert found.joules is None


def test_energy_is_for_an_image(tmp_path: Path) -> None:
    counter = tmp_path / "energy_uj"
    counter.write_text("0", encoding="ascii")

    class Hungry:
        def run(self, *images: Images) -> Probabilities:
            counter.write_text(str(int(counter.read_text(encoding="ascii")) + 3_000_000), encoding="ascii")
            return np.zeros((len(images[0]), 2), np.float32)

    with ThreadPoolExecutor(1) as pool:
        found = module._turn([Hungry()], (np.zeros((2, 2, 2, 3), np.uint8),), pool, Meter((counter,), (10**9,)))
    assert found.joules == pytest.approx(1.5), "what warms up does not count"


def test_a_benchmark_of_two_files(checkpoint: Checkpoint, tmp_path: Path) -> None:
    bundle = OnnxRuntime().export(checkpoint, tmp_path / "new")
    old = bundle.copy(tmp_path / "old")
    old = Bundle(old.folder, old.manifest.model_copy(update={"gmacs": None, "activations": None}))
    loads = [Load(threads=2, batch=2), Load(threads=2, streams=2)]
    heard: list[tuple[str, int, int]] = []

    class Listener(Monitor):
        def progress(self, label: str, done: int, total: int) -> None:
            heard.append((label, done, total))

    found = benchmark({"new": bundle, "old": old}, loads, Until(rounds=3), Listener())
    assert Benchmark.parse(found.model_dump()) == found
    assert [(each.file, each.load) for each in found.measured] == [
        (name, load) for load in loads for name in ("new", "old")
    ]
    batch, _, streams, unknown = found.measured
    assert (batch.latency.n, batch.throughput.n, streams.latency.n) == (3 * 5, 3, 3 * 2 * 10)
    assert not any(each.settled for each in found.measured)
    assert batch.floor is not None and batch.times_floor is not None
    assert batch.times_floor == pytest.approx(2e3 / batch.throughput.median / batch.floor.milliseconds)
    assert (unknown.floor, unknown.times_floor) == (None, None)
    file = found.files["new"]
    assert (file.runtime, file.precision, file.size) == ("onnxruntime", "float32", bundle.size)
    assert 20 < file.memory < 400
    assert 0 < file.cold_start.low <= file.cold_start.median <= file.cold_start.high
    assert file.cold_start.n == 3
    assert found.environment.threads == 2
    assert heard[2] == ("start", 3, 3)
    assert heard[-1] == ("2 threads in 2 streams, batch 1", 100, 100)
