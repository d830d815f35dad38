"""What keys and shapes tell of a network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torchvision import models

from fit50.nn.compose import shapes
from fit50.spec import presets
from fit50.spec.blocks import CBAM, ECA, SE, Basic, Bottleneck
from fit50.spec.digest import edit, edit_all
from fit50.spec.errors import CheckpointError
from fit50.spec.network import FPN, HFF, Classifier, Fusion, Input, Network, Stage, Stem
from fit50.weights.infer import infer
from fit50.weights.keymaps import CAFFE, TIMM

Narrow = Callable[..., Network]


@pytest.fixture
def network(narrow: Narrow) -> Network:
    """Two stages, of two blocks and one, for images of torchvision's size."""
    return narrow((2, 1)).model_copy(update={"inputs": (Input(),)})


def told(network: Network) -> Network:
    return infer(shapes(network), "the file")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("stages[0].blocks[1].attention", SE(width=5)),
        ("stages[1].blocks[0].attention", CBAM(width=3, kernel=5)),
        ("stages[*].blocks[*].attention", ECA(kernel=5)),
        ("stages[*].blocks[*].groups", 4),
        ("stages[0].blocks[0].separable", True),
        ("stages[0].blocks[1].inner", (7, 9)),
        ("stages[0].fusion", HFF(form="paper")),
        ("stages[*].fusion", HFF(form="gated")),
        ("neck", FPN(width=24, levels=("layer1", "layer2"))),
        ("neck", FPN(form="plain", width=8, levels=("layer2",))),
        ("stem", Stem(kind="7x7", out=16)),
        ("stem", Stem(kind="deep", inner=(6, 10), out=16)),
        ("stem", Stem(kind="7x7+3x3x3", inner=(6, 10, 12), out=16)),
        ("head.classes", 9),
    ],
)
def test_shapes_tell(network: Network, path: str, value: object) -> None:
    changed = edit(network, path, value.model_dump() if hasattr(value, "model_dump") else value)
    assert changed != network
    assert told(changed) == changed


def test_two_inputs_are_told_by_their_fusion(network: Network) -> None:
    inputs = (Input(name="image1"), Input(name="image2"))
    changed = network.model_copy(update={"inputs": inputs, "fusion": Fusion(width=8)})
    assert told(changed) == changed


def test_twelve_blocks_are_in_the_order_of_their_numbers(narrow: Narrow) -> None:
    network = edit(narrow((12, 1)), "stages[0].blocks[10].inner", (5, 6))
    assert told(network).stages == network.stages


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_basic_blocks_are_told(name: str) -> None:
    with torch.device("meta"):
        tensors = getattr(models, name)(num_classes=7).state_dict()
    found = infer(tensors, name)
    assert found.stages[0].blocks[0] == Basic(inner=64, out=64)
    assert found.stages[1].blocks[0] == Basic(inner=128, out=128, stride=2, shortcut="projection")
    assert sum(len(stage.blocks) for stage in found.stages) == {"resnet18": 8, "resnet34": 16}[name]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("activation", "swish"),
        ("stages[*].blocks[*].stride_on", "1x1"),
        ("stages[*].blocks[*].dropout", 0.1),
        ("head.dropout", 0.5),
        ("stem.kind", "light"),
    ],
)
def test_what_no_shape_tells_is_torchvisions(network: Network, path: str, value: object) -> None:
    assert told(edit(network, path, value)) == network


def test_a_fusion_without_gamma_is_taken_as_listed(network: Network) -> None:
    assert told(edit(network, "stages[0].fusion", {"form": "squeeze"})).stages[0].fusion == HFF(form="paper")


def test_the_layout_says_what_shapes_do_not(network: Network) -> None:
    tensors = shapes(edit(network, "stem", {"kind": "7x7", "out": 16}))
    image = Input(order="bgr")
    caffe, timm = infer(tensors, "the file", CAFFE, image), infer(tensors, "the file", TIMM)
    assert caffe.stem.ceil and caffe.inputs == (image,)
    assert {block.stride_on for stage in caffe.stages for block in stage.blocks if isinstance(block, Bottleneck)} == {
        "1x1"
    }
    assert [block.shortcut for block in timm.stages[0].blocks] == ["average-projection", "identity"]


def test_every_preset_is_told_up_to_what_no_shape_tells() -> None:
    """The published networks; gates are told by their width, not by their reduction."""
    for name in ("resnet50", "resnet101", "wide-resnet50-2", "wide-basic-resnet50", "resnext50-32x4d", "hff-senet"):
        assert told(presets.network(name, classes=7)) == presets.network(name, classes=7)
    assert told(presets.network("m-mffnet")) == presets.network("m-mffnet")
    for name in ("se-resnet50-paper", "cbam-resnet50", "fpn-resnet50"):
        expected = presets.network(name)
        assert shapes(told(expected)).keys() == shapes(expected).keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv1.weight": torch.zeros(16, 3, 5, 5)}, r"stem whose kernels are one of \(7,\).*, found \(5,\)"),
        ({"layer1.0.gate.weight": torch.zeros(3)}, r"unknown layer1\.0\.gate\.weight, found shape \(3,\)"),
        ({"layer1.0.bn1.weight": torch.zeros(3)}, r"layer1\.0\.bn1\.weight: expected shape \(16,\), found \(3,\)"),
        ({"layer1.0.se.conv.weight": torch.zeros(1, 1, 4)}, "expected an odd number, found 4"),
        ({"maxpool.0.weight": torch.zeros(16, 16, 3, 3)}, r"unknown maxpool\.0\.weight"),
        ({"fusion.conv1.weight": torch.zeros(16)}, r"which has fusion\.conv1\.weight of 4 dimensions"),
    ],
)
def test_what_fits_no_network_is_named(network: Network, change: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        infer({**shapes(network), **change}, "the file")


def test_stages_and_heads_are_values() -> None:
    """The smallest network there is: one block and two classes."""
    network = Network(
        stem=Stem(kind="low-resolution", out=4),
        stages=(Stage(name="layer1", blocks=(Basic(inner=2, out=4),)),),
        head=Classifier(classes=2),
    )
    assert told(network) == network


@pytest.mark.parametrize("stem", ["7x7", "deep"])
def test_the_channels_of_the_image_are_told(stem: str, narrow: Narrow) -> None:
    inner = {"deep": [8, 8]}.get(stem, [])
    grey = {"channels": 1, "mean": [0.5], "std": [0.5]}
    network = edit_all(narrow((1, 1)), [("stem", {"kind": stem, "inner": inner}), ("inputs[0]", grey)])
    found = infer(shapes(network), "grey.pth")
    assert found.inputs == (Input(channels=1, mean=(0.5,), std=(0.5,)),)
    assert found.stem == network.stem
