"""Morphs change a network and not its answers."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.networks import networks
from torch import Tensor

from fit50.nn.compose import compose
from fit50.spec import presets
from fit50.spec.blocks import CBAM, ECA, SE, Basic, Swish
from fit50.spec.digest import digest, edit, edit_all
from fit50.spec.errors import NotBuiltError, SpecError
from fit50.spec.network import Classifier, Network, Stage, Stem
from fit50.spec.recipe import Edit, Morph
from fit50.weights.checkpoint import Checkpoint
from fit50.weights.surgery import LIKE_RELU, grown, morph, plan

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]

GATES = Edit(path="stages[*].blocks[*].attention", value={"kind": "se", "reduction": 4})


def images(seed: int = 0) -> Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 4 - 2


def logits(checkpoint: Checkpoint) -> Tensor:
    with torch.no_grad():
        return checkpoint.module()(images())


def set_(path: str, value: object) -> Morph:
    return Morph(edits=(Edit(path=path, value=value),))


def inputs(channels: int) -> Edit:
    """The old input and one more, of so many channels."""
    size = {"height": 16, "width": 16, "resize": "stretch"}
    other = {"name": "other", "channels": channels, "mean": [0.5] * channels, "std": [0.25] * channels}
    return Edit(path="inputs", value=[size, {**other, **size}])


def second(channels: int = 1, **fusion: object) -> Morph:
    return Morph(edits=(inputs(channels), Edit(path="fusion", value={"kind": "gated", "width": 8, **fusion})))


DROPOUT = (
    Edit(path="head.dropout", value=0.5),
    Edit(path="stages[*].blocks[*].dropout", value=0.1),
    Edit(path="stages[*].blocks[*].drop_path", value=0.2),
)
PYRAMID = Edit(path="neck", value={"kind": "fpn", "width": 8})
EXACT = {
    "gates": Morph(edits=(GATES,)),
    "a gate in each first block": set_("stages[*].blocks[0].attention", "se"),
    "cbam": set_("stages[*].blocks[*].attention", {"kind": "cbam", "reduction": 4}),
    "cbam with a small kernel": set_("stages[*].blocks[*].attention", {"kind": "cbam", "kernel": 3}),
    "eca": set_("stages[*].blocks[*].attention", "eca"),
    "deeper stage 1": Morph(depths=(3, 1, 1)),
    "deeper stage 2": Morph(depths=(2, 2, 1)),
    "deeper stage 3": Morph(depths=(2, 1, 3)),
    "deeper everywhere": Morph(depths=(3, 2, 2)),
    "deeper with gates": Morph(depths=(3, 2, 2), edits=(GATES,)),
    "dropout and stochastic depth": Morph(edits=DROPOUT),
    "pyramid": Morph(edits=(PYRAMID,)),
    "pyramid of two levels": set_("neck", {"kind": "fpn", "width": 4, "levels": ["layer1", "layer3"]}),
    "hierarchical fusion": set_("stages[*].fusion", "hff"),
    "hierarchical fusion in the middle": set_("stages[1].fusion", {"kind": "hff", "form": "gated"}),
    "all of these": Morph(
        depths=(3, 2, 2),
        edits=(GATES, PYRAMID, *DROPOUT, Edit(path="stages[*].fusion", value="hff")),
    ),
}
SECOND = {
    "shared": second(3),
    "shared, a stem of its own": second(1),
    "shared, norms of its own": second(3, norm="per-input"),
    "separate": second(2, backbone="separate"),
    "in the middle": second(1, after="layer2", norm="per-input"),
    "missing at times": second(3, modality_dropout=0.5, after="layer1"),
}
ROUNDING = {
    "inner widths": Morph(widening=1.5),
    "inner widths by hand": set_("stages[1].blocks[0].inner", [40, 24]),
    "output widths": Morph(
        edits=(
            Edit(path="stages[0].blocks[*].out", value=96),
            Edit(path="stages[2].blocks[*].out", value=80),
            Edit(path="stem.out", value=24),
        )
    ),
    "widths, depth, attention and fusion": Morph(
        widening=2, depths=(3, 1, 2), edits=(GATES, PYRAMID, Edit(path="stages[*].fusion", value="hff"))
    ),
    "swish": set_("activation", "swish"),
    "a new block with swish": Morph(depths=(2, 2, 1), edits=(Edit(path="activation", value="swish"),)),
    "swish in one block": set_("stages[1].blocks[0].activation", {"kind": "swish", "beta": 2}),
    "swish but for one block": Morph(
        edits=(Edit(path="activation", value="swish"), Edit(path="stages[0].blocks[0].activation", value="relu"))
    ),
    "wider and swish": Morph(widening=2, edits=(Edit(path="activation", value="swish"),)),
}


@pytest.mark.parametrize("name", EXACT)
def test_a_morph_answers_to_the_last_bit_as_before(name: str, narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow((2, 1, 1)))
    after = morph(checkpoint, EXACT[name], seed=1)
    assert after.network != checkpoint.network
    assert after.network == grown(checkpoint.network, EXACT[name])
    assert logits(checkpoint).std() > 0.01
    assert torch.equal(logits(after), logits(checkpoint))
    assert "exact" in str(after.provenance)
    assert "rounding" not in str(after.provenance)


@pytest.mark.parametrize("name", SECOND)
def test_a_second_input_changes_no_answer_to_the_first(name: str, narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow((2, 1, 1)))
    after = morph(checkpoint, SECOND[name], seed=1)
    channels = after.network.inputs[1].channels
    module = after.module()
    for other in (torch.zeros(2, channels, 16, 16), torch.randn(2, channels, 16, 16)):
        with torch.no_grad():
            assert torch.equal(module(images(), other), logits(checkpoint))
    with torch.no_grad():
        alone = module(images(), torch.zeros(2, channels, 16, 16), present=torch.tensor([[True, False]] * 2))
    assert torch.equal(alone, logits(checkpoint))


@pytest.mark.parametrize("name", ["separate", "shared, norms of its own", "shared, a stem of its own"])
def test_the_second_branch_starts_as_the_first_one(name: str, narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow((1, 1)))
    after = morph(checkpoint, SECOND[name], seed=1)
    tensors, channels = dict(after.tensors), after.network.inputs[1].channels
    tensors["fusion.gamma"] = torch.ones(64)
    module = compose(after.network, tensors).eval()
    grey = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        first = checkpoint.module().maps(grey.expand(-1, 3, -1, -1))["layer2"]
        other = module._other(grey.expand(-1, channels, -1, -1))
    torch.testing.assert_close(other, first, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ROUNDING)
def test_a_morph_answers_as_before_but_for_rounding(name: str, narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow((2, 1, 1), attention=None if "attention" in name else SE(reduction=4)))
    after = morph(checkpoint, ROUNDING[name], seed=1)
    assert after.network == grown(checkpoint.network, ROUNDING[name]) != checkpoint.network
    torch.testing.assert_close(logits(after), logits(checkpoint), rtol=1e-5, atol=1e-5)
    assert "rounding" in str(after.provenance)


@pytest.mark.parametrize("block", ["basic", "separable", "fused"])
def test_other_blocks_widen_too(block: str, narrow: Narrow, lived_in: LivedIn) -> None:
    network = narrow((2, 1))
    match block:
        case "basic":
            network = basic()
        case "separable":
            network = edit(network, "stages[*].blocks[*].separable", True)
        case _:
            network = edit(network, "stages[*].fusion", {"kind": "hff", "form": "paper"})
    checkpoint = lived_in(network)
    widths = (Edit(path="stages[0].blocks[*].out", value=80), Edit(path="stages[1].blocks[*].out", value=72))
    after = morph(checkpoint, Morph(widening=1.5, edits=widths), seed=0)
    assert logits(checkpoint).std() > 0.01
    torch.testing.assert_close(logits(after), logits(checkpoint), rtol=1e-5, atol=1e-5)


def basic() -> Network:
    first = Basic(inner=16, out=64, shortcut="projection")
    stages = (Stage(name="layer1", blocks=(first, Basic(inner=12, out=64))), Stage(name="layer2", blocks=(first,)))
    image = presets.network("resnet50").sized(16).inputs
    stem = Stem(kind="low-resolution", out=16)
    return Network(inputs=image, stem=stem, stages=stages, head=Classifier(classes=4))


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


def test_swish_waits_for_training(narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow((1, 1)))
    after = morph(checkpoint, set_("activation", "swish"), seed=0)
    assert after.network.activation == Swish(start=LIKE_RELU)
    assert after.network.settled() == edit(checkpoint.network, "activation", "swish")
    assert all(torch.equal(after.tensors[key], tensor) for key, tensor in checkpoint.tensors.items())
    settled = after.with_(network=after.network.settled())
    assert not torch.allclose(logits(settled), logits(checkpoint), atol=1e-2)


def test_a_fixed_beta_becomes_another_and_a_learned_one(narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(edit(narrow((1, 1)), "activation", Swish(beta=1.5)))
    other = morph(checkpoint, set_("activation", "swish"), seed=0)
    assert other.network.activation == Swish(start=1.5)
    assert torch.equal(logits(other), logits(checkpoint))
    learned = morph(checkpoint, set_("activation", {"kind": "swish", "beta": 1.5, "learned": True}), seed=0)
    assert learned.tensors["layer1.0.relu.beta"] == 1.5
    torch.testing.assert_close(logits(learned), logits(checkpoint), rtol=1e-5, atol=1e-5)


def test_grouping_reports_what_it_loses(narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow((2, 1)))
    after = morph(checkpoint, set_("stages[*].blocks[*].groups", 4), seed=0)
    assert after.tensors["layer1.0.conv2.weight"].shape == (16, 4, 3, 3)
    lost = re.search(r"groups \(approximate: of the 3x3 weights' energy (\d+) % lost", str(after.provenance))
    assert lost is not None and 0 < int(lost[1]) < 75
    assert logits(after).std() > 0.01


def test_grouping_what_was_grouped_loses_nothing(narrow: Narrow, lived_in: LivedIn) -> None:
    """Channels of a grouped network, shuffled and made dense, are found again."""
    network = edit(narrow((1, 1)), "stages[*].blocks[*].groups", 4)
    checkpoint = lived_in(network)
    tensors, generator = dict(checkpoint.tensors), torch.Generator().manual_seed(3)
    for prefix in ("layer1.0", "layer2.0"):
        sparse = tensors[f"{prefix}.conv2.weight"]
        dense = torch.zeros(16, 16, 3, 3)
        for i in range(16):
            dense[i, i // 4 * 4 : i // 4 * 4 + 4] = sparse[i]
        rows, columns = (torch.randperm(16, generator=generator) for _ in range(2))
        tensors[f"{prefix}.conv2.weight"] = dense[rows][:, columns]
        tensors[f"{prefix}.conv1.weight"] = tensors[f"{prefix}.conv1.weight"][columns]
        tensors[f"{prefix}.conv3.weight"] = tensors[f"{prefix}.conv3.weight"][:, rows]
        for norm, order in (("bn1", columns), ("bn2", rows)):
            for part in ("weight", "bias", "running_mean", "running_var"):
                tensors[f"{prefix}.{norm}.{part}"] = tensors[f"{prefix}.{norm}.{part}"][order]
    dense_one = Checkpoint(edit(network, "stages[*].blocks[*].groups", 1), tensors)
    torch.testing.assert_close(logits(dense_one), logits(checkpoint), rtol=1e-4, atol=1e-5)
    again = morph(dense_one, set_("stages[*].blocks[*].groups", 4), seed=0)
    torch.testing.assert_close(logits(again), logits(checkpoint), rtol=1e-4, atol=1e-5)
    assert "energy 0 % lost" in str(again.provenance)


def test_resnet_becomes_resnext_in_one_step(narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow((1, 1)))
    step = Morph(widening=2, edits=(Edit(path="stages[*].blocks[*].groups", value=8),))
    after = morph(checkpoint, step, seed=0)
    assert [growth.aspect.name for growth in plan(checkpoint.network, after.network)] == ["widths", "groups"]
    assert after.tensors["layer1.0.conv2.weight"].shape == (32, 4, 3, 3)


@pytest.mark.parametrize("kind", ["se", "cbam", "eca"])
@pytest.mark.parametrize("fusion", [{"norm": "per-input"}, {"backbone": "separate"}, {}], ids=str)
def test_both_branches_of_two_inputs_get_gates(
    kind: str, fusion: dict[str, str], narrow: Narrow, lived_in: LivedIn
) -> None:
    two = lived_in(grown(narrow((1, 1)), second(3, **fusion)))
    after = morph(two, set_("stages[*].blocks[*].attention", kind), seed=0)
    with torch.no_grad():
        expected = two.module()(images(), images(1))
        assert torch.equal(after.module()(images(), images(1)), expected)
        assert not torch.equal(two.module()(images(), images(2)), expected), "the second input would not matter"


def test_a_gate_said_in_other_words_is_the_same(narrow: Narrow, lived_in: LivedIn) -> None:
    for said, other in (
        (SE(width=4), SE(reduction=16)),
        (CBAM(width=4, kernel=3), CBAM(kernel=3)),
        (ECA(kernel=3), ECA()),
    ):
        checkpoint = lived_in(narrow((1, 1), attention=said))
        after = morph(checkpoint, set_("stages[*].blocks[*].attention", other.model_dump()), seed=0)
        assert torch.equal(logits(after), logits(checkpoint))
        assert all(torch.equal(tensor, checkpoint.tensors[key]) for key, tensor in after.tensors.items())


def test_a_start_is_not_for_users_to_say(narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow((1, 1)))
    with pytest.raises(SpecError, match=r"expected no start, found 8\.0"):
        morph(checkpoint, set_("activation", {"kind": "swish", "start": 8}), seed=0)
    waiting = morph(checkpoint, set_("activation", "swish"), seed=0)
    assert morph(waiting, set_("activation.beta", 2), seed=0).network.activation == Swish(beta=2, start=LIKE_RELU)


def test_nothing_to_grow_is_said(narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow((1, 1), attention=SE(reduction=4)))
    after = morph(checkpoint, Morph(edits=(GATES,)), seed=0)
    assert after.provenance == {"morph": "nothing: the network has it all already"}
    assert after.network == checkpoint.network


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("stages[0].blocks[0].stride_on", "1x1"),
        ("stages[0].blocks[1].shortcut", "projection"),
        ("stages[1].blocks[0].separable", True),
        ("stem.kind", "light"),
        ("head.classes", 5),
        ("inputs[0].height", 32),
    ],
)
def test_a_change_without_a_morph_is_named(path: str, value: object, narrow: Narrow, lived_in: LivedIn) -> None:
    with pytest.raises(NotBuiltError, match=re.escape(f"morph: {path} from ") + ".*not built yet"):
        morph(lived_in(narrow((2, 1))), set_(path, value), seed=0)


@pytest.mark.parametrize(
    ("start", "step", "message"),
    [
        ({}, set_("stages[*].blocks[*].inner", [8, 8]), "expected widths of at least (16, 16, 64), found (8, 8, 64)"),
        ({}, set_("stem.out", 8), "stem: expected widths of at least 16, found 8"),
        ({}, set_("stages[1].fusion", {"kind": "hff", "form": "paper"}), "hff 'paper' replaces what the stage says"),
        ({}, set_("neck", {"kind": "fpn", "form": "plain"}), "fpn 'plain' replaces what the classifier sees"),
        ({}, second(3, kind="concat"), "fusion 'concat' makes another map"),
        ({}, set_("activation", {"kind": "swish", "learned": True}), "take such steps one by one"),
        ({"activation": "swish"}, set_("activation", "relu"), "take such steps one by one"),
        ({"activation": "swish"}, Morph(depths=(3, 1)), "changes nothing only after ReLU"),
        ({"stages[*].blocks[*].groups": 2}, Morph(widening=2), "grouped convolutions cannot be widened"),
        ({"stages[*].blocks[*].groups": 2}, set_("stages[0].blocks[0].groups", 4), "expected a dense 3x3"),
        (
            {"stages[*].blocks[*].attention": "cbam"},
            set_("stages[0].blocks[*].out", 80),
            "cbam looks at all channels together",
        ),
    ],
)
def test_a_morph_that_would_change_the_answers_says_why(
    start: dict[str, object], step: Morph, message: str, narrow: Narrow, lived_in: LivedIn
) -> None:
    network = edit_all(edit(narrow((2, 1)), "stages[1].blocks[*].shortcut", "projection"), start.items())
    with pytest.raises(SpecError, match=re.escape(message)):
        morph(lived_in(network), step, seed=0)


def test_a_second_input_takes_the_second_place(narrow: Narrow, lived_in: LivedIn) -> None:
    swapped = [{"name": "new", "height": 16, "width": 16}, {"height": 16, "width": 16, "resize": "stretch"}]
    step = Morph(edits=(Edit(path="inputs", value=swapped), Edit(path="fusion", value="gated")))
    with pytest.raises(SpecError, match="expected the old input first"):
        morph(lived_in(narrow((1, 1))), step, seed=0)


def test_widths_and_groups_come_before_the_second_input(narrow: Narrow, lived_in: LivedIn) -> None:
    two = morph(lived_in(narrow((1, 1))), second(3), seed=0)
    with pytest.raises(SpecError, match="widen first, then add the input"):
        morph(two, Morph(widening=2), seed=0)
    with pytest.raises(SpecError, match="group first, then add the input"):
        morph(two, set_("stages[*].blocks[*].groups", 2), seed=0)


def test_one_morph_after_another_is_told_in_order(narrow: Narrow, lived_in: LivedIn) -> None:
    first = morph(lived_in(narrow((1, 1))), Morph(edits=(GATES,)), seed=0)
    after = morph(first, set_("neck", "fpn"), seed=0)
    assert after.provenance == {"morph": "attention (exact); then pyramid (exact)"}


def test_a_gate_of_another_width_or_none_is_named(narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow((1, 1), attention=SE(reduction=4)))
    for value in (None, {"kind": "se", "reduction": 8}, "cbam"):
        with pytest.raises(NotBuiltError, match=r"morph: stages\[0\].blocks\[0\].attention"):
            morph(checkpoint, set_("stages[0].blocks[0].attention", value), seed=0)


def test_a_stage_may_not_lose_blocks(narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow((2, 1)))
    with pytest.raises(SpecError, match="layer1 has 2 blocks; expected as many or more, found 1"):
        morph(checkpoint, Morph(depths=(1, 1)), seed=0)
    with pytest.raises(SpecError, match="expected 2 numbers, one for each stage"):
        morph(checkpoint, Morph(depths=(2, 1, 1)), seed=0)
    fewer = [block.model_dump() for block in checkpoint.network.stages[0].blocks[:1]]
    with pytest.raises(SpecError, match=r"stages.layer1: expected at least 2 blocks, found 1"):
        morph(checkpoint, set_("stages[0].blocks", fewer), seed=0)


@st.composite
def growths(draw: st.DrawFn, network: Network) -> Morph:
    """Any mixture of the exact morphs that a network can take."""
    edits, depths = [], []
    for i, stage in enumerate(network.stages):
        rectified = (stage.blocks[-1].activation or network.activation).kind == "relu"
        depths.append(len(stage.blocks) + (draw(st.integers(0, 2)) if rectified else 0))
        for j, block in enumerate(stage.blocks):
            if block.attention is None and draw(st.booleans()):
                value = draw(st.sampled_from(("se", "eca", "cbam")))
                edits.append(Edit(path=f"stages[{i}].blocks[{j}].attention", value=value))
        if stage.fusion is None and draw(st.booleans()):
            edits.append(Edit(path=f"stages[{i}].fusion", value="hff"))
    one = network.fusion is None
    second, meeting = one and draw(st.booleans()), draw(st.sampled_from([stage.name for stage in network.stages]))
    if network.neck is not None and meeting != network.stages[0].name:
        second = second and network.pyramid[0] >= meeting  # a pyramid sees no level before the two inputs meet
    if second:
        channels = draw(st.sampled_from((1, 3)))
        statistics = {"name": "other", "channels": channels, "mean": [0.5] * channels, "std": [0.25] * channels}
        first = network.inputs[0].model_dump()
        separate = draw(st.booleans())
        fusion = {
            "kind": "gated",
            "after": meeting,
            "width": 4,
            "backbone": "separate" if separate else "shared",
            "norm": "per-input" if not separate and draw(st.booleans()) else "shared",
            "modality_dropout": draw(st.sampled_from((0.0, 0.5))),
        }
        edits += [Edit(path="inputs", value=[first, {**first, **statistics}]), Edit(path="fusion", value=fusion)]
    if network.neck is None and draw(st.booleans()):
        names = [stage.name for stage in network.stages]
        seen = meeting if second else network.fused or names[0]
        levels = names[names.index(seen) :]
        edits.append(Edit(path="neck", value={"kind": "fpn", "width": 4, "levels": levels}))
    if draw(st.booleans()):
        edits += DROPOUT
    return Morph(depths=tuple(depths), edits=tuple(edits))


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(network=networks(), data=st.data())
def test_any_network_grows_without_changing_an_answer(network: Network, data: st.DataObject, lived_in: LivedIn) -> None:
    checkpoint = lived_in(network)
    step = data.draw(growths(network))
    after = morph(checkpoint, step, seed=2)
    assert digest(Network.parse(after.network.canonical())) == digest(after.network)
    generator = torch.Generator().manual_seed(0)
    images = [
        torch.rand(2, image.channels, image.height, image.width, generator=generator) for image in after.network.inputs
    ]
    with torch.no_grad():
        expected = checkpoint.module()(*images[: len(network.inputs)])
        assert torch.equal(after.module()(*images), expected)
