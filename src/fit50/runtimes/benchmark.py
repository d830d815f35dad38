"""The thorough measurement: every file under every load, until the medians are known well enough, beside the floor."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice, product

import numpy as np
import psutil

from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle, Images, Session
from fit50.runtimes.energy import Meter, meter
from fit50.runtimes.floor import Rates, floor, measured_rates, traffic
from fit50.runtimes.measure import fresh_start, in_turns, latency, median_interval, timed
from fit50.runtimes.noise import Watch
from fit50.runtimes.verify import sample
from fit50.spec.benchmark import FEWEST, Benchmark, File, Load, Measured, Spread, Until
from fit50.spec.errors import DeviceError
from fit50.spec.machine import environment, isa
from fit50.spec.monitor import Monitor

_CALLS = 10
_WARM = 2


@dataclass(frozen=True)
class Round:
    """What a file's turn gave: milliseconds of each call, images in a second, joules for an image where they show."""

    times: tuple[float, ...]
    speed: float
    joules: float | None = None

    @property
    def median(self) -> float:
        """The median of the times."""
        return float(np.median(self.times))


def benchmark(
    bundles: Mapping[str, Bundle], loads: Sequence[Load], until: Until, monitor: Monitor | None = None
) -> Benchmark:
    """Measures bundles under one load after the other, in turns under each.

    Args:
        bundles: by any name.
        loads: the threads, streams and batches.
        until: when a load has been measured long enough.
        monitor: told of the progress.

    Raises:
        BundleError: a file cannot be opened or run.
        DeviceError: a load needs more memory than this machine has, or more threads than it can start.
    """
    monitor = monitor or Monitor()
    for bundle, load in product(bundles.values(), loads):
        _refuse_too_large(bundle, load)
    threads = max(load.threads for load in loads)
    files = _files(bundles, threads, min(until.rounds, FEWEST), monitor)
    rates = _rates(bundles, loads)
    watch, energy, measured, medians = Watch(threads), meter(), [], {}
    for load in loads:
        for name, rounds in _rounds(bundles, load, until, watch, energy, monitor).items():
            measured.append(_measured(name, bundles[name], load, rounds, until, rates[load.threads]))
            medians[f"{name} ({load})"] = [each.median for each in rounds]
    return Benchmark(
        environment=environment(threads),
        until=until,
        files=files,
        measured=tuple(measured),
        noise=watch.verdict(medians),
    )


def repeated(
    turns: Mapping[str, Callable[[], Round]],
    until: Until,
    after: Callable[[float], object],
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, list[Round]]:
    """Rounds of turns until all are settled twice in a row, or a limit is reached.

    Twice, since to stop at the first narrow interval is to choose it: it then held the true median in 91 to 97 of 100
    simulated cases, in 94 to 98 with the second. ``after`` each round it is told the limit's share.
    """
    found: dict[str, list[Round]] = {name: [] for name in turns}
    start, before = clock(), False
    for done, each in enumerate(in_turns(turns), 1):
        for name, one in each.items():
            found[name].append(one)
        share = max(done / until.rounds, (clock() - start) / until.seconds)
        now = all(settled([one.median for one in rounds], until.tolerance) for rounds in found.values())
        if share >= 1 or (before and now):
            break
        before = now
        after(share)
    after(1)
    return found


def settled(medians: Sequence[float], tolerance: float) -> bool:
    """Whether the interval of the rounds' median lies within ``tolerance`` percent of it."""
    median, low, high = median_interval(medians)
    return len(medians) >= FEWEST and 100 * max(median - low, high - median) <= tolerance * median


def _refuse_too_large(bundle: Bundle, load: Load) -> None:
    """Raises DeviceError where a load's images and the least that is moved for them do not fit the memory."""
    pixels = sum(image.height * image.width * image.channels for image in bundle.manifest.network.inputs)
    needed, there = load.batch * pixels + traffic(bundle, load), psutil.virtual_memory().total
    if needed > there:
        raise DeviceError(
            f"{load}: expected what fits the {there / 1e9:.3g} GB of memory here, found at least {needed / 1e9:.3g} GB "
            f"for {bundle.folder}; ask for fewer images in a batch, or fewer streams"
        )


def _files(bundles: Mapping[str, Bundle], threads: int, starts: int, monitor: Monitor) -> dict[str, File]:
    """What each bundle is, and what it takes to start."""
    turns = {name: partial(fresh_start, bundle, threads) for name, bundle in bundles.items()}
    found = []
    for each in islice(in_turns(turns), starts):
        found.append(each)
        monitor.progress("start", len(found), starts)
    return {
        name: File(
            runtime=bundle.manifest.runtime,
            precision=bundle.manifest.precision,
            size=bundle.size,
            memory=float(np.median([each[name].memory for each in found])),
            cold_start=_spread([each[name].milliseconds for each in found]),
        )
        for name, bundle in bundles.items()
    }


def _rates(bundles: Mapping[str, Bundle], loads: Sequence[Load]) -> dict[int, Rates]:
    """The machine's rates by threads, for as many bytes as the bundles move."""
    sizes: dict[int, set[int]] = {}
    for load in loads:
        sizes.setdefault(load.threads, set()).update(traffic(bundle, load) for bundle in bundles.values())
    return {threads: measured_rates(threads, sorted(moved)) for threads, moved in sizes.items()}


def _rounds(
    bundles: Mapping[str, Bundle], load: Load, until: Until, watch: Watch, energy: Meter | None, monitor: Monitor
) -> dict[str, list[Round]]:
    """Each bundle's rounds under a load."""

    def after(share: float) -> None:
        watch.probe()
        monitor.progress(str(load), round(100 * share), 100)

    with ThreadPoolExecutor(load.streams) as pool:
        turns = {}
        for name, bundle in bundles.items():
            runs = runtime(bundle.manifest.runtime)
            sessions = [runs.open(bundle, load.threads // load.streams) for _ in range(load.streams)]
            turns[name] = partial(_turn, sessions, sample(bundle, load.batch), pool, energy)
        return repeated(turns, until, after)


def _turn(
    sessions: Sequence[Session], images: tuple[Images, ...], pool: ThreadPoolExecutor, energy: Meter | None
) -> Round:
    """Some calls in every stream: ten of one image, fewer of more but two at least, after two that do not count.

    The streams begin together, and go on calling until all have made theirs, so that none of these runs alone.
    """
    batch = len(images[0])
    calls = max(2, _CALLS // batch)
    together = threading.Barrier(len(sessions))
    ready: list[Session] = []

    def stream(session: Session) -> tuple[list[float], int]:
        together.wait()
        try:
            times, more = timed(session, images, calls, warm=0), 0
        finally:
            ready.append(session)
        while len(ready) < len(sessions):
            session.run(*images)
            more += 1
        return times, more

    list(pool.map(partial(timed, images=images, calls=0, warm=_WARM), sessions))
    before = energy.read() if energy else ()
    found = list(pool.map(stream, sessions))
    joules = energy.joules(before, energy.read()) if energy else None
    return Round(
        tuple(time for times, _ in found for time in times),
        sum(1e3 * batch * calls / sum(times) for times, _ in found),
        None if joules is None else joules / sum(batch * (calls + more) for _, more in found),
    )


def _measured(name: str, bundle: Bundle, load: Load, rounds: Sequence[Round], until: Until, rates: Rates) -> Measured:
    throughput = _spread([each.speed for each in rounds])
    least = floor(bundle, load, rates, isa())
    joules = [each.joules for each in rounds if each.joules is not None]
    return Measured(
        file=name,
        load=load,
        latency=latency([each.times for each in rounds]),
        throughput=throughput,
        settled=settled([each.median for each in rounds], until.tolerance),
        energy=_spread(joules) if joules else None,
        floor=least,
        times_floor=least and load.images * 1e3 / throughput.median / least.milliseconds,
    )


def _spread(values: Sequence[float]) -> Spread:
    median, low, high = median_interval(values)
    return Spread(median=median, low=low, high=high, n=len(values))
