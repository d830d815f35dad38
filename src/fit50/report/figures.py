"""The measured front as an SVG that stands by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fit50.report.facts import Cost, Point, front, points, summary
from fit50.report.labels import labels
from fit50.report.legend import legend
from fit50.report.marks import FONT, GRID, INK, LIMIT, MUTED, PAGE, colour, kind, ring, shape
from fit50.report.markup import element, number, shorten, text
from fit50.report.plot import HEIGHT, PLOT, WIDTH, Plot, plot
from fit50.spec.outcome import Outcome

_TITLES = {"latency": "Accuracy against latency", "size": "Accuracy against file size"}
_COSTS = {"latency": "Median latency for one image (ms, logarithmic)", "size": "File size (MB, logarithmic)"}


def front_svg(outcome: Outcome, cost: Cost = "latency") -> str:
    """A scatter of every candidate whose accuracy and cost are known, with the front and the budget.

    The SVG needs no font, style sheet or script from elsewhere. Each mark is a ``<g class="candidate">`` at the place
    that its ``transform`` gives, with the candidate's name in ``data-name`` and its figures in its ``<title>``.

    Args:
        outcome: what was measured and chosen.
        cost: what the x axis shows: the median latency in milliseconds, or the file size in megabytes.
    """
    shown = points(outcome, cost)
    title = _TITLES[cost]
    return element(
        "svg",
        element("rect", width=WIDTH, height=HEIGHT, fill=PAGE, class_="page"),
        element("text", title, x=24, y=32, font_size=17, font_weight=600, fill="currentColor"),
        element("text", text(_subtitle(outcome, shown)), x=24, y=53, font_size=12.5, fill=MUTED, class_="muted"),
        *(_scatter(plot(outcome, cost, shown)) if shown else _nothing(cost)),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width=WIDTH,
        height=HEIGHT,
        font_family=FONT,
        color=INK,
        class_="front",
        role="img",
        aria_label=f"{title}: {len(shown)} candidates, chosen {outcome.chosen}",
    )


def _subtitle(outcome: Outcome, shown: Sequence[Point]) -> str:
    machine = outcome.environment
    images = " or ".join(str(count) for count in sorted({point.accuracy.n for point in shown}))
    threads = "1 thread" if machine.threads == 1 else f"{machine.threads} threads"
    parts = [shorten(machine.processor, 70), threads, f"{images} validation images" if images else ""]
    return ", ".join(part for part in parts if part)


def _nothing(cost: Cost) -> Iterator[str]:
    message = f"No candidate has both an accuracy and a {cost}."
    yield element("text", message, x=WIDTH / 2, y=HEIGHT / 2, text_anchor="middle", fill=MUTED, class_="muted")


def _scatter(plot: Plot) -> Iterator[str]:
    yield from _grid(plot)
    yield from _budget(plot)
    yield _front_line(plot)
    for point in sorted(plot.shown, key=lambda point: (point.candidate.verdict == "chosen", -plot.radius(point))):
        yield _mark(plot, point)
    yield from labels(plot)
    yield legend(plot, PLOT.right + 24, PLOT.top + 8)


def _grid(plot: Plot) -> Iterator[str]:
    for tick in plot.x.ticks():
        at = plot.x(tick)
        yield element("line", x1=at, y1=PLOT.top, x2=at, y2=PLOT.bottom, stroke=GRID, class_="grid")
        yield _caption(f"{tick:g}", at, PLOT.bottom + 18, "middle")
    for tick in (tick for tick in plot.y.ticks() if 0 <= tick <= 100):
        at = plot.y(tick)
        yield element("line", x1=PLOT.left, y1=at, x2=PLOT.right, y2=at, stroke=GRID, class_="grid")
        yield _caption(f"{tick:g}", PLOT.left - 8, at + 4, "end")
    yield _title(_COSTS[plot.cost], f"translate({number((PLOT.left + PLOT.right) / 2)},{PLOT.bottom + 42})")
    yield _title("Validation accuracy (%)", f"translate(26,{number((PLOT.top + PLOT.bottom) / 2)}) rotate(-90)")


def _caption(content: str, x: float, y: float, anchor: str) -> str:
    return element("text", content, x=x, y=y, text_anchor=anchor, font_size=12, fill=MUTED, class_="muted")


def _title(content: str, transform: str) -> str:
    return element("text", content, transform=transform, text_anchor="middle", font_size=13, fill="currentColor")


def _budget(plot: Plot) -> Iterator[str]:
    top, right, bottom, left = PLOT.top, PLOT.right, PLOT.bottom, PLOT.left
    outside = ""
    if plot.most is not None:
        at = plot.x(plot.most)
        outside += f"M{at:.2f},{top}H{right}V{bottom}H{at:.2f}Z"
        yield _limit("budget-cost", f"M{at:.2f},{top}V{bottom}")
    if plot.least is not None:
        at = plot.y(plot.least)
        outside += f"M{left},{at:.2f}H{right}V{bottom}H{left}Z"
        yield _limit("budget-accuracy", f"M{left},{at:.2f}H{right}")
    if outside:
        yield element("path", d=outside, fill=LIMIT, fill_opacity=0.07, class_="outside")


def _limit(name: str, path: str) -> str:
    return element("path", d=path, stroke=LIMIT, stroke_width=1.4, stroke_dasharray="6 4", class_=f"limit {name}")


def _front_line(plot: Plot) -> str:
    corners = [plot.pixel(point) for point in front(point for point in plot.shown if point.on_front)]
    path = "".join(f"{'H' if i else 'M'}{x:.2f}{'V' if i else ','}{y:.2f}" for i, (x, y) in enumerate(corners))
    return element("path", d=path, fill="none", stroke="currentColor", stroke_width=1.5, opacity=0.55, class_="steps")


def _mark(plot: Plot, point: Point) -> str:
    candidate, (hue, value) = point.candidate, colour(point, plot.style)
    (x, y), radius = plot.pixel(point), plot.radius(point)
    lines = [candidate.name, f"{candidate.runtime}, {candidate.precision}"]
    lines += [f"{name}: {figure}" for name, figure in summary(candidate)]
    return element(
        "g",
        element("title", text("\n".join(lines))),
        _interval(plot.y(point.accuracy.high) - y, plot.y(point.accuracy.low) - y),
        shape(kind(point), radius, candidate.verdict),
        ring(radius) if candidate.verdict == "chosen" else "",
        class_=f"candidate {hue}",
        data_name=candidate.name,
        color=value,
        transform=f"translate({x:.2f},{y:.2f})",
    )


def _interval(high: float, low: float) -> str:
    path = f"M0,{high:.2f}V{low:.2f}M-4,{high:.2f}H4M-4,{low:.2f}H4"
    return element("path", d=path, stroke="currentColor", stroke_width=1.3, opacity=0.6, class_="interval")
