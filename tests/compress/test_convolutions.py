"""The convolutions that widths decide are those of the narrowed network itself."""

from __future__ import annotations

import pytest
from tests.compress.zoo import EVERY

from fit50.compress.convolutions import convolutions
from fit50.compress.groups import groups, narrowed
from fit50.compress.widths import allowed, by_field
from fit50.spec.network import Network
from fit50.spec.recipe import Prune


@pytest.mark.parametrize("network", EVERY.values(), ids=EVERY)
def test_they_are_those_of_the_network_that_the_widths_make(network: Network) -> None:
    found = groups(network)
    step = Prune(keep=0.5, multiple=2, floor=0.01)
    widths = {field: allowed(same, step)[index % 2] for index, (field, same) in enumerate(by_field(found).items())}
    smaller = narrowed(network, widths)
    made = convolutions(smaller, groups(smaller))
    for before, after in zip(convolutions(network, found), made, strict=True):
        foreseen = before.at(widths)
        if before.inputs:
            assert foreseen.inputs == after.layer.inputs
        if before.outputs:
            assert foreseen == after.layer._replace(inputs=foreseen.inputs)
    assert any(each.inputs and each.outputs for each in made)


def test_a_convolution_that_both_inputs_pass_counts_twice() -> None:
    network = EVERY["two inputs, gated, norms and stems of their own"]
    assert network.fusion is not None and network.fusion.backbone == "shared"
    calls = [each for each in convolutions(network, groups(network)) if each.outputs == (("layer1.0.inner0", 1),)]
    assert len(calls) == 2


@pytest.mark.parametrize("network", EVERY.values(), ids=EVERY)
def test_every_width_that_may_shrink_decides_a_convolution(network: Network) -> None:
    """On maps of one pixel too, as the last stage's are of small images behind a stem of stride 4."""
    found = groups(network)
    sides = [side for each in convolutions(network, found) for side in (*each.inputs, *each.outputs)]
    assert {field for field, _ in sides} == by_field(found).keys()
