"""What is built, what is refused by name, and which tensors fit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fit50.nn import Deployed, compose, cost
from fit50.spec import presets
from fit50.spec.digest import edit
from fit50.spec.errors import CheckpointError, NotBuiltError
from fit50.spec.network import SE, Detector, Input, Network, Segmenter, Stem, Swish
from fit50.weights.checkpoint import Checkpoint

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]

BUILT = {
    "resnet26",
    "resnet50",
    "resnet50-v1",
    "resnet101",
    "resnet152",
    "wide-resnet50-2",
    "wide-basic-resnet50",
    "se-resnet50",
    "swish-resnet50",
    "dropout-resnet50",
}
REFUSED = {
    "se-resnet50-paper": r"stem: '7x7\+3x3x3' is not built yet",
    "cbam-resnet50": "attention: cbam is not built yet",
    "resnext50-32x4d": "block: grouped and separable 3x3 convolutions are not built yet",
    "fpn-resnet50": "neck: fpn is not built yet",
    "hff-senet": "stages.layer1.fusion: hff is not built yet",
    "m-mffnet": r"network: two inputs \(fusion\) are not built yet",
}
FEATURES = [
    ("stem", Stem(kind="deep", inner=(8, 8), out=64), "stem: 'deep' is not built yet"),
    ("stages[1].blocks[1].attention", "eca", "attention: eca is not built yet"),
    ("stages[3].blocks[0].separable", True, "separable 3x3 convolutions are not built yet"),
    ("stages[2].blocks[0].shortcut", "average-projection", "shortcut 'average-projection' is not built yet"),
    ("stages[2].blocks[1].drop_path", 0.1, r"drop_path \(stochastic depth\) is not built yet"),
    ("stages[3].fusion", "hff", "stages.layer4.fusion: hff is not built yet"),
    ("activation", Swish(beta=2.0), "Swish with a beta other than 1"),
    ("stages[0].blocks[0].activation", Swish(learned=True), "Swish with a beta other than 1, or a learned one"),
    ("head", Detector(classes=3), "head: detector is not built yet"),
    ("head", Segmenter(classes=3), "head: segmenter is not built yet"),
]


@pytest.mark.parametrize("name", presets.NETWORKS)
def test_a_preset_is_built_or_refused_by_name(name: str) -> None:
    assert (name in BUILT) != (name in REFUSED)
    if name in BUILT:
        assert cost(presets.network(name, classes=10, size=64)).parameters > 10_000_000
    else:
        with pytest.raises(NotBuiltError, match=REFUSED[name]):
            compose(presets.network(name))


@pytest.mark.parametrize(("path", "value", "message"), FEATURES, ids=[f"{path}={value}" for path, value, _ in FEATURES])
def test_a_part_that_is_not_built_is_named(path: str, value: object, message: str) -> None:
    with pytest.raises(NotBuiltError, match=message):
        cost(edit(presets.network("resnet26"), path, value))


@pytest.mark.parametrize(("kind", "side"), [("7x7", 8), ("light", 16), ("low-resolution", 32)])
def test_maps_have_the_said_sizes(kind: str, side: int, narrow: Narrow) -> None:
    network = edit(narrow(), "stem.kind", kind)
    with torch.no_grad():
        maps = compose(network).eval().maps(torch.rand(2, 3, 32, 32))
    assert {name: tuple(found.shape) for name, found in maps.items()} == {
        "stem": (2, 16, side, side),
        "layer1": (2, 64, side, side),
        "layer2": (2, 64, side // 2, side // 2),
        "layer3": (2, 64, side // 4, side // 4),
        "layer4": (2, 64, side // 8, side // 8),
    }


def test_initial_weights_are_the_seeds(narrow: Narrow) -> None:
    network = narrow(attention=SE(reduction=4))
    torch.manual_seed(1)
    first = compose(network, seed=5).state_dict()
    torch.manual_seed(2)
    again, other = compose(network, seed=5).state_dict(), compose(network, seed=6).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    drawn = [key for key, tensor in first.items() if key.endswith("weight") and tensor.ndim > 1]
    assert len(drawn) > 20
    assert all(not torch.equal(first[key], other[key]) for key in drawn)


def test_a_new_block_starts_as_its_shortcut(narrow: Narrow) -> None:
    module = compose(narrow((2, 1))).eval()
    x = torch.rand(2, 64, 8, 8)
    with torch.no_grad():
        assert torch.equal(module.layer1[1](x), x)


def test_initial_weights_keep_the_scale(narrow: Narrow) -> None:
    weight = compose(narrow(width=32)).state_dict()["layer1.0.conv2.weight"]
    assert weight.std().item() == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.05)


def test_given_tensors_are_copied(narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow())
    module = compose(checkpoint.network, checkpoint.tensors)
    before = checkpoint.tensors["fc.bias"].clone()
    assert all(parameter.requires_grad for parameter in module.parameters())
    with torch.no_grad():
        module.fc.bias.add_(1)
    assert torch.equal(checkpoint.tensors["fc.bias"], before)


def test_the_layout_of_given_tensors_does_not_matter(narrow: Narrow, lived_in: LivedIn) -> None:
    """Kernels are chosen by strides: else a checkpoint in memory and the same one from a file would differ in bits."""
    checkpoint = lived_in(narrow())
    tensors = {
        key: tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
        for key, tensor in checkpoint.tensors.items()
    }
    expected = {key: tensor.stride() for key, tensor in compose(checkpoint.network).state_dict().items()}
    found = {key: tensor.stride() for key, tensor in compose(checkpoint.network, tensors).state_dict().items()}
    assert any(tensor.stride() != expected[key] for key, tensor in tensors.items())
    assert found == expected


def test_every_tensor_that_does_not_fit_is_listed(narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow())
    tensors = dict(checkpoint.tensors)
    tensors["extra.weight"] = tensors.pop("layer2.0.conv2.weight")
    tensors["fc.weight"] = torch.zeros(5, 64)
    with pytest.raises(CheckpointError) as caught:
        compose(checkpoint.network, tensors)
    assert str(caught.value).splitlines() == [
        "the given tensors: the tensors do not fit the network:",
        "  missing layer2.0.conv2.weight, expected shape (16, 16, 3, 3)",
        "  unknown extra.weight, found shape (16, 16, 3, 3)",
        "  fc.weight: expected shape (4, 64), found (5, 64)",
    ]


def test_a_long_list_is_cut_with_its_count(narrow: Narrow) -> None:
    expected = len(compose(narrow()).state_dict())
    with pytest.raises(CheckpointError, match=f"and {expected - 10} more"):
        compose(narrow(), {})


def test_squeeze_and_excitation_is_the_papers(narrow: Narrow, lived_in: LivedIn) -> None:
    gate = lived_in(narrow((1,), attention=SE(reduction=4))).module().layer1[0].se
    x = torch.randn(3, 64, 5, 7)
    squeezed = x.mean((2, 3))
    excited = F.linear(squeezed, gate.fc1.weight.flatten(1), gate.fc1.bias).relu()
    expected = x * F.linear(excited, gate.fc2.weight.flatten(1), gate.fc2.bias).sigmoid()[:, :, None, None]
    assert gate.fc1.out_channels == 16
    torch.testing.assert_close(gate(x), expected)


def test_swish_and_dropout_are_where_they_are_said(narrow: Narrow) -> None:
    network = edit(edit(narrow(dropout=0.3), "activation", "swish"), "stages[1].blocks[0].activation", "relu")
    network = edit(network, "stages[2].blocks[0].dropout", 0.2)
    module = compose(network)
    assert isinstance(module.relu, nn.SiLU)
    assert isinstance(module.layer1[0].relu, nn.SiLU)
    assert isinstance(module.layer2[0].relu, nn.ReLU)
    rates = {name: part.p for name, part in module.named_modules() if isinstance(part, nn.Dropout)}
    assert rates == {"dropout": 0.3, "layer3.0.dropout": 0.2}


def test_deployed_takes_bytes_and_gives_probabilities(narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow())
    image = Input(height=16, width=16, mean=(0.1, 0.5, 0.8), std=(0.2, 0.3, 0.5))
    pixels = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    module = checkpoint.module()
    scaled = pixels.permute(0, 3, 1, 2).float() / 255  # (N, C, H, W), as torchvision's ToTensor
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (image.mean, image.std))
    with torch.no_grad():
        expected = F.softmax(module((scaled - mean) / std), 1)
        found = Deployed(module)(pixels)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(found[0], found[1], atol=1e-3)
