"""The marks of the figure: shape is precision, colour is runtime, area is file size, filled is on the front."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import pi, sqrt

from fit50.report.facts import Point
from fit50.report.markup import element

PAGE = "#ffffff"
INK = "#1f2328"
MUTED = "#59636e"
GRID = "#e4e8ec"
LIMIT = "#b42318"
REFERENCE = "#7a828c"
FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
_HUES = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#b8860b")
_LARGEST = 16.0
_SMALLEST = 4.5
_UNKNOWN = 6.0


@dataclass(frozen=True, slots=True)
class Style:
    """One figure's colours and sizes: its runtimes in order, and the largest file in megabytes."""

    runtimes: tuple[str, ...]
    largest: float | None

    def hue(self, runtime: str) -> tuple[str, str]:
        """The class and the colour of a runtime."""
        index = self.runtimes.index(runtime) % len(_HUES)
        return f"hue-{index}", _HUES[index]

    def radius(self, size: float | None) -> float:
        """The radius of the disc whose area stands for ``size`` megabytes."""
        if size is None or not self.largest:
            return _UNKNOWN
        return max(_LARGEST * sqrt(size / self.largest), _SMALLEST)


def style(points: Iterable[Point]) -> Style:
    """The style that tells these points apart."""
    candidates = [point.candidate for point in points]
    runtimes = {candidate.runtime for candidate in candidates if candidate.verdict != "reference"}
    sizes = [candidate.score.size for candidate in candidates if candidate.score.size]
    return Style(tuple(sorted(runtimes)), max(sizes, default=None))


def colour(point: Point, style: Style) -> tuple[str, str]:
    """The class and the colour of a point's mark."""
    if point.candidate.verdict == "reference":
        return "hue-reference", REFERENCE
    return style.hue(point.candidate.runtime)


def shape(kind: str, radius: float, verdict: str = "front") -> str:
    """A mark about the origin in the current colour, all of the same area.

    ``kind`` is ``disc``, ``diamond``, ``triangle`` or ``square``.
    """
    if verdict in ("chosen", "front", "reference"):
        return _outline(kind, radius, fill="currentColor", stroke=PAGE, stroke_width=1, class_="filled")
    dashes = "2.6 2" if verdict == "over-budget" else "none"
    line: dict[str, str | float] = {"stroke": "currentColor", "stroke_width": 1.8, "stroke_dasharray": dashes}
    return _outline(kind, radius, fill=PAGE, fill_opacity=0.35, class_="hollow", **line)


def ring(radius: float) -> str:
    """What goes around the chosen mark."""
    return element("circle", r=radius + 5, fill="none", stroke="currentColor", stroke_width=2.2, class_="ring")


def kind(point: Point) -> str:
    """The shape of a point's mark."""
    if point.candidate.verdict == "reference":
        return "square"
    return {"int8": "diamond", "bf16": "triangle", "fp16": "triangle"}.get(point.candidate.precision, "disc")


def _outline(kind: str, radius: float, **attributes: str | float) -> str:
    corners: tuple[tuple[float, float], ...]
    match kind:
        case "diamond":
            reach = radius * sqrt(pi / 2)
            corners = ((0, -reach), (reach, 0), (0, reach), (-reach, 0))
        case "triangle":
            reach = radius * sqrt(4 * pi / (3 * sqrt(3)))
            corners = ((0, -reach), (reach * sqrt(3) / 2, reach / 2), (-reach * sqrt(3) / 2, reach / 2))
        case "square":
            half = radius * sqrt(pi) / 2
            corners = ((-half, -half), (half, -half), (half, half), (-half, half))
        case _:
            return element("circle", r=radius, **attributes)
    return element("polygon", points=" ".join(f"{x:.2f},{y:.2f}" for x, y in corners), **attributes)
