"""The tables of the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fit50.report.cells import COLUMNS, Cell, Column, accuracy, difference, words
from fit50.report.facts import by_latency
from fit50.report.markup import element, text
from fit50.spec.outcome import Candidate, Outcome, Trial


def candidates_table(outcome: Outcome) -> str:
    """Every candidate, the fastest first; the script sorts it by any heading."""
    heading = element("tr", *(_sortable(column) for column in COLUMNS))
    rows = (_candidate(candidate) for candidate in by_latency(outcome))
    body = element("table", element("thead", heading), element("tbody", *rows), id="candidates")
    return _scrolling(body, "Candidates")


def trials_table(trials: Iterable[Trial]) -> str:
    """The networks that were trained on the way."""
    rows = (
        (
            words(trial.name),
            accuracy(trial.accuracy),
            words(trial.against),
            difference(trial.difference),
            difference(trial.int8),
            words("kept" if trial.kept else "left"),
            words(trial.reason),
        )
        for trial in trials
    )
    heading = ("Trial", "Accuracy (%)", "Compared with", "Difference (points)", "Int8 (points)", "Verdict", "Reason")
    return table("Trials", heading, rows)


def rejected_table(rejected: Iterable[Candidate]) -> str:
    """The candidates that were no choice."""
    rows = ((words(each.name), words(each.verdict.replace("-", " ")), words(each.reason)) for each in rejected)
    return table("Rejected candidates", ("Candidate", "Verdict", "Reason"), rows)


def pairs(items: Iterable[tuple[str, object]]) -> str:
    """A list of names with their values."""
    return element("dl", *(element("dt", text(name)) + element("dd", text(value)) for name, value in items))


def _sortable(column: Column) -> str:
    button = element("button", text(column.heading), type="button")
    return element("th", button, scope="col", class_="numeric" if column.numeric else "words")


def _candidate(candidate: Candidate) -> str:
    cells = (_cell("td" if index else "th", column, column.cell(candidate)) for index, column in enumerate(COLUMNS))
    return element("tr", *cells, data_name=candidate.name, class_=candidate.verdict)


def _cell(name: str, column: Column, cell: Cell) -> str:
    order = "" if cell.order is None else str(cell.order)
    return element(name, cell.markup, data_order=order, class_="numeric" if column.numeric else "words")


def table(label: str, headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table that is not sorted."""
    head = element("tr", *(element("th", text(heading), scope="col") for heading in headings))
    body = (element("tr", *(element("td", cell.markup) for cell in row)) for row in rows)
    return _scrolling(element("table", element("thead", head), element("tbody", *body)), label)


def _scrolling(table: str, label: str) -> str:
    return element("div", table, class_="scrolling", role="region", aria_label=label, tabindex="0")
