"""Other names of the same tensors."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from fit50.nn.compose import shapes
from fit50.spec.digest import edit
from fit50.spec.errors import CheckpointError
from fit50.spec.network import HFF, Fusion, Input, Network
from fit50.weights.checkpoint import Checkpoint
from fit50.weights.foreign import load_weights
from fit50.weights.hub import ARCHITECTURES
from fit50.weights.infer import infer
from fit50.weights.keymaps import HFF_SENET, M_MFFNET, TIMM, TORCHVISION, recognised

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]


def as_timm(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Ours, as timm's ResNet-D calls them."""
    later = {"downsample.0.": "downsample.1.", "downsample.1.": "downsample.2."}
    return {re.sub(r"downsample\.[01]\.", lambda m: later[m[0]], key): tensor for key, tensor in tensors.items()}


def as_hff_senet(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Ours, as the listing of HFF-SEnet calls them, with the classifier that it never uses."""
    named = {re.sub(r"^layer(\d+)\.fusion\.", r"hff\1.", key): tensor for key, tensor in tensors.items()}
    return with_listed_classifier({key if re.match("hff|fc", key) else f"resnet.{key}": t for key, t in named.items()})


def as_m_mffnet(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Ours, as the listing of M-MFFnet calls them, with the classifier that it never uses."""
    named = {re.sub(r"^fusion\.", "mmff.", key): tensor for key, tensor in tensors.items()}
    return with_listed_classifier({key if re.match("mmff|fc", key) else f"resnet.{key}": t for key, t in named.items()})


def with_listed_classifier(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**tensors, "resnet.fc.weight": torch.zeros(1000, 64), "resnet.fc.bias": torch.zeros(1000)}


@pytest.fixture
def base(narrow: Narrow) -> Network:
    """A narrow network for images of torchvision's size."""
    return edit(narrow((2, 1)).model_copy(update={"inputs": (Input(),)}), "stem.kind", "7x7")


def average(network: Network) -> Network:
    return edit(network, "stages[*].blocks[0].shortcut", "average-projection")


def hff(network: Network) -> Network:
    return edit(network, "stages[*].fusion", HFF(form="paper").model_dump())


def two(network: Network) -> Network:
    inputs = (Input(name="image1"), Input(name="image2"))
    return network.model_copy(update={"inputs": inputs, "fusion": Fusion(width=8)})


@pytest.mark.parametrize(
    ("change", "renamed", "layout"),
    [
        (lambda network: network, dict, TORCHVISION),
        (average, as_timm, TIMM),
        (hff, as_hff_senet, HFF_SENET),
        (two, as_m_mffnet, M_MFFNET),
    ],
    ids=["torchvision", "timm", "hff-senet", "m-mffnet"],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_each_family_is_recognised_and_renamed(
    base: Network, lived_in: LivedIn, tmp_path: Path, change: Callable, renamed: Callable, layout: object, suffix: str
) -> None:
    expected = lived_in(change(base))
    theirs = renamed(dict(expected.tensors))
    assert recognised(theirs) is layout
    path = tmp_path / f"foreign{suffix}"
    save(theirs, path)
    found = load_weights(path)
    assert found.network == expected.network
    assert set(found.tensors) == set(expected.tensors)
    assert all(torch.equal(found.tensors[key], tensor) for key, tensor in expected.tensors.items())


def save(tensors: dict[str, Tensor], path: Path) -> None:
    (save_file if path.suffix == ".safetensors" else torch.save)(tensors, path)


def test_our_own_keys_are_no_others(base: Network) -> None:
    for network in (base, average(base), hff(base), two(base)):
        assert recognised(shapes(network)) is TORCHVISION


def test_two_tensors_of_one_name_are_refused() -> None:
    tensors = {"conv1.weight": torch.zeros(1), "resnet.conv1.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"the file: expected one tensor for conv1\.weight, found two"):
        HFF_SENET.renamed(tensors, "the file")


def test_a_listing_with_a_key_too_many_is_refused(base: Network, lived_in: LivedIn, tmp_path: Path) -> None:
    tensors = as_hff_senet(dict(lived_in(hff(base)).tensors))
    torch.save(tensors | {"hff9.conv1.weight": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"which has layer9\.0|unknown layer9\.fusion\.conv1\.weight"):
        load_weights(tmp_path / "a.pth")


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_known_network_of_timms_is_told(name: str) -> None:
    with torch.device("meta"):
        tensors = timm.create_model(name, num_classes=7).state_dict()
    layout = recognised(tensors)
    network = infer(layout.renamed(tensors, name), name, layout)
    assert network.head.classes == 7


@pytest.mark.parametrize("name", ["resnet50_gn", "resnetrs50", "senet154", "resnetv2_50"])
def test_others_of_timms_are_refused(name: str) -> None:
    with torch.device("meta"):
        tensors = timm.create_model(name, num_classes=7).state_dict()
    layout = recognised(tensors)
    with pytest.raises(CheckpointError, match=f"{name}: "):
        infer(layout.renamed(tensors, name), name, layout)
