"""Whether the machine was quiet while it was measured."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fit50.spec.benchmark import Noise

_STAT = Path("/proc/stat")
_PROBE = 0.005  # seconds that the fixed piece of work takes about
_SPREAD = 5.0  # percent
_OTHERS = 0.2  # processors
_STEAL = 1.0  # percent


@dataclass(frozen=True)
class Ticks:
    """What the processors have done since the start (ticks): ``busy`` leaves out what the hypervisor took."""

    busy: int
    steal: int
    total: int
    processors: int


def ticks(stat: str) -> Ticks:
    """Reads the text of ``/proc/stat``."""
    lines = [line.split() for line in stat.splitlines() if line.startswith("cpu")]
    user, nice, system, idle, waiting, interrupts, soft, steal = map(int, lines[0][1:9])
    busy = user + nice + system + interrupts + soft
    return Ticks(busy, steal, busy + idle + waiting + steal, len(lines) - 1)


def tail(values: Sequence[float]) -> float:
    """Percent by which the 90th percentile lies above the median."""
    median, slow = np.percentile(values, [50, 90])
    return float(100 * (slow / median - 1))


class Watch:
    """Watches the machine while something is measured on it.

    Args:
        threads: that the measurement uses at most.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._numbers = np.linspace(1, 2, 1 << 14)
        self._repeats = 1
        while self._work() < _PROBE:
            self._repeats *= 2
        self._probes: list[float] = []
        self._before, self._own = _now(), _own_seconds()

    def probe(self) -> None:
        """Times the fixed piece of work once more."""
        self._probes.append(self._work())

    def verdict(self, rounds: Mapping[str, Sequence[float]]) -> Noise:
        """What was seen since the start.

        Args:
            rounds: the median of each round, by what was measured.
        """
        own, after = _own_seconds() - self._own, _now()
        told = None if self._before is None or after is None else (self._before, after)
        return judged(self._probes, rounds, told, own, self._threads)

    def _work(self) -> float:
        result = np.empty_like(self._numbers)
        start = time.perf_counter()
        for _ in range(self._repeats):
            np.sqrt(self._numbers, out=result)
        return time.perf_counter() - start


def judged(
    probes: Sequence[float],
    rounds: Mapping[str, Sequence[float]],
    told: tuple[Ticks, Ticks] | None,
    own: float,
    threads: int,
) -> Noise:
    """Noise from what was seen.

    Args:
        probes: seconds that the fixed piece of work took.
        rounds: the median of each round, by what was measured.
        told: the system's account before and after, where it keeps one.
        own: processor time of this process in between (seconds).
        threads: that the measurement used at most.
    """
    findings, others, steal = [], None, None
    if (spread := tail(probes)) > _SPREAD:
        findings.append(f"the slowest tenth of a fixed piece of work took {spread:.0f} % longer than its median")
    worst = max(rounds, key=lambda name: tail(rounds[name]))
    if (apart := tail(rounds[worst])) > _SPREAD:
        findings.append(f"the slowest tenth of the rounds of {worst} took {apart:.0f} % longer than their median")
    if told is not None and (passed := told[1].total - told[0].total):
        processors = told[1].processors
        elapsed = passed / processors / os.sysconf("SC_CLK_TCK")
        busy = (told[1].busy - told[0].busy) / os.sysconf("SC_CLK_TCK")
        others, steal = max(busy - own, 0) / elapsed, 100 * (told[1].steal - told[0].steal) / passed
        if others > max(processors - threads, 0) + _OTHERS:
            findings.append(f"other processes kept {others:.1f} of {processors} processors busy")
        if steal > _STEAL:
            findings.append(f"the hypervisor gave {steal:.1f} % of the processors' time to others")
    return Noise(probe=max(spread, 0), rounds=max(apart, 0), others=others, steal=steal, findings=tuple(findings))


def _now() -> Ticks | None:
    return ticks(_STAT.read_text(encoding="ascii")) if _STAT.exists() else None


def _own_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
