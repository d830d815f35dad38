"""How fast, how small, how hungry: measured on the deployed file, in the real runtime."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np

from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle, Images, Session
from fit50.runtimes.verify import sample
from fit50.spec.errors import BundleError
from fit50.spec.monitor import Monitor
from fit50.spec.outcome import Latency, Score, Throughput

K = TypeVar("K")
T = TypeVar("T")
_Z = 1.96
_REST = 0.02  # seconds, in which the threads of the runtime before stop spinning
_FEW = 100  # calls, of which fewer have no 99th percentile


def median_interval(times: Sequence[float]) -> tuple[float, float, float]:
    """The median and its 95 % interval by order statistics, which asks nothing of the distribution.

    How many values lie below the median is binomial. The normal distribution stands for it, corrected for continuity:
    the interval holds the median in at least 95 of 100 cases. Fewer than six values have none; theirs is the range.
    """
    ordered, n = sorted(times), len(times)
    low = max(0, math.floor((n - 1 - _Z * math.sqrt(n)) / 2))
    return float(np.median(ordered)), ordered[low], ordered[n - 1 - low]


def latency(rounds: Sequence[Sequence[float]]) -> Latency:
    """The latency from each round's times (milliseconds)."""
    median, low, high = median_interval([float(np.median(times)) for times in rounds])
    calls = np.concatenate(rounds)
    p90, p95, p99 = np.percentile(calls, [90, 95, 99])
    return Latency(
        median=median, low=low, high=high, p90=p90, p95=p95, p99=p99 if len(calls) >= _FEW else None, n=len(calls)
    )


def in_turns(turns: Mapping[K, Callable[[], T]]) -> Iterator[dict[K, T]]:
    """What each gives, round after round without end, so that a noisy machine disturbs all alike.

    Each round begins with another.
    """
    names = deque(turns)
    while True:
        found = {}
        for name in names:
            time.sleep(_REST)
            found[name] = turns[name]()
        yield found
        names.rotate(-1)


def measure(
    bundles: Mapping[str, Bundle],
    threads: int,
    *,
    rounds: int = 12,
    calls: int = 10,
    batch: int = 16,
    memory: bool = True,
    monitor: Monitor | None = None,
) -> dict[str, Score]:
    """Scores of several bundles, without accuracy, measured in turns.

    Each round gives each bundle ``calls`` calls with one image, after two that do not count, and one call with
    ``batch`` images, after one that does not count.

    Args:
        bundles: by any name.
        threads: that each runtime may use.
        rounds: turns of each bundle.
        calls: timed in a turn.
        batch: images at once for the throughput.
        memory: whether to open each bundle in a fresh process and note its peak memory.
        monitor: told of the rounds.

    Raises:
        BundleError: a file cannot be opened or run.
    """
    monitor = monitor or Monitor()

    def turn(session: Session, one: tuple[Images, ...], many: tuple[Images, ...]) -> tuple[list[float], float]:
        return timed(session, one, calls, warm=2), timed(session, many, 1, warm=1)[0]

    turns = {
        name: partial(
            turn,
            runtime(bundle.manifest.runtime).open(bundle, threads),
            sample(bundle, 1),
            sample(bundle, batch),
        )
        for name, bundle in bundles.items()
    }
    found = []
    for each in islice(in_turns(turns), rounds):
        found.append(each)
        monitor.progress("measure", len(found), rounds)
    del turns
    scores = {}
    for name, bundle in bundles.items():
        middle, low, high = median_interval([each[name][1] for each in found])
        speed = 1e3 * batch
        scores[name] = Score(
            latency=latency([each[name][0] for each in found]),
            throughput=Throughput(median=speed / middle, low=speed / high, high=speed / low, batch=batch, n=rounds),
            size=bundle.size,
            memory=peak_memory(bundle, threads) if memory else None,
        )
    return scores


def timed(session: Session, images: tuple[Images, ...], calls: int, warm: int) -> list[float]:
    """Milliseconds of each timed call, after ``warm`` that do not count."""
    for _ in range(warm):
        session.run(*images)
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        session.run(*images)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def peak_memory(bundle: Bundle, threads: int) -> float:
    """Megabytes at the peak of a fresh process that opens the bundle and predicts one image. Raises BundleError."""
    return fresh_start(bundle, threads).memory


class Start(NamedTuple):
    """What a fresh process needs to answer once: megabytes at its peak, and milliseconds, the runtime's import too."""

    memory: float
    milliseconds: float


def fresh_start(bundle: Bundle, threads: int) -> Start:
    """Opens a bundle in a fresh process and predicts one image. Raises BundleError."""
    command = [sys.executable, "-m", "fit50.runtimes.probe", str(bundle.folder), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 2:
        raise BundleError(json.loads(done.stdout.splitlines()[-1])["error"])
    if done.returncode:
        raise BundleError(f"{bundle.folder}: a fresh process could not run it:\n{done.stderr.strip()[-2000:]}")
    return Start(**json.loads(done.stdout.splitlines()[-1]))
