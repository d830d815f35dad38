"""What is built, what is refused by name, and which tensors fit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from fit50.nn import Deployed, ResNet, compose, cost
from fit50.nn.compose import shapes
from fit50.spec import presets
from fit50.spec.blocks import SE
from fit50.spec.digest import edit
from fit50.spec.errors import CheckpointError, NotBuiltError
from fit50.spec.network import Detector, Input, Network, Segmenter
from fit50.weights.checkpoint import Checkpoint

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]


@pytest.mark.parametrize("name", presets.NETWORKS)
def test_every_preset_is_built(name: str) -> None:
    """In training mode, and with its maps where torchvision's networks have them."""
    network = presets.network(name, classes=10).sized(64)
    with torch.device("meta"):
        module, images = ResNet(network), [torch.empty(2, 3, 64, 64) for _ in network.inputs]
    sides = {key: tuple(found.shape[2:]) for key, found in module.maps(*images).items()}
    assert sides == {"stem": (16, 16), "layer1": (16, 16), "layer2": (8, 8), "layer3": (4, 4), "layer4": (2, 2)}
    assert module(*images).shape == (2, 10)


@pytest.mark.parametrize("head", [Detector(classes=3), Segmenter(classes=3)], ids=lambda head: head.kind)
def test_a_head_that_is_not_built_is_named(head: Detector | Segmenter) -> None:
    network = edit(presets.network("fpn-resnet50"), "head", head)
    for build in (compose, cost, shapes):
        with pytest.raises(NotBuiltError, match=f"head: {head.kind} is not built yet; built: classifier"):
            build(network)


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


def test_a_long_list_is_whole(narrow: Narrow) -> None:
    expected = compose(narrow()).state_dict()
    with pytest.raises(CheckpointError) as caught:
        compose(narrow(), {})
    assert [line.split()[1].rstrip(",") for line in str(caught.value).splitlines()[1:]] == list(expected)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_deployed_takes_bytes_and_gives_probabilities(order: str, narrow: Narrow, lived_in: LivedIn) -> None:
    image = Input.parse({"height": 16, "width": 16, "mean": (0.1, 0.5, 0.8), "std": (0.2, 0.3, 0.5), "order": order})
    module = lived_in(edit(narrow(), "inputs", [image.model_dump()])).module()
    pixels = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    scaled = pixels.permute(0, 3, 1, 2).float() / 255  # (N, C, H, W), as torchvision's ToTensor
    if order == "bgr":
        scaled = scaled[:, [2, 1, 0]]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (image.mean, image.std))
    with torch.no_grad():
        expected = F.softmax(module((scaled - mean) / std), 1)
        found = Deployed(module)(pixels)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(found[0], found[1], atol=1e-3)
