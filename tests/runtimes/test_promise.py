"""What a file may hold and weigh."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.contracts.runtime import INT8

from fit50.nn.cost import cost
from fit50.runtimes.promise import hold_promise
from fit50.spec.numerics import Half
from fit50.weights.checkpoint import Checkpoint

WHOLE = {"int8": "18 of 18 layers"}
PART = {"int8": "17 of 18 layers; accuracy control left in float, as they cost the most accuracy: fc"}


@pytest.fixture
def promised(checkpoint: Checkpoint) -> int:
    return cost(checkpoint.network).parameters


def test_a_file_with_all_parameters_and_a_graph_keeps_the_promise(checkpoint: Checkpoint, promised: int) -> None:
    hold_promise(checkpoint, promised + 1000, 4 * promised + 100_000)
    hold_promise(checkpoint, None, 4 * promised + 100_000)


@pytest.mark.parametrize("parameters", [1.2, 2.0])
def test_more_parameters_break_it(checkpoint: Checkpoint, promised: int, parameters: float) -> None:
    """As masks do, or a second copy of what two inputs share."""
    with pytest.raises(
        AssertionError, match=rf"at most {promised:,} parameters .* found {int(parameters * promised):,}"
    ):
        hold_promise(checkpoint, int(parameters * promised), promised)


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
def test_half_precision_in_whole_floats_breaks_it(checkpoint: Checkpoint, promised: int, kind: str) -> None:
    half = replace(checkpoint, numerics=Half.parse({"kind": kind}))
    hold_promise(half, promised, 2 * promised + 100_000)
    with pytest.raises(AssertionError, match=f"bytes in {kind}, found"):
        hold_promise(half, promised, 5 * promised)


def test_int8_with_weights_in_float_breaks_it_unless_it_says_so(checkpoint: Checkpoint, promised: int) -> None:
    whole, part = (replace(checkpoint, numerics=INT8, provenance=said) for said in (WHOLE, PART))
    hold_promise(whole, promised, promised + 100_000)
    hold_promise(part, promised, 4 * promised)
    with pytest.raises(AssertionError, match="bytes in int8, found"):
        hold_promise(whole, promised, 5 * promised)
