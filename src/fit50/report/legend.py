"""The legend of the front: only what the figure shows."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor, log10
from typing import NamedTuple

from fit50.report.marks import INK, LIMIT, MUTED, REFERENCE, Style, kind, ring, shape
from fit50.report.markup import element, number, shorten, text
from fit50.report.plot import Plot

_STANDINGS = {"front": "on the front", "dominated": "dominated", "over-budget": "over budget"}


class Entry(NamedTuple):
    """A mark about the origin, what it stands for, and the height of its row."""

    mark: str
    name: str
    height: float = 21.0


def legend(plot: Plot, left: float, top: float) -> str:
    """The legend with its upper left corner at (left, top)."""
    groups = {
        "Runtime (colour)": _runtimes(plot),
        "Precision (shape)": _precisions(plot),
        "File size (area)": _sizes(plot.style),
        "Standing": _standings(plot),
    }
    rows, y = [], top
    for title, entries in ((title, list(entries)) for title, entries in groups.items()):
        if not entries:
            continue
        rows.append(element("text", title, x=left, y=y, font_size=12, font_weight=600, fill="currentColor"))
        y += 12
        for mark, name, height in entries:
            y += height / 2
            rows.append(element("g", mark, transform=f"translate({left + 14},{number(y - 4)})"))
            rows.append(element("text", text(name), x=left + 36, y=y, font_size=12, fill=MUTED, class_="muted"))
            y += height / 2
        y += 20
    return element("g", *rows, class_="legend")


def _runtimes(plot: Plot) -> Iterator[Entry]:
    for runtime in plot.style.runtimes:
        hue, value = plot.style.hue(runtime)
        yield Entry(element("g", shape("disc", 6), class_=hue, color=value), shorten(runtime, 18))
    references = {point.candidate.runtime for point in plot.shown if point.candidate.verdict == "reference"}
    for runtime in sorted(references):
        mark = element("g", shape("square", 6), class_="hue-reference", color=REFERENCE)
        yield Entry(mark, shorten(f"{runtime} (reference)", 18))


def _precisions(plot: Plot) -> Iterator[Entry]:
    files = [point for point in plot.shown if point.candidate.verdict != "reference"]
    for precision, form in sorted({(point.candidate.precision, kind(point)) for point in files}):
        yield Entry(_plain(shape(form, 6)), precision)


def _sizes(style: Style) -> Iterator[Entry]:
    if not style.largest:
        return
    decade = 10.0 ** floor(log10(style.largest))
    most = max(decade * step for step in (1, 2, 5) if decade * step <= style.largest)
    for size in (most / 5, most):
        radius = style.radius(size)
        mark = element("circle", r=radius, fill="none", stroke=MUTED, stroke_width=1.3, class_="size")
        yield Entry(mark, f"{size:g} MB", max(21.0, 2 * radius + 4))


def _standings(plot: Plot) -> Iterator[Entry]:
    verdicts = {point.candidate.verdict for point in plot.shown}
    if "chosen" in verdicts:
        yield Entry(_plain(shape("disc", 4) + ring(3)), "chosen")
    for verdict, name in _STANDINGS.items():
        if verdict in verdicts:
            yield Entry(_plain(shape("disc", 6, verdict)), name)
    bar = element("path", d="M0,-8V8M-4,-8H4M-4,8H4", stroke="currentColor", stroke_width=1.3)
    yield Entry(_plain(bar), "95 % interval")
    if plot.most is not None or plot.least is not None:
        swatch = element("rect", x=-9, y=-6, width=18, height=12, fill=LIMIT, fill_opacity=0.14, class_="outside")
        yield Entry(swatch, "outside the budget")


def _plain(mark: str) -> str:
    return element("g", mark, color=INK, class_="plain")
