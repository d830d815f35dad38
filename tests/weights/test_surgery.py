"""Morphs change a network and not its answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from fit50.spec import presets
from fit50.spec.digest import diff, digest, edit
from fit50.spec.errors import NotBuiltError, SpecError
from fit50.spec.network import SE, Basic, Bottleneck, Classifier, Network, Stage, Stem
from fit50.spec.recipe import Edit, Morph
from fit50.weights.checkpoint import Checkpoint
from fit50.weights.surgery import grown, morph

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]

GATES = Edit(path="stages[*].blocks[*].attention", value={"kind": "se", "reduction": 4})


def images(seed: int = 0) -> Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 4 - 2


def logits(checkpoint: Checkpoint) -> Tensor:
    with torch.no_grad():
        return checkpoint.module()(images())


STEPS = {
    "gates": Morph(edits=(GATES,)),
    "a gate in each first block": Morph(edits=(Edit(path="stages[*].blocks[0].attention", value="se"),)),
    "deeper stage 1": Morph(depths=(3, 1, 1)),
    "deeper stage 2": Morph(depths=(2, 2, 1)),
    "deeper stage 3": Morph(depths=(2, 1, 3)),
    "deeper everywhere": Morph(depths=(3, 2, 2)),
    "deeper with gates": Morph(depths=(3, 2, 2), edits=(GATES,)),
    "dropout": Morph(edits=(Edit(path="head.dropout", value=0.5), Edit(path="stages[*].blocks[*].dropout", value=0.1))),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_morph_answers_to_the_last_bit_as_before(name: str, narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow((2, 1, 1)))
    after = morph(checkpoint, STEPS[name], seed=1)
    assert after.network != checkpoint.network
    assert after.network == grown(checkpoint.network, STEPS[name])
    assert logits(checkpoint).std() > 0.01
    assert torch.equal(logits(after), logits(checkpoint))


def test_gates_may_be_added_to_a_network_that_has_some(narrow: Narrow, lived_in: LivedIn) -> None:
    some = edit(narrow((2, 1)), "stages[0].blocks[0].attention", SE(reduction=4))
    checkpoint = lived_in(some)
    after = morph(checkpoint, Morph(depths=(3, 2), edits=(Edit(path="stages[1].blocks[*].attention", value="se"),)), 0)
    old = {key: tensor for key, tensor in checkpoint.tensors.items() if "layer1.0.se" in key}
    assert len(old) == 4
    assert all(torch.equal(after.tensors[key], tensor) for key, tensor in old.items())
    assert torch.equal(logits(after), logits(checkpoint))


def test_what_is_new_can_learn(narrow: Narrow, lived_in: LivedIn) -> None:
    after = morph(lived_in(narrow((1, 1))), Morph(depths=(2, 2), edits=(GATES,)), seed=0)
    module = after.module().train()
    F.cross_entropy(module(images()), torch.tensor([0, 1])).backward()
    for stage in ("layer1", "layer2"):
        gate, added = module.get_submodule(f"{stage}.0.se"), module.get_submodule(f"{stage}.1")
        assert gate.fc2.weight.count_nonzero() == 0
        assert gate.fc2.weight.grad.count_nonzero() > 0
        assert added.bn3.weight.count_nonzero() == 0
        assert added.bn3.weight.grad.count_nonzero() > 0


def test_new_parts_are_drawn_from_the_seed(narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow((1, 1)))
    first, again, other = (morph(checkpoint, Morph(depths=(1, 2)), seed).tensors for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["layer2.1.conv1.weight"], other["layer2.1.conv1.weight"])


def test_swish_changes_the_activation_alone(narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow((1, 1)))
    after = morph(checkpoint, Morph(edits=(Edit(path="activation", value="swish"),)), seed=0)
    assert {change.path.split(".")[0] for change in diff(checkpoint.network, after.network)} == {"activation"}
    assert set(after.tensors) == set(checkpoint.tensors)
    assert all(torch.equal(after.tensors[key], tensor) for key, tensor in checkpoint.tensors.items())
    assert not torch.equal(logits(after), logits(checkpoint))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("stages[*].blocks[*].inner", [32, 32]),
        ("stages[0].blocks[0].stride_on", "1x1"),
        ("stages[0].blocks[1].shortcut", "projection"),
        ("stages[1].blocks[0].activation", "swish"),
        ("stages[1].blocks[0].drop_path", 0.1),
        ("stem.kind", "light"),
        ("head.classes", 5),
        ("inputs[0].height", 32),
        ("stages[1].fusion", "hff"),
        ("stages[1].blocks[0].attention", "cbam"),
        ("neck", "fpn"),
    ],
)
def test_a_change_without_a_morph_is_named(path: str, value: object, narrow: Narrow, lived_in: LivedIn) -> None:
    named = path.replace("[*]", "[0]").rsplit(".", 1)[-1]
    with pytest.raises(NotBuiltError, match=rf"{named}.*not built yet".replace("[", r"\[")):
        morph(lived_in(narrow((2, 1))), Morph(edits=(Edit(path=path, value=value),)), seed=0)


def test_a_gate_of_another_width_or_none_is_named(narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow((1, 1), attention=SE(reduction=4)))
    for value in (None, {"kind": "se", "reduction": 8}):
        with pytest.raises(NotBuiltError, match=r"morph: stages\[0\].blocks\[0\].attention"):
            morph(checkpoint, Morph(edits=(Edit(path="stages[0].blocks[0].attention", value=value),)), seed=0)


def test_a_stage_may_not_lose_blocks(narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow((2, 1)))
    with pytest.raises(SpecError, match="layer1 has 2 blocks; expected as many or more, found 1"):
        morph(checkpoint, Morph(depths=(1, 1)), seed=0)
    with pytest.raises(SpecError, match="expected 2 numbers, one for each stage"):
        morph(checkpoint, Morph(depths=(2, 1, 1)), seed=0)
    fewer = [block.model_dump() for block in checkpoint.network.stages[0].blocks[:1]]
    with pytest.raises(NotBuiltError, match=r"stages\[0\].blocks\[1\]"):
        morph(checkpoint, Morph(edits=(Edit(path="stages[0].blocks", value=fewer),)), seed=0)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Small networks of either block, with gates, dropout and widths of their own in every block."""
    small = st.integers(1, 6)
    width = stem = draw(small)
    stages = []
    for index in range(draw(st.integers(1, 2))):
        basic, out, blocks = draw(st.booleans()), draw(small), []
        for position in range(draw(st.integers(1, 2))):
            common = {
                "out": out,
                "stride": 2 if index and not position else 1,
                "shortcut": "identity" if position or (not index and width == out) else "projection",
                "attention": draw(st.sampled_from([None, SE(reduction=2), SE(width=3)])),
                "dropout": draw(st.sampled_from([0.0, 0.3])),
            }
            inner = draw(small)
            blocks.append(Basic(inner=inner, **common) if basic else Bottleneck(inner=(inner, draw(small)), **common))
        stages.append(Stage(name=f"layer{index + 1}", blocks=tuple(blocks)))
        width = out
    head = Classifier(classes=draw(st.integers(2, 4)), dropout=draw(st.sampled_from([0.0, 0.5])))
    inputs = presets.network("resnet50", size=16).inputs
    return Network(inputs=inputs, stem=Stem(kind="low-resolution", out=stem), stages=tuple(stages), head=head)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(network=networks(), data=st.data())
def test_any_network_grows_without_changing_an_answer(network: Network, data: st.DataObject, lived_in: LivedIn) -> None:
    assert digest(Network.parse(network.canonical())) == digest(network)
    depths = tuple(len(stage.blocks) + data.draw(st.integers(0, 2)) for stage in network.stages)
    deeper = grown(network, Morph(depths=depths))
    bare = [
        Edit(path=f"stages[{i}].blocks[{j}].attention", value={"kind": "se", "width": 2})
        for i, stage in enumerate(deeper.stages)
        for j, block in enumerate(stage.blocks)
        if block.attention is None and data.draw(st.booleans())
    ]
    checkpoint = lived_in(network)
    after = morph(checkpoint, Morph(depths=depths, edits=tuple(bare)), seed=2)
    assert tuple(len(stage.blocks) for stage in after.network.stages) == depths
    assert torch.equal(logits(after), logits(checkpoint))
    assert digest(Network.parse(after.network.canonical())) == digest(after.network)
