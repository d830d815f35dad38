"""The cells of the page's tables: a figure, its interval, and the value it is sorted by."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fit50.report.markup import element, text
from fit50.spec.outcome import Accuracy, Candidate, Difference, Latency, Throughput

MISSING = "–"


class Cell(NamedTuple):
    """Markup, and what it is sorted by; none sorts last."""

    markup: str
    order: float | str | None


class Column(NamedTuple):
    """A heading and how a candidate's cell is made."""

    heading: str
    cell: Callable[[Candidate], Cell]
    numeric: bool = False


def words(content: str) -> Cell:
    """A cell of plain text."""
    return Cell(text(content), content.lower() or None)


def figure(value: float | None, form: str) -> Cell:
    """A cell with one number."""
    return Cell(MISSING if value is None else format(value, form), value)


def interval(low: float, high: float, form: str) -> str:
    """An interval, in quieter type."""
    return element("span", f"[{low:{form}}, {high:{form}}]", class_="quiet")


def accuracy(value: Accuracy | None) -> Cell:
    """Percent, the interval, and of how many images."""
    if value is None:
        return Cell(MISSING, None)
    count = element("small", f"n={value.n}")
    return Cell(f"{value.percent:.1f} {interval(value.low, value.high, '.1f')} {count}", value.percent)


def difference(value: Difference | None) -> Cell:
    """Points, marked where the interval leaves out zero."""
    if value is None:
        return Cell(MISSING, None)
    sign = ("better" if value.points > 0 else "worse") if value.significant else "even"
    points = element("span", f"{value.points:+.1f}", class_=sign)
    return Cell(f"{points} {interval(value.low, value.high, '+.1f')}", value.points)


def milliseconds(value: Latency | None) -> Cell:
    """The median, its interval, the 95th percentile and the number of calls."""
    if value is None:
        return Cell(MISSING, None)
    spread = element("small", f"p95 {value.p95:.2f}, n={value.n}")
    return Cell(f"{value.median:.2f} {interval(value.low, value.high, '.2f')} {spread}", value.median)


def throughput(value: Throughput | None) -> Cell:
    """Images in a second, the interval and the batch."""
    if value is None:
        return Cell(MISSING, None)
    batch = element("small", f"batch {value.batch}, n={value.n}")
    return Cell(f"{value.median:.0f} {interval(value.low, value.high, '.0f')} {batch}", value.median)


def verdict(candidate: Candidate) -> Cell:
    """What became of the candidate, as a badge."""
    return Cell(element("span", candidate.verdict, class_=f"badge {candidate.verdict}"), candidate.verdict)


COLUMNS = (
    Column("Name", lambda each: words(each.name)),
    Column("Network", lambda each: words(each.network)),
    Column("Runtime", lambda each: words(each.runtime)),
    Column("Precision", lambda each: words(each.precision)),
    Column("Accuracy (%)", lambda each: accuracy(each.score.accuracy), numeric=True),
    Column("Against the best float (points)", lambda each: difference(each.against_baseline), numeric=True),
    Column("Latency (ms)", lambda each: milliseconds(each.score.latency), numeric=True),
    Column("Throughput (images/s)", lambda each: throughput(each.score.throughput), numeric=True),
    Column("Size (MB)", lambda each: figure(each.score.size, ".1f"), numeric=True),
    Column("Memory (MB)", lambda each: figure(each.score.memory, ".0f"), numeric=True),
    Column("Parameters (M)", lambda each: figure(each.parameters / 1e6, ".2f"), numeric=True),
    Column("GMACs", lambda each: figure(each.gmacs, ".2f"), numeric=True),
    Column("Verdict", verdict),
    Column("Reason", lambda each: words(each.reason)),
)
