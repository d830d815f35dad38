"""When a measurement has gone on long enough, and what it finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from fit50.runtimes import benchmark as module
from fit50.runtimes.base import Bundle, Images, Manifest, Probabilities
from fit50.runtimes.benchmark import Round, benchmark, repeated, settled
from fit50.runtimes.energy import Meter
from fit50.runtimes.onnxruntime import OnnxRuntime
from fit50.spec.benchmark import Benchmark, Load, Until
from fit50.spec.errors import BundleError, DeviceError
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
    assert [settled(medians[:end], 2) for end in (length, length - 1, length - 2)] == [True, True, False]
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
    """A session that notes its calls; each of a slow one takes three of another, which it waits for."""

    calls: list[int]
    others: list[int] | None = None

    def run(self, *images: Images) -> Probabilities:
        self.calls.append(len(images[0]))
        end = time.monotonic() + 10
        while self.others is not None and len(self.calls) > 2 and len(self.others) < 3 * len(self.calls):
            assert time.monotonic() < end, "the other stream has stopped calling"
            time.sleep(1e-4)
        return np.zeros((len(images[0]), 2), np.float32)


@pytest.mark.parametrize(("batch", "calls"), [(1, 10), (4, 2), (16, 2)])
def test_a_single_stream_calls_as_often_as_it_is_timed(batch: int, calls: int) -> None:
    session = Fake([])
    with ThreadPoolExecutor(1) as pool:
        found = module._turn([session], (np.zeros((batch, 2, 2, 3), np.uint8),), pool, None)
    assert session.calls == [batch] * (2 + calls)
    assert found.speed == pytest.approx(batch * calls * 1e3 / sum(found.times))
    assert (len(found.times), found.joules) == (calls, None)


@pytest.mark.parametrize(("batch", "calls"), [(1, 10), (4, 2)])
def test_no_call_of_a_slower_stream_runs_alone(batch: int, calls: int) -> None:
    fast = Fake([])
    sessions = [fast, Fake([], fast.calls)]
    with ThreadPoolExecutor(2) as pool:
        found = module._turn(sessions, (np.zeros((batch, 2, 2, 3), np.uint8),), pool, None)
    assert len(sessions[1].calls) == 2 + calls
    assert len(fast.calls) >= 3 * (2 + calls)
    assert len(found.times) == 2 * calls
    quick, slow = (sum(found.times[start : start + calls]) for start in (0, calls))
    assert found.speed == pytest.approx(1e3 * batch * calls * (1 / quick + 1 / slow))


def test_a_stream_that_fails_does_not_keep_the_others() -> None:
    class Failing(Fake):
        def run(self, *images: Images) -> Probabilities:
            if len(self.calls) == 4:
                raise BundleError("broken")
            return super().run(*images)

    with ThreadPoolExecutor(2) as pool, pytest.raises(BundleError, match="broken"):
        module._turn([Fake([]), Failing([])], (np.zeros((1, 2, 2, 3), np.uint8),), pool, None)


def test_loads_that_no_memory_holds_are_refused_before_anything_runs(checkpoint: Checkpoint, tmp_path: Path) -> None:
    manifest = Manifest(
        runtime="onnxruntime", precision="float32", files={}, classes=(), network=checkpoint.network, tolerance=0.1
    )
    loads = [Load(threads=1), Load(threads=1, batch=10**12)]
    with pytest.raises(
        DeviceError, match=r"1 thread, batch 1000000000000: expected what fits the .* GB of memory here"
    ):
        benchmark({"it": Bundle(tmp_path, manifest)}, loads, Until())


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
