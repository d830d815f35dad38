"""What becomes of each file, and why."""

from __future__ import annotations

import pytest
from tests.search.figures import answers, candidate

from fit50.search.verdicts import judge
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.outcome import Candidate
from fit50.spec.presets import EFFORTS
from fit50.spec.request import Budget, Request

FREE = Request(data="photos", effort=EFFORTS["quick"], budget=Budget(max_drop=None))


def verdicts(request: Request, *candidates: Candidate) -> dict[str, str]:
    judged, _ = judge(request, candidates, answers(candidates))
    return {each.name: each.verdict for each in judged}


def int8(name: str, **figures: float) -> Candidate:
    return candidate(name, **figures).model_copy(update={"precision": "int8"})  # type: ignore[arg-type]


def test_each_has_its_verdict() -> None:
    torch = candidate("torch", ms=9).model_copy(update={"runtime": "torch"})
    refused = Candidate(**{**candidate("x").model_dump(), "verdict": "refused", "reason": "no", "score": {}})
    found = verdicts(
        FREE, candidate("best", ms=3), candidate("fast", ms=1, right=80), candidate("slow", ms=4), torch, refused
    )
    assert found == {"best": "chosen", "fast": "front", "slow": "dominated", "torch": "reference", "x": "refused"}


def test_what_the_budget_rules_out_dominates_nothing() -> None:
    """Int8 files slower than float ones stay on the front where these are too large."""
    floating, small, smaller = candidate("float", ms=1, mb=30), int8("small", ms=3, mb=8), int8("smaller", ms=4, mb=2)
    tight = FREE.model_copy(update={"budget": Budget(max_drop=None, size=10)})
    assert verdicts(tight, floating, small, smaller) == {"float": "over-budget", "small": "chosen", "smaller": "front"}
    assert verdicts(FREE, floating, small, smaller) == {"float": "chosen", "small": "dominated", "smaller": "dominated"}


def test_without_any_float_file_the_reasons_are_said() -> None:
    reference = candidate("torch").model_copy(update={"runtime": "torch"})
    refused = candidate("one").model_copy(update={"verdict": "refused", "reason": "answers otherwise"})
    with pytest.raises(
        RuntimeRefusal, match=r"no runtime makes a float32 file of this network:\n  one: answers otherwise"
    ):
        verdicts(FREE, reference, refused)
