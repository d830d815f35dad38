"""The wiring that the spec states is that of the module."""

from __future__ import annotations

import pytest
from tests.compress.zoo import EVERY

from fit50.compress.coupling import wires
from fit50.nn.compose import compose
from fit50.spec import presets
from fit50.spec.network import Network


@pytest.mark.parametrize("network", EVERY.values(), ids=EVERY)
def test_every_wire_is_a_part_of_the_module(network: Network) -> None:
    module = compose(network)
    parts = dict(module.named_modules()) | dict(module.named_parameters())
    found = list(wires(network))
    assert {wire.module for wire in found} <= parts.keys()
    assert len({wire.module for wire in found}) == len(found)
    for wire in found:
        assert not wire.makes or parts[wire.module].bias is not None, wire.module


def test_a_block_is_read_in_one_sitting() -> None:
    found = [wire for wire in wires(presets.se_resnet50()) if wire.module.startswith("layer1.0.")]
    assert [(w.module.removeprefix("layer1.0."), [i.name for i in w.inputs], w.outputs.name) for w in found] == [
        ("downsample.0", ["stem"], "layer1"),
        ("downsample.1", [], "layer1"),
        ("conv1", ["stem"], "layer1.0.inner0"),
        ("bn1", [], "layer1.0.inner0"),
        ("conv2", ["layer1.0.inner0"], "layer1.0.inner1"),
        ("bn2", [], "layer1.0.inner1"),
        ("conv3", ["layer1.0.inner1"], "layer1"),
        ("bn3", [], "layer1"),
        ("se.fc1", ["layer1"], "layer1.0.se"),
        ("se.fc2", ["layer1.0.se"], "layer1"),
    ]


def test_two_inputs_meet() -> None:
    network = EVERY["two inputs, concatenated early, all of their own"]
    met = {wire.module: wire for wire in wires(network) if wire.module.startswith("fusion.")}
    assert [channels.name for channels in met["fusion.conv1"].inputs] == ["layer2"]
    assert [channels.name for channels in met["fusion.conv2"].inputs] == ["second.layer2"]
    assert [channels.name for channels in met["fusion.fusion"].inputs] == ["fusion.conv1", "fusion.conv2"]
