"""The figure's frame: which pixel a candidate lies on, and how large it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fit50.report.axes import Axis, even_axis, logarithmic_axis
from fit50.report.boxes import Box
from fit50.report.facts import Cost, Point, accuracy_floor, baseline, chosen, limit, reference
from fit50.report.marks import Style, style
from fit50.spec.outcome import Outcome

WIDTH, HEIGHT = 960, 560
PLOT = Box(72, 76, 764, 498)


@dataclass(frozen=True, slots=True)
class Plot:
    """What is shown and where.

    Attributes:
        cost: what the x axis shows.
        shown: the candidates, in the outcome's order.
        named: those that get a label, each with its role: chosen, baseline, reference.
        most: the budget's limit of the cost.
        least: the budget's floor of the accuracy, in percent.
    """

    cost: Cost
    shown: tuple[Point, ...]
    named: tuple[tuple[str, Point], ...]
    x: Axis
    y: Axis
    style: Style
    most: float | None
    least: float | None

    def pixel(self, point: Point) -> tuple[float, float]:
        """The middle of the point's mark."""
        return self.x(point.cost), self.y(point.percent)

    def radius(self, point: Point) -> float:
        """The radius of the point's mark."""
        return self.style.radius(point.candidate.score.size)


def plot(outcome: Outcome, cost: Cost, shown: tuple[Point, ...]) -> Plot:
    """The frame that holds all of ``shown``, which is not empty, and the budget."""
    most, least = limit(outcome.request.budget, cost), accuracy_floor(outcome)
    costs = [point.cost for point in shown] + ([] if most is None else [most])
    percents = [percent for point in shown for percent in (point.percent, point.accuracy.low, point.accuracy.high)]
    return Plot(
        cost=cost,
        shown=shown,
        named=tuple(_named(outcome, shown)),
        x=logarithmic_axis(costs, PLOT.left, PLOT.right),
        y=even_axis(percents + ([] if least is None else [least]), PLOT.bottom, PLOT.top, least=2.0),
        style=style(shown),
        most=most,
        least=least,
    )


def _named(outcome: Outcome, shown: Sequence[Point]) -> list[tuple[str, Point]]:
    roles = {"chosen": chosen(outcome), "best float": baseline(outcome), "reference": reference(outcome)}
    names = [(", ".join(role for role, one in roles.items() if one == point.candidate), point) for point in shown]
    return sorted(((role, point) for role, point in names if role), key=lambda name: name[0] != "chosen")
