"""Axes and the placing of labels."""

from __future__ import annotations

import pytest

from fit50.report.axes import even_axis, logarithmic_axis
from fit50.report.boxes import Box, place


@pytest.mark.parametrize(
    ("low", "high"), [(1.8, 41.0), (0.02, 3000.0), (5.0, 5.0), (1.01, 1.9), (99.0, 101.0), (0.4, 0.9)]
)
def test_a_logarithmic_axis_holds_its_values_and_a_few_round_ticks(low, high):
    axis = logarithmic_axis([high, low], 100, 500)
    assert 100 < axis(low) <= axis(high) < 500
    assert axis(axis.low) == pytest.approx(100) and axis(axis.high) == pytest.approx(500)
    ticks = axis.ticks()
    assert 4 <= len(ticks) <= 20
    assert ticks == sorted(set(ticks)) and axis.low <= ticks[0] and ticks[-1] <= axis.high


def test_equal_factors_are_equally_far_on_a_logarithmic_axis():
    axis = logarithmic_axis([1.0, 64.0], 0, 100)
    assert axis(4.0) - axis(2.0) == pytest.approx(axis(32.0) - axis(16.0))


@pytest.mark.parametrize(("low", "high"), [(86.2, 94.3), (91.0, 91.0), (0.0, 100.0), (99.9, 100.0)])
def test_an_even_axis_holds_its_values_and_a_few_round_ticks(low, high):
    axis = even_axis([low, high], 400, 100, least=2.0)
    assert 400 > axis(low) >= axis(high) > 100
    assert axis.high - axis.low >= 2.0
    assert 4 <= len(axis.ticks()) <= 13


PAGE = Box(0, 0, 400, 300)


def test_a_label_stands_right_of_its_mark_where_there_is_room():
    box = place(100, 100, 5, 80, 20, PAGE, [])
    assert box.left > 105 and box.top < 100 < box.bottom


def test_a_label_stays_on_the_page():
    box = place(390, 150, 5, 80, 20, PAGE, [])
    assert box.right <= 400


def test_a_label_keeps_clear_of_what_is_taken():
    taken = [Box(100, 80, 300, 120), Box(150, 40, 260, 200)]
    box = place(120, 100, 5, 80, 20, PAGE, taken)
    assert sum(box.overlap(each) for each in taken) == 0
