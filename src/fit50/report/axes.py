"""Axes: values to pixels, with ticks at round numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log, log10, sqrt

_MANTISSAS = ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))


@dataclass(frozen=True, slots=True)
class Axis:
    """The values from ``low`` to ``high`` on the pixels from ``start`` to ``end``, evenly or by their logarithm."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        if self.logarithmic:
            share = log(value / self.low) / log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values within the axis, at least four of them."""
        if self.logarithmic:
            for mantissas in _MANTISSAS:
                ticks = self._decades(mantissas)
                if len(ticks) >= 4:
                    return ticks
        return self._even()

    def _decades(self, mantissas: Sequence[float]) -> list[float]:
        exponents = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        values = (float(f"{mantissa}e{exponent}") for exponent in exponents for mantissa in mantissas)
        return [value for value in values if self.low <= value <= self.high]

    def _even(self) -> list[float]:
        rough = (self.high - self.low) / 5
        decade = 10.0 ** floor(log10(rough))
        step = max(decade * nice for nice in (1.0, 2.0, 2.5, 5.0) if decade * nice <= rough)
        return [round(count * step, 10) for count in range(ceil(self.low / step), floor(self.high / step) + 1)]


def even_axis(values: Sequence[float], start: float, end: float, least: float) -> Axis:
    """An even axis around ``values``, spanning at least ``least``, with a margin at both ends."""
    middle = (min(values) + max(values)) / 2
    reach = 0.56 * max(max(values) - min(values), least)
    return Axis(middle - reach, middle + reach, start, end)


def logarithmic_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """A logarithmic axis around positive ``values``, spanning at least a factor of two, with a margin at both ends."""
    middle = sqrt(min(values) * max(values))
    reach = max(max(values) / min(values), 2.0) ** 0.57
    return Axis(middle / reach, middle * reach, start, end, logarithmic=True)
