"""Where deployed files run and are measured: on this machine, or on one that answers the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import distributions
from importlib.util import find_spec
from typing import get_args

import numpy as np

from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle, Images, Probabilities
from fit50.runtimes.benchmark import benchmark
from fit50.runtimes.measure import measure
from fit50.runtimes.verify import Verification, verify
from fit50.spec.benchmark import Benchmark, Load, Until
from fit50.spec.machine import environment
from fit50.spec.monitor import Monitor
from fit50.spec.outcome import Environment, Score
from fit50.spec.runtimes import RuntimeName
from fit50.spec.value import Value

BATCH = 50
"""Images at once where files are asked for answers."""


class Facts(Value):
    """What a device is: its processor and software, and the runtimes that are installed there."""

    environment: Environment
    runtimes: tuple[RuntimeName, ...]


class Place:
    """Runs files on this machine. A subclass does so elsewhere, and raises DeviceError where that fails."""

    @cached_property
    def facts(self) -> Facts:
        """What the device is; found out once."""
        found = tuple(name for name in get_args(RuntimeName) if _installed(name))
        return Facts(environment=environment(), runtimes=found)

    def environment(self, threads: int) -> Environment:
        """What figures that are measured with so many threads belong to."""
        return self.facts.environment.model_copy(update={"threads": threads})

    def measure(
        self,
        bundles: Mapping[str, Bundle],
        threads: int,
        *,
        rounds: int = 12,
        batch: int = 16,
        memory: bool = True,
        monitor: Monitor | None = None,
    ) -> dict[str, Score]:
        """Scores of several bundles, as ``runtimes.measure`` takes them. Raises BundleError."""
        return measure(bundles, threads, rounds=rounds, batch=batch, memory=memory, monitor=monitor)

    def benchmark(
        self, bundles: Mapping[str, Bundle], loads: Sequence[Load], until: Until, monitor: Monitor | None = None
    ) -> Benchmark:
        """The thorough measurement, as ``runtimes.benchmark`` takes it. Raises BundleError."""
        return benchmark(bundles, loads, until, monitor)

    def verify(self, bundle: Bundle, threads: int) -> Verification:
        """Whether a bundle is what it says, and answers here as it did where it was made. Raises BundleError."""
        return verify(bundle, threads)

    def answers(
        self, bundles: Mapping[str, Bundle], chunks: Iterable[tuple[Images, ...]], threads: int
    ) -> Iterator[dict[str, Probabilities]]:
        """What each bundle answers, chunk by chunk: probabilities (N, classes).

        Args:
            bundles: by any name.
            chunks: for each input images (N, H, W, C), as many as fit into memory with ease; each is read once.
            threads: that each runtime may use.

        Raises:
            BundleError: a file cannot be opened.
        """
        for images in chunks:
            yield {name: _answers(bundle, images, threads) for name, bundle in bundles.items()}


def _installed(name: str) -> bool:
    if name == "onnxruntime-cuda":
        return any(distributions(name="onnxruntime-gpu"))
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of a module that is kept from being found
        return False


def _answers(bundle: Bundle, images: tuple[Images, ...], threads: int) -> Probabilities:
    session = runtime(bundle.manifest.runtime).open(bundle, threads)
    starts = range(0, len(images[0]), BATCH)
    return np.concatenate([session.run(*(each[start : start + BATCH] for each in images)) for start in starts])
