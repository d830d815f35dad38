"""What can be said of a network, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fit50.spec import presets
from fit50.spec.blocks import CBAM, ECA, SE, Basic, Bottleneck, ReLU, Swish
from fit50.spec.digest import digest, edit
from fit50.spec.errors import SpecError
from fit50.spec.network import FPN, HFF, Detector, Fusion, Input, Network, Segmenter, Stage, Stem
from fit50.spec.value import Value

TWO = (Input(name="rgb"), Input(name="thermal", channels=1, mean=(0.5,), std=(0.25,)))


def with_fusion(form: str) -> Network:
    return edit(presets.resnet(), "stages[*].fusion", {"kind": "hff", "form": form})


def two_inputs(**fusion: Any) -> Network:
    return Network(inputs=TWO, stages=presets.resnet().stages, fusion=Fusion(**fusion))


SAID = {
    "hff paper": with_fusion("paper"),
    "hff squeeze": with_fusion("squeeze"),
    "hff gated": with_fusion("gated"),
    "m-mff": two_inputs(),
    "m-mff separate": two_inputs(backbone="separate", modality_dropout=0.2),
    "m-mff per-input norms": two_inputs(norm="per-input"),
    "m-mff earlier and gated": two_inputs(kind="gated", after="layer3", width=128),
    "se": presets.resnet(attention=SE(reduction=8)),
    "se, the text's stem": presets.resnet(attention=SE(), stem=Stem(kind="7x7+3x3x3", inner=(64, 64, 64))),
    "deep stem": presets.resnet(stem=Stem(kind="deep", inner=(32, 32))),
    "resnext": presets.resnet(widening=2, groups=32),
    "fpn": presets.fpn_resnet50(),
    "detection": presets.fpn_resnet50().model_copy(update={"head": Detector(classes=80)}),
    "segmentation": presets.fpn_resnet50().model_copy(update={"head": Segmenter(classes=21)}),
    "swish": edit(presets.resnet(), "activation", "swish"),
    "learned swish in one stage": edit(presets.resnet(), "stages[3].blocks[*].activation", Swish(learned=True)),
    "dropout before the classifier": edit(presets.resnet(), "head.dropout", 0.5),
    "dropout after each block": edit(presets.resnet(), "stages[*].blocks[*].dropout", 0.1),
    "stochastic depth": edit(presets.resnet(), "stages[*].blocks[*].drop_path", 0.1),
    "wide, two 3x3": presets.wide_basic_resnet50(),
    "wide, bottleneck": presets.resnet(widening=2),
    "deep": presets.resnet((3, 8, 36, 3)),
    "cbam": presets.resnet(attention=CBAM()),
    "eca": edit(presets.resnet(), "stages[*].blocks[*].attention", ECA(kernel=3)),
    "separable": edit(presets.resnet(), "stages[*].blocks[*].separable", True),
    "average projection": edit(presets.resnet(), "stages[*].blocks[0].shortcut", "average-projection"),
    "fpn beside the last stage": edit(presets.resnet(), "neck", FPN()),
    "swish on its way from relu": edit(presets.resnet(), "activation", Swish(start=2**20)),
    "strides and pooling of Caffe": edit(presets.resnet(version=1), "stem.ceil", True),
}


@pytest.mark.parametrize("name", SAID)
def test_everything_in_the_paper_can_be_said(name: str) -> None:
    network = SAID[name]
    assert Network.parse(network.canonical()) == network
    assert [stage.blocks[-1].stride for stage in network.stages] == [1, 1, 1, 1]


def test_all_that_is_said_is_told_apart() -> None:
    assert len({digest(network) for network in SAID.values()}) == len(SAID)


def test_the_listings_are_what_the_paper_lists() -> None:
    assert presets.hff_senet() == with_fusion("paper")
    mff = presets.m_mffnet()
    assert (mff.fusion, len(mff.inputs)) == (Fusion(width=256, backbone="shared", norm="shared"), 2)
    assert presets.fpn_resnet50().neck == FPN(form="plain", levels=("layer1", "layer2", "layer3", "layer4"))
    wide = presets.wide_basic_resnet50()
    assert [stage.out for stage in wide.stages] == [128, 256, 512, 1024]
    assert {block.kind for stage in wide.stages for block in stage.blocks} == {"basic"}


@pytest.mark.parametrize(
    ("name", "path", "part"),
    [
        ("se-resnet50", "stages[*].blocks[*].attention", "se"),
        ("cbam-resnet50", "stages[*].blocks[*].attention", "cbam"),
        ("eca-resnet50", "stages[*].blocks[*].attention", "eca"),
        ("separable-resnet50", "stages[*].blocks[*].separable", True),
        ("swish-resnet50", "activation", "swish"),
        ("dropout-resnet50", "head.dropout", 0.5),
        ("fpn-resnet50", "neck", FPN(form="plain", levels=("layer1", "layer2", "layer3", "layer4"))),
        ("hff-senet", "stages[*].fusion", HFF(form="paper")),
        ("hff-squeeze", "stages[*].fusion", HFF(form="squeeze")),
        ("hff-gated", "stages[*].fusion", "hff"),
    ],
)
def test_a_technique_is_one_edit_of_resnet50(name: str, path: str, part: object) -> None:
    assert edit(presets.network("resnet50"), path, part) == presets.network(name)


def test_resnet_d_is_a_stem_and_shortcuts() -> None:
    tricks = edit(
        presets.resnet(stem=Stem(kind="deep", inner=(32, 32))), "stages[*].blocks[0].shortcut", "average-projection"
    )
    assert presets.resnet50_d() == tricks
    assert presets.eca_resnet50_d() == edit(tricks, "stages[*].blocks[*].attention", "eca")
    assert {block.stride_on for stage in tricks.stages for block in stage.blocks} == {"3x3"}


def test_a_basic_resnet_projects_where_shapes_change() -> None:
    shortcuts = [[block.shortcut for block in stage.blocks] for stage in presets.resnet18().stages]
    assert shortcuts == [["identity"] * 2, *[["projection", "identity"]] * 3]
    assert [len(stage.blocks) for stage in presets.resnet34().stages] == [3, 4, 6, 3]
    assert presets.wide_basic_resnet50().stages[0].blocks[0].shortcut == "projection"


@pytest.mark.parametrize("name", presets.NETWORKS)
def test_presets_halve_the_map_at_every_stage_but_the_first(name: str) -> None:
    network = presets.network(name, classes=7).sized(96)
    assert [stage.blocks[0].stride for stage in network.stages] == [1, 2, 2, 2]
    assert [stage.name for stage in network.stages] == ["layer1", "layer2", "layer3", "layer4"]
    assert network.head.classes == 7
    assert {(image.height, image.width) for image in network.inputs} == {(96, 96)}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet5", {}, "network 'resnet5': unknown; did you mean 'resnet50'?"),
        ("resnet50", {"classes": 1}, "head.classifier.classes"),
    ],
)
def test_a_preset_that_is_none_is_refused(name: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        presets.network(name, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (Bottleneck(inner=(64, 64), out=128), r"layer1.blocks\[0\]: an identity shortcut needs stride 1 and out=64"),
        (Bottleneck(inner=(64, 64), out=64, stride=2), "found stride 2 and out=64"),
        (Basic(inner=64, out=32), "found stride 1 and out=32; give it shortcut: projection"),
    ],
)
def test_an_identity_shortcut_must_fit(block: Bottleneck | Basic, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Network(stages=(Stage(name="layer1", blocks=(block,)),))


@pytest.mark.parametrize(
    ("path", "new", "message"),
    [
        ("stages[*].blocks[*].groups", 3, "groups=3 must divide both inner widths"),
        ("inputs", [{"name": "a"}, {"name": "b"}], "fusion: expected exactly when there are two inputs"),
        ("fusion", "concat", "fusion: expected exactly when there are two inputs"),
        ("inputs", [{}, {}, {}], "inputs: expected one or two, found 3"),
        ("inputs", [], "inputs: expected one or two, found 0"),
        ("inputs[0].channels", 1, "expected 1 means and standard deviations"),
        ("inputs[0].std[1]", 0, "greater than 0"),
        ("stages[1].name", "layer1", "expected distinct names"),
        ("neck", {"kind": "fpn", "levels": ["layer9"]}, "stage 'layer9' is asked for by the neck or the fusion"),
        ("neck", {"kind": "fpn", "levels": ["layer4", "layer4"]}, "neck.levels: expected each stage once"),
        ("stem", "deep", "stem 'deep': expected 2 inner widths, found 0"),
        ("stem.inner", [64], "stem '7x7': expected 0 inner widths, found 1"),
        ("head.dropout", 1.0, "less than 1"),
        ("stages[0].blocks[0].attention", "senet", "senet"),
        ("stages[0].blocks[0].inner", [64], "inner"),
        ("head.classes", "many", "many"),
        ("inputs[0].order", "gbr", "'rgb' or 'bgr'"),
        ("inputs[0].crop_fraction", 0, "greater than 0"),
        ("stem", {"kind": "light", "ceil": True}, "stem 'light': has no pooling for ceil to change; use ceil: false"),
        ("stages[0].name", "first", "String should match pattern"),
        ("stages[0].blocks[0].drop_path", 1, "less than 1"),
        ("stages[0].blocks[0].shortcut", "average", "'identity', 'projection' or 'average-projection'"),
        ("stages[0].fusion", {"kind": "hff", "form": "listed"}, "'paper', 'squeeze' or 'gated'"),
        ("activation", {"kind": "swish", "beta": 0}, "greater than 0"),
        (
            "neck",
            {"kind": "fpn", "form": "plain", "levels": ["layer1", "layer3"]},
            "neck.levels: a plain pyramid stands in place of the last stage, so that layer4 would work for nothing; "
            "add it to the levels, or use form: gated",
        ),
    ],
)
def test_a_network_that_is_none_is_refused(path: str, new: object, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        edit(presets.network("resnet50"), path, new)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "fields", "message"),
    [
        (
            Bottleneck,
            {"separable": True, "groups": 2},
            "separable: a depthwise 3x3 has no other groups, found groups=2",
        ),
        (Bottleneck, {"stride_on": "2x2"}, "'3x3' or '1x1'"),
        (Swish, {"learned": True, "start": 8.0}, "swish: start leads to a fixed beta; train it there first"),
        (CBAM, {"kernel": 4}, "kernel: expected an odd number, found 4"),
        (ECA, {"kernel": 2}, "kernel: expected an odd number, found 2"),
        (Fusion, {"backbone": "separate", "norm": "per-input"}, "separate backbones have their own norms already"),
        (Fusion, {"modality_dropout": 1.0}, "less than 1"),
        (Input, {"order": "bgr", "channels": 1, "mean": [0], "std": [1]}, "order 'bgr' needs three channels, found 1"),
    ],
)
def test_a_part_that_is_none_is_refused(value: type[Value], fields: dict[str, Any], message: str) -> None:
    needed = {"inner": (4, 4), "out": 4} if value is Bottleneck else {}
    assert value.parse(needed) is not None
    with pytest.raises(SpecError) as caught:
        value.parse({**needed, **fields})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("path", "new", "message"),
    [
        ("fusion.after", "layer5", "stage 'layer5' is asked for by the neck or the fusion; known: ['layer1', "),
        ("inputs[1].width", 192, "expected one size for both, whose maps are fused place by place, found 224x224 and"),
        ("inputs[1].name", "rgb", "inputs: expected two names, found 'rgb' twice"),
        ("neck", "fpn", "neck.levels: layer1 comes before the fusion, where only one input could be seen"),
        ("neck", {"kind": "fpn", "levels": ["layer4", "layer3"]}, "layer3 comes before the fusion"),
        ("fusion", None, "fusion: expected exactly when there are two inputs"),
    ],
)
def test_two_inputs_that_cannot_meet_are_refused(path: str, new: object, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        edit(two_inputs(), path, new)
    assert message in str(caught.value)


def test_after_a_concatenation_the_stream_has_its_width() -> None:
    """The next block's identity must fit what leaves the fusion, not what leaves the stage."""
    first = Stage(name="layer1", blocks=(Bottleneck(inner=(8, 8), out=32, shortcut="projection"),))
    second = Stage(name="layer2", blocks=(Bottleneck(inner=(8, 8), out=48),))
    fits = Network(inputs=TWO, stages=(first, second), fusion=Fusion(after="layer1", width=48))
    assert (fits.fused, fits.width_after(first), fits.width_after(second)) == ("layer1", 48, 48)
    with pytest.raises(
        ValidationError, match="an identity shortcut needs stride 1 and out=32, found stride 1 and out=48"
    ):
        Network(inputs=TWO, stages=(first, second), fusion=Fusion(kind="gated", after="layer1", width=48))


def test_a_pyramid_has_its_levels_in_the_order_of_the_stages() -> None:
    assert presets.resnet().pyramid == ()
    assert edit(presets.resnet(), "neck", "fpn").pyramid == ("layer1", "layer2", "layer3", "layer4")
    asked = {"kind": "fpn", "levels": ["layer4", "layer2"]}
    assert edit(presets.resnet(), "neck", asked).pyramid == ("layer2", "layer4")
    late = edit(edit(two_inputs(), "fusion.after", "layer3"), "neck", {"kind": "fpn", "levels": ["layer3", "layer4"]})
    assert (late.fused, two_inputs().fused, presets.resnet().fused) == ("layer3", "layer4", None)


def test_a_settled_network_has_reached_its_betas() -> None:
    network = edit(presets.resnet((1, 1, 1, 1)), "activation", Swish(beta=2.0, start=8.0))
    network = edit(network, "stages[1].blocks[0].activation", Swish(start=4.0))
    network = edit(network, "stages[2].blocks[0].activation", "relu")
    settled = network.settled()
    assert settled.activation == Swish(beta=2.0)
    assert [stage.blocks[0].activation for stage in settled.stages] == [None, Swish(), ReLU(), None]
    assert settled.settled() == settled
    assert presets.resnet().settled() == presets.resnet()


def test_a_name_stands_for_a_value_with_its_defaults() -> None:
    network = Network.parse({"stem": "light", "activation": "relu", "stages": presets.resnet().model_dump()["stages"]})
    assert network.stem == Stem(kind="light")
    assert network.activation == ReLU()
    block = Bottleneck.parse({"inner": [8, 8], "out": 16, "attention": "eca"})
    assert block.attention == ECA()
    stage = {"name": "layer1", "blocks": [block], "fusion": "hff"}
    small = Network.parse({"neck": "fpn", "stem": {"out": 16}, "stages": [stage]})
    assert small.neck == FPN()
    assert small.stages[0].fusion == HFF(form="gated")


def test_a_gate_has_an_inner_width() -> None:
    assert SE().squeezed(256) == 16
    assert SE(width=5).squeezed(256) == 5
    assert SE().squeezed(8) == 1


@pytest.mark.parametrize(
    ("kind", "inner", "stride"),
    [("7x7", (), 4), ("deep", (8, 8), 4), ("7x7+3x3x3", (8, 8, 8), 4), ("light", (), 2), ("low-resolution", (), 1)],
)
def test_a_stem_knows_its_stride(kind: Any, inner: tuple[int, ...], stride: int) -> None:
    assert Stem(kind=kind, inner=inner).stride == stride
