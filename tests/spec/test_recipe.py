"""Which steps follow which."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fit50.spec.errors import SpecError
from fit50.spec.recipe import Load, Prune, Quantize, Recipe, Resize
from fit50.spec.training import Teacher, Train

LOAD = Load(weights="resnet50.pth")


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((), "at least 1 item"),
        ((Train(),), r"steps\[0\]: expected a load step, found 'train'"),
        ((LOAD, Train(), LOAD), r"steps\[2\]: only the first step loads"),
        ((LOAD, Quantize(), Train()), r"steps\[2\]: nothing follows quantize"),
        ((LOAD, Quantize(), Quantize()), r"steps\[2\]: nothing follows quantize"),
        ((LOAD, Train(teacher=Teacher(after=2))), r"steps\[1\].teacher.after: expected at most 1, found 2"),
        ((LOAD, Train(), Train(teacher=Teacher(after=3))), r"steps\[2\].teacher.after: expected at most 2, found 3"),
        (
            (LOAD, Resize(size=96), Prune(keep=0.5, since=1)),
            r"steps\[2\].since: expected a step after the resize, found 1",
        ),
        ((LOAD, Prune(keep=0.5, since=2)), r"steps\[1\].since: expected at most 1, found 2"),
    ],
)
def test_steps_in_a_wrong_order_are_refused(steps: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Recipe(steps=steps)


@pytest.mark.parametrize("after", [1, 2])
def test_a_teacher_may_be_any_step_before(after: int) -> None:
    recipe = Recipe(steps=(LOAD, Train(), Train(teacher=Teacher(after=after))))
    assert recipe.steps[2].teacher == Teacher(after=after)


def test_half_precision_with_the_defaults_of_int8_is_itself() -> None:
    half = Quantize(to="fp16")
    assert Quantize.parse(half.model_dump()) == half


def test_steps_may_repeat() -> None:
    steps = (LOAD, Resize(size=96), Prune(keep=0.7), Train(), Prune(keep=0.5, since=2), Train(), Quantize())
    assert Recipe(steps=(LOAD,), seed=3).then(*steps[1:]) == Recipe(steps=steps, seed=3)
    with pytest.raises(SpecError, match="nothing follows quantize"):
        Recipe(steps=steps).then(Train())


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (Load, {}, "expected a network, a weights file, or both"),
        (Teacher, {}, "expected either after="),
        (Teacher, {"after": 1, "weights": "a.pth"}, "expected either after="),
        (Teacher, {"after": 1, "weight": 0}, "greater than 0"),
        (Prune, {"keep": 1.0}, "less than 1"),
        (Prune, {"keep": 0}, "greater than 0"),
        (Prune, {"keep": 0.5, "importance": "l1"}, "taylor"),
        (Prune, {"most": 1.0, "since": 1}, "since would change nothing"),
        (Resize, {"size": 0}, "greater than 0"),
        (Train, {"warmup": 1.0}, "less than 1"),
        (Train, {"ema": 1.0}, "less than 1"),
        (Train, {"precision": "fp16"}, "bf16"),
        (Quantize, {"max_drop": -1}, "greater than or equal to 0"),
        (Quantize, {"to": "bf16", "samples": 9, "lr": 1}, "bf16 needs none of what int8 does, found lr, samples"),
        (Quantize, {"bits": 4}, "unknown field 'bits'"),
        (Quantize, {"epochs": 3, "saturates": True}, "epochs, saturates would change nothing with method ptq"),
        (Quantize, {"method": "qat", "samples": 9}, "samples would change nothing with method qat"),
    ],
)
def test_a_step_that_is_none_is_refused(kind: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        kind(**fields)
