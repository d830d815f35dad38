"""The figure's labels, kept clear of the marks and of one another."""

from __future__ import annotations

from collections.abc import Iterator
from math import hypot

from fit50.report.boxes import Box, around, place
from fit50.report.facts import Point
from fit50.report.marks import LIMIT, MUTED, PAGE
from fit50.report.markup import element, shorten, text
from fit50.report.plot import PLOT, Plot

_LETTER = 6.6
_UNITS = {"latency": "ms", "size": "MB"}


def labels(plot: Plot) -> Iterator[str]:
    """The limits' labels, then those of the chosen candidate, the baseline and the reference."""
    taken = [*_limit_lines(plot), *(box for point in plot.shown for box in _footprint(plot, point))]
    for content, box in _limits(plot):
        taken.append(box)
        yield element("text", content, x=box.left, y=box.bottom - 5, font_size=12, fill=LIMIT, class_="limit-text")
    for role, point in plot.named:
        name = shorten(point.candidate.name, 40)
        (x, y), radius = plot.pixel(point), plot.radius(point) + 6
        box = place(x, y, radius, _LETTER * max(len(name), len(role)) + 4, 31, PLOT, taken)
        taken.append(box)
        yield _leader(box, x, y, radius)
        yield _name(role, name, box, x)


def _footprint(plot: Plot, point: Point) -> Iterator[Box]:
    (x, y), side = plot.pixel(point), 2 * plot.radius(point) + 6
    yield around(x, y, side, side)
    yield Box(x - 4, plot.y(point.accuracy.high), x + 4, plot.y(point.accuracy.low))


def _limit_lines(plot: Plot) -> Iterator[Box]:
    if plot.most is not None:
        yield Box(plot.x(plot.most) - 2, PLOT.top, plot.x(plot.most) + 2, PLOT.bottom)
    if plot.least is not None:
        yield Box(PLOT.left, plot.y(plot.least) - 2, PLOT.right, plot.y(plot.least) + 2)


def _limits(plot: Plot) -> Iterator[tuple[str, Box]]:
    if plot.most is not None:
        content = f"at most {plot.most:g} {_UNITS[plot.cost]}"
        width = _LETTER * len(content)
        left = min(plot.x(plot.most) + 6, PLOT.right - width)
        yield content, Box(left, PLOT.top + 2, left + width, PLOT.top + 20)
    if plot.least is not None:
        content = f"at least {plot.least:.1f} %"
        top = plot.y(plot.least) + 1
        yield content, Box(PLOT.left + 8, top, PLOT.left + 8 + _LETTER * len(content), top + 18)


def _leader(box: Box, x: float, y: float, radius: float) -> str:
    end_x, end_y = box.nearest(x, y)
    distance = hypot(end_x - x, end_y - y)
    if distance < radius + 10:
        return ""
    start_x, start_y = x + (end_x - x) * radius / distance, y + (end_y - y) * radius / distance
    return element("line", x1=start_x, y1=start_y, x2=end_x, y2=end_y, stroke=MUTED, class_="leader")


def _name(role: str, name: str, box: Box, x: float) -> str:
    after, before = box.left >= x, box.right <= x
    at, anchor = (box.left, "start") if after else (box.right, "end") if before else (_middle(box), "middle")
    lines = (
        element("tspan", role, x=at, font_weight=600, fill="currentColor"),
        element("tspan", text(name), x=at, dy=15, fill=MUTED, class_="muted"),
    )
    halo: dict[str, str | float] = {
        "stroke": PAGE,
        "stroke_width": 3.5,
        "stroke_linejoin": "round",
        "paint_order": "stroke",
    }
    return element("text", *lines, y=box.top + 12, text_anchor=anchor, font_size=12, class_="label", **halo)


def _middle(box: Box) -> float:
    return (box.left + box.right) / 2
