"""Boxes of pixels, and the best place for a label among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import hypot

_DIRECTIONS = ((1, 0), (-1, 0), (1, -1), (-1, -1), (1, 1), (-1, 1), (0, -1), (0, 1))
_GAPS = (4.0, 18.0, 36.0, 60.0, 90.0)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, y growing downwards."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """Square pixels."""
        return (self.right - self.left) * (self.bottom - self.top)

    def overlap(self, other: Box) -> float:
        """Square pixels that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """The box's point that is nearest to another."""
        return min(max(x, self.left), self.right), min(max(y, self.top), self.bottom)


def around(x: float, y: float, width: float, height: float) -> Box:
    """The box with its middle at (x, y)."""
    return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def place(x: float, y: float, radius: float, width: float, height: float, page: Box, taken: Sequence[Box]) -> Box:
    """The best place for a label of ``width`` by ``height`` beside the mark at (x, y).

    Staying on the page counts most, then covering little of what is ``taken``, then being near.
    """

    def fault(box: Box) -> float:
        outside = box.area - box.overlap(page)
        covered = sum(box.overlap(obstacle) for obstacle in taken)
        near_x, near_y = box.nearest(x, y)
        return 20 * outside + 2 * covered + hypot(near_x - x, near_y - y)

    return min(_places(x, y, radius, width, height), key=fault)


def _places(x: float, y: float, radius: float, width: float, height: float) -> Iterator[Box]:
    for gap in _GAPS:
        for right, down in _DIRECTIONS:
            reach = (radius + gap) * (0.75 if right and down else 1.0)
            yield around(x + right * (reach + width / 2), y + down * (reach + height / 2), width, height)
