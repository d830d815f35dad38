"""Which trained network goes on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fit50.search.trials import Trained, tried
from fit50.spec.outcome import Difference, Trial


def trained(right: int, int8: tuple[float, float] | None = (-0.4, 0.2), of: int = 200) -> Trained:
    """A network that answers so many of its images correctly, and what int8 would do to it."""
    low, high = int8 or (0.0, 0.0)
    change = Difference(points=(low + high) / 2, low=low, high=high, n=of) if int8 else None
    return Trained("run", np.arange(of) < right, change)


def kept(trials: tuple[Trial, ...]) -> Trial:
    (found,) = (trial for trial in trials if trial.kept)
    return found


def test_the_most_accurate_is_kept_and_compared_with_the_control() -> None:
    trials = tried({"baseline": trained(150), "control": trained(160), "se": trained(190)}, allowed=1)
    assert [(trial.name, trial.against) for trial in trials] == [
        ("baseline", ""),
        ("control", "baseline"),
        ("se", "control"),
    ]
    assert kept(trials).name == "se"
    assert kept(trials).reason == "the most accurate on validation"
    assert trials[2].difference is not None
    assert trials[2].difference.points == pytest.approx(15)
    assert trials[1].reason == "less accurate on validation than the best"


def test_what_is_within_chance_is_said() -> None:
    trials = tried({"baseline": trained(150), "control": trained(151), "se": trained(152)}, allowed=1)
    assert [trial.reason for trial in trials] == [
        "less accurate on validation than the best",
        "less accurate on validation than the best; its difference to the baseline is within chance",
        "the most accurate on validation; its difference to the control is within chance",
    ]


def test_of_those_that_tie_the_first_is_kept() -> None:
    assert kept(tried({"baseline": trained(150), "control": trained(150)}, allowed=1)).name == "baseline"


def test_what_int8_surely_harms_is_avoided() -> None:
    harmed = trained(190, (-9.0, -5.0))
    trials = tried({"baseline": trained(150), "control": trained(187), "swish": harmed}, allowed=2)
    assert kept(trials).name == "control"
    assert kept(trials).reason == "the most accurate on validation of those that int8 does not harm"
    assert trials[2].reason == (
        "int8 would probably change its accuracy by -7.0 points [-9.0, -5.0], n=200, and may cost 2; "
        "its difference to the control is within chance"
    )
    assert trials[2].int8 == harmed.int8


def test_what_is_far_more_accurate_is_kept_whatever_int8_does() -> None:
    networks = {"baseline": trained(150), "control": trained(185), "swish": trained(190, (-9.0, -5.0))}
    assert kept(tried(networks, allowed=2)).name == "swish"
    assert kept(tried(networks, allowed=2.5)).name == "control"


@pytest.mark.parametrize("int8", [None, (-9.0, -1.5), (-0.5, 0.5)])
def test_what_is_not_surely_harmed_is_not_avoided(int8: tuple[float, float] | None) -> None:
    networks = {"baseline": trained(150), "control": trained(160), "swish": trained(190, int8)}
    assert kept(tried(networks, allowed=2)).name == "swish"


def test_where_int8_harms_all_accuracy_decides() -> None:
    hard = (-9.0, -5.0)
    trials = tried({"baseline": trained(150, hard), "control": trained(160, hard), "se": trained(190, hard)}, allowed=2)
    assert kept(trials).name == "se"
    assert kept(trials).reason == "the most accurate on validation"


def test_where_int8_is_trained_what_it_would_lose_otherwise_does_not_count() -> None:
    networks = {"baseline": trained(150), "control": trained(187), "swish": trained(190, (-9.0, -5.0))}
    assert kept(tried(networks, allowed=math.inf)).name == "swish"
