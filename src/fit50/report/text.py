"""The front as a table for the terminal."""

from __future__ import annotations

from textwrap import fill

from fit50.report.facts import by_latency, latency, speed_up
from fit50.report.markup import shorten
from fit50.spec.outcome import Accuracy, Candidate, Outcome

COLUMNS = 110
_MARKS = {"chosen": ">", "front": "*", "reference": "=", "over-budget": "!", "refused": "x", "dominated": ""}
_HEADINGS = ("", "name", "runtime", "numbers", "accuracy %", "latency ms", "speed-up", "size MB", "mem. MB")
_LEFT = ("", "name", "runtime", "numbers")
_RUNTIME = 11


def front_table(outcome: Outcome) -> str:
    """The candidates, the fastest first, and the choice, in lines of at most 110 columns.

    Accuracy is on validation, plus or minus the longer side of its 95 % interval. The speed-up is against the
    reference. A name goes without the runtime and the numbers, which stand beside it; long ones are cut in the middle.
    """
    rows = [_HEADINGS, *(_row(outcome, candidate) for candidate in by_latency(outcome))]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    widths[1] = min(widths[1], COLUMNS - (sum(widths) - widths[1]) - 2 * (len(widths) - 1))
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*lines, "", _key(outcome), "", fill(outcome.sentence, COLUMNS)])


def _row(outcome: Outcome, candidate: Candidate) -> tuple[str, ...]:
    score = candidate.score
    return (
        _MARKS[candidate.verdict],
        candidate.name.replace(f" {candidate.runtime} {candidate.precision}", "", 1),
        shorten(candidate.runtime, _RUNTIME),
        candidate.precision,
        _accuracy(score.accuracy),
        _figure(latency(candidate), ".2f"),
        _figure(speed_up(outcome, candidate), ".1f", "x"),
        _figure(score.size, ".1f"),
        _figure(score.memory, ".0f"),
    )


def _accuracy(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "-"
    percent = accuracy.percent
    return f"{percent:.1f} ±{max(percent - accuracy.low, accuracy.high - percent):.1f}"


def _figure(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = (
        shorten(cell, width).ljust(width) if heading in _LEFT else cell.rjust(width)
        for cell, width, heading in zip(row, widths, _HEADINGS, strict=True)
    )
    return "  ".join(cells).rstrip()


def _key(outcome: Outcome) -> str:
    verdicts = {candidate.verdict for candidate in outcome.candidates}
    names = {verdict: verdict.replace("front", "on the front").replace("-", " ") for verdict in _MARKS}
    return "   ".join(f"{mark} {names[verdict]}" for verdict, mark in _MARKS.items() if mark and verdict in verdicts)
