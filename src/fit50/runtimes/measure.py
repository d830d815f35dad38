"""How fast, how small, how hungry: measured on the deployed file, in the real runtime."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np

from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle, Images, Session
from fit50.runtimes.verify import sample
from fit50.spec.errors import BundleError
from fit50.spec.monitor import Monitor
from fit50.spec.outcome import Latency, Score, Throughput

_Z = 1.96
_REST = 0.02  # seconds, in which the threads of the runtime before stop spinning


def median_interval(times: Sequence[float]) -> tuple[float, float, float]:
    """The median and its 95 % interval by order statistics, which asks nothing of the distribution."""
    ordered, n = sorted(times), len(times)
    spread = _Z * math.sqrt(n) / 2
    low, high = max(0, math.floor(n / 2 - spread)), min(n - 1, math.ceil(n / 2 + spread))
    return float(np.median(ordered)), ordered[low], ordered[high]


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
    """Scores of several bundles, without accuracy, measured in turns so that a noisy machine disturbs all alike.

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
    sessions = {name: runtime(bundle.manifest.runtime).open(bundle, threads) for name, bundle in bundles.items()}
    single: dict[str, list[float]] = {name: [] for name in bundles}
    many: dict[str, list[float]] = {name: [] for name in bundles}
    names = list(bundles)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            session = sessions[name]
            time.sleep(_REST)
            one, group = sample(bundles[name], 1), sample(bundles[name], batch)
            single[name] += _times(session, one, calls, warm=2)
            many[name] += _times(session, group, 1, warm=1)
        monitor.progress("measure", turn + 1, rounds)
    del sessions
    scores = {}
    for name, bundle in bundles.items():
        median, low, high = median_interval(single[name])
        p95 = float(np.percentile(single[name], 95))
        slow, fast = sorted(batch * 1e3 / t for t in median_interval(many[name])[1:])
        scores[name] = Score(
            latency=Latency(median=median, low=low, high=high, p95=p95, n=len(single[name])),
            throughput=Throughput(
                median=batch * 1e3 / float(np.median(many[name])), low=slow, high=fast, batch=batch, n=len(many[name])
            ),
            size=bundle.size,
            memory=peak_memory(bundle, threads) if memory else None,
        )
    return scores


def _times(session: Session, images: tuple[Images, ...], calls: int, warm: int) -> list[float]:
    """Milliseconds of each timed call."""
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
    command = [sys.executable, "-m", "fit50.runtimes.probe", str(bundle.folder.resolve()), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BundleError(f"{bundle.folder}: a fresh process could not run it:\n{done.stderr.strip()[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["peak_mb"])
