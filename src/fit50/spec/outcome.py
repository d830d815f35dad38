"""What was measured and what was chosen: the values that a finished job leaves behind."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from fit50.spec.numerics import Precision
from fit50.spec.request import Request
from fit50.spec.value import Value


class Accuracy(Value):
    """Correct answers among ``n`` images, with the 95 % interval (percent)."""

    correct: NonNegativeInt
    n: PositiveInt
    low: float
    high: float

    @property
    def percent(self) -> float:
        """Correct answers in percent."""
        return 100 * self.correct / self.n

    def __str__(self) -> str:
        return f"{self.percent:.1f} % [{self.low:.1f}, {self.high:.1f}], n={self.n}"


class Difference(Value):
    """Points of accuracy of one model minus another's on the same ``n`` images, with the 95 % interval (paired)."""

    points: float
    low: float
    high: float
    n: PositiveInt

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.points:+.1f} points [{self.low:+.1f}, {self.high:+.1f}], n={self.n}"


class Latency(Value):
    """Milliseconds of a call: the median with its 95 % interval, and percentiles, over ``n`` calls in several rounds.

    The median is that of the rounds' medians, and its interval is over the rounds: calls in a row resemble each other.
    ``p99`` is None of fewer than 100 calls.
    """

    median: float
    low: float
    high: float
    p90: float | None = None
    p95: float
    p99: float | None = None
    n: PositiveInt

    def __str__(self) -> str:
        return f"{self.median:.2f} ms [{self.low:.2f}, {self.high:.2f}], p95 {self.p95:.2f}, n={self.n}"


class Throughput(Value):
    """Images in a second in batches of ``batch``: the median with its 95 % interval over ``n`` calls."""

    median: float
    low: float
    high: float
    batch: PositiveInt
    n: PositiveInt


class Score(Value):
    """What a deployed file does on a device. ``size`` and ``memory`` are in megabytes (10^6 bytes)."""

    accuracy: Accuracy | None = None
    latency: Latency | None = None
    throughput: Throughput | None = None
    size: float | None = None
    memory: float | None = None


class Environment(Value):
    """The device and the software that the figures belong to.

    ``governor`` is what decides the processor's clock, as Linux names it; None where the kernel does not expose it.
    """

    processor: str
    isa: tuple[str, ...]
    cores: PositiveInt
    threads: PositiveInt
    memory_gb: float
    system: str
    governor: str | None = None
    versions: dict[str, str]


class Candidate(Value):
    """One file that was considered: how it was made, what it scored, what became of it.

    ``verdict``: ``chosen``; ``front``, where no other file is better in every respect; ``dominated``; ``over-budget``;
    ``reference``, which is measured for comparison only; ``refused``, where no file could be made. ``against_baseline``
    is its validation accuracy minus the best float file's, on the same images.
    """

    name: str
    network: str
    precision: Precision
    runtime: str
    parameters: NonNegativeInt
    gmacs: float
    run: str
    bundle: str | None = None
    score: Score = Score()
    against_baseline: Difference | None = None
    verdict: Literal["chosen", "front", "dominated", "over-budget", "reference", "refused"] = "dominated"
    reason: str = ""


class Trial(Value):
    """A network that was trained on the way, and why it went on or was left.

    ``accuracy`` is the trained network's on validation; ``against`` names what it is compared with; ``int8`` is what
    eight bits everywhere would probably change, as simulated, None where there are no int8 files.
    """

    name: str
    run: str
    accuracy: Accuracy
    against: str = ""
    difference: Difference | None = None
    int8: Difference | None = None
    kept: bool = False
    reason: str = ""


class Outcome(Value):
    """A finished job. ``test`` is the chosen file's accuracy on the test split, which was read once, at the end."""

    request: Request
    classes: tuple[str, ...]
    images: dict[str, int]
    set_aside: tuple[str, ...] = ()
    environment: Environment
    trials: tuple[Trial, ...]
    candidates: tuple[Candidate, ...]
    chosen: str
    sentence: str
    test: Accuracy | None = None
    seconds: float
