"""Blocks that say nothing leave, and no answer changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.compress.zoo import EVERY, dataset, logits, narrow

from fit50.compress.depth import shallower
from fit50.spec import presets
from fit50.spec.blocks import Basic
from fit50.spec.errors import SpecError
from fit50.spec.network import Network
from fit50.weights.checkpoint import Checkpoint

LivedIn = Callable[..., Checkpoint]
PLAIN = narrow(presets.resnet(presets.DEPTHS[50]), blocks=4)
NETWORKS = {
    "resnet50": PLAIN,
    "basic blocks": narrow(presets.resnet34(), blocks=4),
    "SE, grouped, FPN": narrow(presets.se_resnext50_32x4d().model_copy(update={"neck": presets.fpn_resnet50().neck})),
    "HFF": narrow(presets.hff_senet(), blocks=4),
    "two inputs, norms of their own": narrow(presets.m_mffnet_gated(), blocks=4),
    "two inputs, separate backbones": EVERY["two inputs, HFF in separate backbones"],
}


def silenced(checkpoint: Checkpoint, *blocks: str) -> Checkpoint:
    """The checkpoint in which the last norms of these blocks, for either input, are zero."""
    tensors = {key: tensor.clone() for key, tensor in checkpoint.tensors.items()}
    last = "bn2" if isinstance(checkpoint.network.stages[0].blocks[0], Basic) else "bn3"
    for key, tensor in tensors.items():
        if any(f"{block}.{last}." in key for block in blocks) and key.endswith(("weight", "bias")):
            tensor.zero_()
    return checkpoint.with_(tensors=tensors)


@pytest.mark.parametrize("kind", ["bn", "taylor"])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_block_that_adds_nothing_is_the_one_that_leaves(kind: str, network: Network, lived_in: LivedIn) -> None:
    checkpoint = silenced(lived_in(network), "layer1.1", "layer3.1")
    depths = [len(stage.blocks) for stage in network.stages]
    depths[0] -= 1
    depths[2] -= 1
    after = shallower(checkpoint, tuple(depths), kind, dataset(network).split("train"))
    assert Network.parse(after.network.model_dump()) == after.network
    assert [len(stage.blocks) for stage in after.network.stages] == depths
    expected = logits(checkpoint)
    assert (logits(after) - expected).abs().max() < 1e-6 * expected.std(0).max()


def test_later_blocks_take_the_place_of_those_that_left(lived_in: LivedIn) -> None:
    checkpoint = silenced(lived_in(PLAIN), "layer3.1", "layer3.2")
    after = shallower(checkpoint, (3, 4, 2, 3), "bn", dataset(PLAIN).split("train"))
    assert torch.equal(after.tensors["layer3.1.conv1.weight"], checkpoint.tensors["layer3.3.conv1.weight"])
    assert torch.equal(after.tensors["layer3.0.conv1.weight"], checkpoint.tensors["layer3.0.conv1.weight"])
    assert not any(key.startswith("layer3.2.") for key in after.tensors)


def test_the_first_block_leaves_where_its_shortcut_is_the_identity(lived_in: LivedIn) -> None:
    network = NETWORKS["basic blocks"]
    assert network.stages[0].blocks[0].shortcut == "identity"
    checkpoint = silenced(lived_in(network), "layer1.0", "layer1.2")
    after = shallower(checkpoint, (1, 4, 4, 3), "bn", dataset(network).split("train"))
    torch.testing.assert_close(logits(after), logits(checkpoint))


@pytest.mark.parametrize(
    ("depths", "message"),
    [
        ((3, 4, 4), "prune.depths: expected 4 numbers, one for each stage, found (3, 4, 4)"),
        ((3, 5, 4, 3), "layer2 has 4 blocks, of which 1 must stay"),
        ((3, 0, 4, 3), "expected 1 to 4, found 0"),
    ],
)
def test_depths_that_cannot_be_are_refused(depths: tuple[int, ...], message: str, lived_in: LivedIn) -> None:
    with pytest.raises(SpecError) as caught:
        shallower(lived_in(PLAIN), depths, "bn", dataset(PLAIN).split("train"))
    assert message in str(caught.value)


def test_a_block_that_changes_the_shape_stays(lived_in: LivedIn) -> None:
    first, *rest = PLAIN.stages
    blocks = (first.blocks[0], first.blocks[1].model_copy(update={"shortcut": "projection"}), first.blocks[2])
    network = PLAIN.model_copy(update={"stages": (first.model_copy(update={"blocks": blocks}), *rest)})
    with pytest.raises(SpecError, match=r"layer1 has 3 blocks, of which 2 must stay .*; expected 2 to 3, found 1"):
        shallower(lived_in(network), (1, 4, 4, 3), "bn", dataset(network).split("train"))
