"""What is said of damage."""

from __future__ import annotations

import pytest

from fit50.spec.damage import ClassChange, Damage, LayerError, Probe
from fit50.spec.evaluation import Comparison, Estimate
from fit50.spec.outcome import Accuracy, Difference

NOTHING = Estimate(value=0, low=0, high=0)
HALF = Accuracy(correct=50, n=100, low=40, high=60)


def difference(points: float, margin: float = 2) -> Difference:
    return Difference(points=points, low=points - margin, high=points + margin, n=100)


def damaged(points: float, classes: dict[str, float] | None = None, layers: tuple[LayerError, ...] = ()) -> Damage:
    """A loss of so many points, and by class."""
    comparison = Comparison(
        old=HALF,
        new=Accuracy(correct=round(50 + points), n=100, low=30, high=50),
        difference=difference(points),
        p=0.1,
        lost=12,
        won=2,
        changed=0,
        negative_flip_rate=NOTHING,
        flips=(),
    )
    changes = tuple(
        ClassChange(name=name, old=HALF, new=HALF, difference=difference(lost))
        for name, lost in (classes or {}).items()
    )
    return Damage(
        comparison=comparison, old_calibration=NOTHING, new_calibration=NOTHING, classes=changes, layers=layers
    )


def probed(points: float, **fields: object) -> Probe:
    return Probe.parse(
        {"calibrated": 300, "tried": 100, "sensitivities": (), "int8": damaged(points), "allowed": 1.0} | fields
    )


def test_a_line_names_the_most_hurt() -> None:
    classes = {"shirt": -40.0, "coat": -31.2, "bag": -4.0, "boot": -1.0, "dress": 2.0}
    assert str(damaged(-10, classes)) == (
        "50.0 to 40.0 % (-10.0 points [-12.0, -8.0], n=100); most hurt: shirt -40.0, coat -31.2, bag -4.0"
    )
    assert str(damaged(1, {"shirt": 1.0})) == "50.0 to 51.0 % (+1.0 points [-1.0, +3.0], n=100)"


@pytest.mark.parametrize(("error", "decibels"), [(0.1, 20), (1, 0), (0.01, 40), (0, None), (None, None)])
def test_decibels(error: float | None, decibels: float | None) -> None:
    assert LayerError(name="layer1.0", channels=4, error=error).decibels == pytest.approx(decibels)


def test_advice_where_int8_loses_little() -> None:
    found = probed(-1)
    assert found.advice == (
        "int8 will probably change the accuracy by -1.0 points [-3.0, +1.0], n=100: no more than the 1 that may be lost"
    )


def test_advice_where_some_layers_are_to_blame() -> None:
    found = probed(-4, spared=("layer4.2.conv3", "fc"), with_spared=difference(-0.5))
    assert found.advice == (
        "int8 will probably change the accuracy by -4.0 points [-6.0, -2.0], n=100; leave layer4.2.conv3, fc with all "
        "inputs in float (-0.5 points [-2.5, +1.5], n=100), or use --method qat"
    )


def test_advice_where_all_layers_are_to_blame() -> None:
    assert probed(-2.9).advice.endswith("; no few layers are to blame: use --method qat, or stay in float")
