"""What a benchmark found: each file under each load, beside the least time that the machine could need."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from fit50.spec.numerics import Precision
from fit50.spec.outcome import Environment, Latency
from fit50.spec.value import Value

FEWEST = 6
"""Values whose median has a 95 % interval: the range of six holds it in 97 of 100 cases, that of five in 94."""


class Spread(Value):
    """The median of ``n`` repeats with its 95 % interval, or their range where they are fewer than ``FEWEST``."""

    median: float
    low: float
    high: float
    n: PositiveInt


class Load(Value):
    """How a file is used: ``streams`` calls at the same time, each of ``batch`` images and on its share of ``threads``.

    The threads are those of all streams together, and divide evenly.
    """

    threads: PositiveInt
    streams: PositiveInt = 1
    batch: PositiveInt = 1

    @model_validator(mode="after")
    def _threads_divide(self) -> Load:
        if self.threads % self.streams:
            raise ValueError(f"expected threads that {self.streams} streams share evenly, found {self.threads}")
        return self

    def __str__(self) -> str:
        shared = f" in {self.streams} streams" if self.streams > 1 else ""
        return f"{self.threads} thread{'s' * (self.threads > 1)}{shared}, batch {self.batch}"

    @property
    def images(self) -> int:
        """Images in work at the same time."""
        return self.streams * self.batch


class Until(Value):
    """When a measurement ends: every median's interval is within ``tolerance`` percent of it, or a limit is reached.

    It must be so after two rounds in a row. ``rounds`` and ``seconds`` are the limits for one load.
    """

    tolerance: PositiveFloat = 2.0
    rounds: PositiveInt = 100
    seconds: PositiveFloat = 60.0


class Floor(Value):
    """The least time for the images of a load that are in work together.

    It is the longer of moving ``megabytes`` (10^6 bytes: the file once for each stream, the activations of its largest
    layer for each image) at ``bandwidth`` (GB/s, measured by copying as many bytes, 2^30 at most) and of computing
    ``gmacs`` at ``rate`` (GMAC/s). ``rate`` is ``multiple`` times what was measured in float32: an assumption from the
    instruction sets unless it is 1.
    """

    milliseconds: PositiveFloat
    bound: Literal["memory", "arithmetic"]
    megabytes: PositiveFloat
    bandwidth: PositiveFloat
    gmacs: PositiveFloat
    rate: PositiveFloat
    multiple: PositiveFloat = 1


class Measured(Value):
    """One file under one load.

    Attributes:
        file: its name in ``Benchmark.files``.
        load: the threads, streams and batch.
        latency: milliseconds of one call, while the other streams call too.
        throughput: images in a second of all streams together, over the rounds.
        settled: whether the latency's interval came within the tolerance.
        energy: joules for an image, of the processor as a whole; None where the kernel does not expose them.
        floor: None for a file that does not say what it computes.
        times_floor: the time for an image over the floor's.
    """

    file: str
    load: Load
    latency: Latency
    throughput: Spread
    settled: bool
    energy: Spread | None = None
    floor: Floor | None = None
    times_floor: float | None = None


class File(Value):
    """What a file is and needs before it answers.

    ``size`` and ``memory`` (the peak of a fresh process that answers once) are in megabytes (10^6 bytes).
    ``cold_start`` is the time in milliseconds from importing the runtime in a fresh process to the first answer, with
    the file in the page cache.
    """

    runtime: str
    precision: Precision
    size: float
    memory: float
    cold_start: Spread


class Noise(Value):
    """How quiet the machine was while it was measured.

    Attributes:
        probe: percent beyond their median that the slowest tenth of the repeats of a fixed piece of work took.
        rounds: the same of a file's rounds, of the file and load where it is most.
        others: processors that other processes kept busy; None where the system does not tell.
        steal: percent of the processors' time that the hypervisor gave to others; None where the system does not tell.
        findings: what says that the machine was noisy; empty where it was quiet.
    """

    probe: NonNegativeFloat
    rounds: NonNegativeFloat
    others: float | None = None
    steal: float | None = None
    findings: tuple[str, ...] = ()


class Benchmark(Value):
    """All that was measured, and where."""

    environment: Environment
    until: Until
    files: dict[str, File]
    measured: tuple[Measured, ...]
    noise: Noise
