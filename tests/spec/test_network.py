"""What can be said of a network, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fit50.spec import presets
from fit50.spec.digest import digest, edit
from fit50.spec.errors import SpecError
from fit50.spec.network import (
    CBAM,
    ECA,
    FPN,
    HFF,
    SE,
    Basic,
    Bottleneck,
    Detector,
    Fusion,
    Input,
    Network,
    ReLU,
    Segmenter,
    Stage,
    Stem,
    Swish,
)

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
    wide = presets.wide_basic_resnet50()
    assert [stage.out for stage in wide.stages] == [128, 256, 512, 1024]
    assert {block.kind for stage in wide.stages for block in stage.blocks} == {"basic"}


@pytest.mark.parametrize("name", presets.NETWORKS)
def test_presets_halve_the_map_at_every_stage_but_the_first(name: str) -> None:
    network = presets.network(name, classes=7, size=96)
    assert [stage.blocks[0].stride for stage in network.stages] == [1, 2, 2, 2]
    assert [stage.name for stage in network.stages] == ["layer1", "layer2", "layer3", "layer4"]
    assert network.head.classes == 7
    assert {(image.height, image.width) for image in network.inputs} == {(96, 96)}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet5", {}, "network 'resnet5': unknown; did you mean 'resnet50'?"),
        ("resnet50", {"classes": 1}, "head.classifier.classes"),
        ("resnet50", {"size": 0}, "inputs.0.height"),
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
        ("stem", "deep", "stem 'deep': expected 2 inner widths, found 0"),
        ("stem.inner", [64], "stem '7x7': expected 0 inner widths, found 1"),
        ("head.dropout", 1.0, "less than 1"),
        ("stages[0].blocks[0].attention", "senet", "senet"),
        ("stages[0].blocks[0].inner", [64], "inner"),
        ("head.classes", "many", "many"),
    ],
)
def test_a_network_that_is_none_is_refused(path: str, new: object, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        edit(presets.network("resnet50"), path, new)
    assert message in str(caught.value)


def test_fusion_after_an_unknown_stage_is_refused() -> None:
    with pytest.raises(ValidationError, match="stage 'layer5' is asked for"):
        two_inputs(after="layer5")


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
