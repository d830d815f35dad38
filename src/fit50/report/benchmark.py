"""A benchmark for the terminal: the files, each load beside its floor, and how quiet the machine was."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill

from fit50.report.columns import columns
from fit50.report.markup import shorten
from fit50.spec.benchmark import FEWEST, Benchmark, File, Floor, Measured, Noise, Spread
from fit50.spec.outcome import Environment, Latency

_COLUMNS = 110
_NAME = 24
_FILES = ("file", "runtime", "numbers", "MB", "cold start ms", "peak memory MB")
_LOADS = (
    *("file", "threads", "streams", "batch", "ms a call", "p90", "p99", "calls"),
    *("images/s", "floor ms", "times floor", "J an image"),
)


def benchmark_text(found: Benchmark) -> str:
    """Medians, plus or minus the longer side of their 95 % interval where they have one, and what they are worth."""
    return "\n".join(_lines(found))


def _lines(found: Benchmark) -> Iterator[str]:
    yield fill(_machine(found.environment), _COLUMNS)
    yield ""
    yield from columns([_FILES, *(_file(name, file) for name, file in found.files.items())], left=3)
    yield ""
    energy = any(each.energy for each in found.measured)
    rows = [_LOADS, *map(_load, found.measured)]
    yield from columns(rows if energy else [row[:-1] for row in rows])
    yield ""
    for note in _notes(found):
        yield fill(note, _COLUMNS, subsequent_indent="  ")


def _machine(where: Environment) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in where.versions.items())
    return (
        f"{where.processor}, {where.cores} cores, {where.memory_gb:g} GB, {where.system} ({', '.join(where.isa)}); "
        f"governor {where.governor or 'not exposed'}; {versions}"
    )


def _file(name: str, file: File) -> tuple[str, ...]:
    return (
        shorten(name, _NAME),
        file.runtime,
        file.precision,
        f"{file.size:.2f}",
        _spread(file.cold_start, ".0f", file.cold_start.n),
        f"{file.memory:.0f}",
    )


def _load(each: Measured) -> tuple[str, ...]:
    load, calls = each.load, each.latency
    return (
        shorten(each.file, _NAME),
        str(load.threads),
        str(load.streams),
        str(load.batch),
        _spread(calls, ".2f", each.throughput.n) + ("" if each.settled else " ?"),
        _figure(calls.p90, ".2f"),
        _figure(calls.p99, ".2f"),
        str(calls.n),
        _spread(each.throughput, ".0f", each.throughput.n),
        _floor(each.floor),
        _figure(each.times_floor, ".1f"),
        "-" if each.energy is None else _spread(each.energy, ".3f", each.energy.n),
    )


def _floor(floor: Floor | None) -> str:
    return "-" if floor is None else f"{floor.milliseconds:.2f} {floor.bound}"


def _notes(found: Benchmark) -> Iterator[str]:
    """What the figures are worth."""
    yield from _floors(found)
    if not any(each.energy for each in found.measured):
        yield "energy: not exposed by this kernel to this user"
    yield from _unsettled(found)
    yield _noise(found.noise)


def _floors(found: Benchmark) -> Iterator[str]:
    """What the floors are made of: the rates by threads, and what was assumed."""
    rates = {each.load.threads: each.floor.rate / each.floor.multiple for each in found.measured if each.floor}
    if rates:
        measured = ", ".join(f"{rate:.0f} with {threads}" for threads, rate in rates.items())
        yield (
            "floor: for the images in work together, the longer of moving the file and its largest layer's "
            "activations once, at the rate of copying as many bytes, and of its multiply-accumulates at the rate of "
            f"numpy's float32 products (GMAC/s by threads: {measured})"
        )
    floors = [(found.files[each.file].precision, each.floor) for each in found.measured if each.floor]
    assumed = {precision: floor.multiple for precision, floor in floors if floor.multiple != 1}
    for precision, times in assumed.items():
        yield f"floor, assumed from the instruction sets: {precision} at {times:.3g} times float32's rate"
    if any(each.times_floor is not None and each.times_floor < 1 for each in found.measured):
        yield "less than 1 times the floor: its rates are not the machine's best (disturbed, or assumed too low)"
    if len(floors) < len(found.measured):
        yield "floor -: the bundle does not say what it computes; export it again"


def _unsettled(found: Benchmark) -> Iterator[str]:
    count, until = sum(not each.settled for each in found.measured), found.until
    if count:
        yield (
            f"?: {count} of {len(found.measured)} intervals could not be brought within {until.tolerance:g} % of the "
            f"median in {until.rounds} rounds or {until.seconds:g} s"
        )


def _noise(noise: Noise) -> str:
    if noise.findings:
        return f"THIS MACHINE IS NOISY: {'; '.join(noise.findings)}"
    others = "" if noise.others is None else f", other processes {noise.others:.2f} processors"
    steal = "" if noise.steal is None else f", hypervisor {noise.steal:.1f} % of the time"
    return (
        f"the machine was quiet: slowest tenth of a fixed piece of work +{noise.probe:.1f} %, of the rounds "
        f"+{noise.rounds:.1f} %{others}{steal}"
    )


def _spread(spread: Spread | Latency, form: str, values: int) -> str:
    """The median; plus or minus the longer side of its interval where so many values have one, and it has a share."""
    median, side = spread.median, max(spread.median - spread.low, spread.high - spread.median)
    return f"{median:{form}}" + (f" ±{100 * side / median:.1f} %" if values >= FEWEST and median else "")


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
