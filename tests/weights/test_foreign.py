"""Weights that others trained."""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision import models

from fit50.spec import presets
from fit50.spec.blocks import SE
from fit50.spec.digest import edit
from fit50.spec.errors import CheckpointError
from fit50.spec.network import Network
from fit50.weights.checkpoint import Checkpoint
from fit50.weights.foreign import fit_classes, knows_classes, load_weights, redrawn
from fit50.weights.infer import infer

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]


class Malicious:
    """Runs code when it is unpickled."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.sentinel), "w")


@pytest.fixture
def tensors(narrow: Narrow, lived_in: LivedIn) -> dict[str, Tensor]:
    """A state dict in torchvision's layout, of 2 and 1 blocks, width 16 and 4 classes."""
    return dict(lived_in(edit(narrow((2, 1)), "stem.kind", "7x7")).tensors)


def same(found: Checkpoint, tensors: dict[str, Tensor]) -> bool:
    return set(found.tensors) == set(tensors) and all(torch.equal(found.tensors[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: collections.OrderedDict(tensors),
        lambda tensors: {"state_dict": {f"module.{key}": tensor for key, tensor in tensors.items()}, "epoch": 3},
        lambda tensors: {"model": tensors},
        lambda tensors: {"model_state_dict": tensors, "optimizer": {"lr": 0.1}},
    ],
    ids=["plain", "ordered", "DataParallel", "model", "model_state_dict"],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pth_file_tells_its_network(tmp_path: Path, tensors: dict[str, Tensor], wrap: Any, zipped: bool) -> None:
    path = tmp_path / "foreign.pth"
    torch.save(wrap(tensors), path, _use_new_zipfile_serialization=zipped)
    found = load_weights(path)
    assert same(found, tensors)
    network = found.network
    assert [len(stage.blocks) for stage in network.stages] == [2, 1]
    assert [(block.inner, block.out, block.shortcut) for block in network.stages[0].blocks] == [
        ((16, 16), 64, "projection"),
        ((16, 16), 64, "identity"),
    ]
    assert (network.stem.kind, network.stem.out, network.head.classes) == ("7x7", 16, 4)


def test_a_safetensors_file_without_header_tells_its_network(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, tmp_path / "foreign.safetensors")
    assert same(load_weights(tmp_path / "foreign.safetensors"), tensors)


@pytest.mark.parametrize("name", ["resnet50", "wide_resnet50_2"])
def test_torchvisions_shapes_tell_the_preset(name: str) -> None:
    with torch.device("meta"):
        reference = getattr(models, name)(num_classes=7)
    assert infer(reference.state_dict(), "torchvision") == presets.network(name.replace("_", "-"), classes=7)


def test_gates_and_pruned_widths_are_told(narrow: Narrow, lived_in: LivedIn) -> None:
    network = edit(narrow((2, 1), attention=SE(width=5)), "stages[0].blocks[1].inner[1]", 7)
    found = infer(lived_in(network).tensors, "ours")
    assert found.stages == network.stages
    assert found.stem == network.stem


def test_our_own_file_is_known_by_its_header(tmp_path: Path, narrow: Narrow, lived_in: LivedIn) -> None:
    checkpoint = lived_in(narrow(version=1), classes=("a", "b", "c", "d"))
    checkpoint.save(tmp_path / "ours.safetensors")
    found = load_weights(tmp_path / "ours.safetensors")
    assert (found.network, found.classes) == (checkpoint.network, checkpoint.classes)


def test_a_given_network_must_fit(tmp_path: Path, tensors: dict[str, Tensor], narrow: Narrow) -> None:
    torch.save(tensors, tmp_path / "foreign.pth")
    network = edit(narrow((2, 1), version=1), "stem.kind", "7x7")
    assert load_weights(tmp_path / "foreign.pth", network).network == network
    with pytest.raises(CheckpointError, match=r"unknown layer1.1.conv1.weight"):
        load_weights(tmp_path / "foreign.pth", edit(narrow((1, 1)), "stem.kind", "7x7"))


def test_old_files_lack_a_counter_and_halves_become_floats(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    """torchvision's first weights have no num_batches_tracked; some files are stored in half precision."""
    old = {key: tensor.half() for key, tensor in tensors.items() if not key.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    found = load_weights(tmp_path / "old.pth")
    assert set(found.tensors) == set(tensors)
    assert torch.equal(found.tensors["fc.bias"], tensors["fc.bias"].half().float())
    assert found.module()(torch.rand(1, 3, 32, 32)).dtype == torch.float32


@pytest.mark.parametrize("content", [b"hello world\n" * 20, b"\x89PNG\r\n\x1a\n" + bytes(99), b""])
def test_what_is_no_file_of_weights_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="expected a state dict of tensors, found a file that cannot") as refused:
        load_weights(path)
    assert "code" not in str(refused.value)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_does_not_run(tmp_path: Path, tensors: dict[str, Tensor], zipped: bool, suffix: str) -> None:
    sentinel, path = tmp_path / "sentinel", tmp_path / f"malicious{suffix}"
    torch.save({"state_dict": tensors, "extra": Malicious(sentinel)}, path, _use_new_zipfile_serialization=zipped)
    for name in (str(path), f"caffe:{path}"):
        with pytest.raises(CheckpointError, match="holds more than tensors and could run code: it names"):
            load_weights(name)
    assert not sentinel.exists()
    torch.load(path, weights_only=False)["extra"].close()
    assert sentinel.exists(), "the file would have run code"


@pytest.mark.parametrize("keep", [0, 1, 100, 5000, -1000])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_refused(tmp_path: Path, tensors: dict[str, Tensor], keep: int, zipped: bool) -> None:
    path = tmp_path / "foreign.pth"
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError) as caught:
        load_weights(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"\x80\x02", b"}q\x00", b"\x80\x02X\x01\x00\x00\x00\xff.", b"some text", b"PK\x03\x04"]
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bad\.pth"):
        load_weights(tmp_path / "bad.pth")


@pytest.mark.parametrize("content", [[torch.zeros(2)], {}, {"epoch": 3}, {0: torch.zeros(2)}, torch.zeros(2), None])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="expected a state dict, names to tensors, found"):
        load_weights(tmp_path / "bad.pth")


def test_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a weights file"):
        load_weights(tmp_path / "none.pth")


@pytest.mark.parametrize("name", ["vgg11_bn", "mobilenet_v3_small", "densenet121"])
def test_another_architecture_is_refused(name: str) -> None:
    with torch.device("meta"):
        tensors = getattr(models, name)().state_dict()
    with pytest.raises(CheckpointError, match=r"expected torchvision's ResNet layout, which has layer1\.0\.conv"):
        infer(tensors, name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv1.weight": None}, "which has conv1.weight"),
        ({"fc.bias": torch.zeros(1), "fc.weight": torch.zeros(1, 64)}, "greater than or equal to 2"),
        ({"layer1.1.conv2.weight": torch.zeros(16, 5, 3, 3)}, "groups=3 must divide both inner widths"),
        ({"layer1.1.conv2.weight": torch.zeros(16, 0, 3, 3)}, "which has layer1.1.conv2.weight"),
        ({"layer1.0.conv3.weight": torch.tensor(1.0)}, "which has layer1.0.conv3.weight of 4 dimensions"),
        ({"layer1.1.conv3.weight": torch.zeros(32, 16, 1, 1)}, "an identity shortcut needs stride 1 and out=64"),
        ({"layer2.0.bn2.bias": None, "head.bias": torch.zeros(1)}, r"missing layer2.0.bn2.bias.*\n.*unknown head.bias"),
    ],
)
def test_shapes_that_tell_no_network_are_refused(
    tensors: dict[str, Tensor], change: dict[str, Tensor | None], message: str
) -> None:
    changed = {key: tensor for key, tensor in (tensors | change).items() if tensor is not None}
    with pytest.raises(CheckpointError, match=message):
        infer(changed, "foreign.pth")


class TestFitClasses:
    FOUR = ("a", "b", "c", "d")

    @pytest.mark.parametrize("known", [(), FOUR])
    def test_keeps_a_classifier_that_fits(self, known: tuple[str, ...], narrow: Narrow, lived_in: LivedIn) -> None:
        checkpoint = lived_in(narrow(), classes=known)
        fitted = fit_classes(checkpoint, self.FOUR, seed=0)
        assert fitted.classes == self.FOUR
        assert fitted.network == checkpoint.network
        assert same(fitted, dict(checkpoint.tensors))

    @pytest.mark.parametrize("wanted", [("a", "b", "c"), ("a", "b", "c", "e"), ("b", "a", "c", "d")])
    def test_draws_another_one_anew(self, wanted: tuple[str, ...], narrow: Narrow, lived_in: LivedIn) -> None:
        checkpoint = lived_in(narrow(), classes=self.FOUR)
        fitted, again, other = (fit_classes(checkpoint, wanted, seed) for seed in (1, 1, 2))
        assert fitted.classes == wanted
        assert fitted.network == edit(checkpoint.network, "head.classes", len(wanted))
        changed = {key for key, tensor in checkpoint.tensors.items() if not torch.equal(tensor, fitted.tensors[key])}
        assert changed == {"fc.weight", "fc.bias"}
        assert torch.equal(fitted.tensors["fc.weight"], again.tensors["fc.weight"])
        assert not torch.equal(fitted.tensors["fc.weight"], other.tensors["fc.weight"])
        fitted.module()

    @pytest.mark.parametrize(
        ("wanted", "reason"),
        [
            (("a", "b", "c"), "drawn anew, for the weights tell 4 classes apart and the images show 3"),
            (("b", "a", "c", "d"), "drawn anew, for the weights tell other classes apart and the images show 4"),
            (FOUR, None),
        ],
    )
    def test_says_why(self, wanted: tuple[str, ...], reason: str, narrow: Narrow, lived_in: LivedIn) -> None:
        assert redrawn(fit_classes(lived_in(narrow(), classes=self.FOUR), wanted, seed=0)) == reason

    def test_draws_what_a_pyramid_adds_to_it(self, narrow: Narrow, lived_in: LivedIn) -> None:
        network = edit(narrow((1, 1)), "neck", {"kind": "fpn", "width": 8})
        fitted = fit_classes(lived_in(network), ("a", "b"), seed=0)
        assert fitted.tensors["fc_neck.weight"].shape == (2, 16)
        fitted.module()


def test_a_classifier_that_was_drawn_anew_is_known_once_it_is_trained(narrow: Narrow, lived_in: LivedIn) -> None:
    drawn = fit_classes(lived_in(narrow()), ("a", "b", "c", "d", "e"), seed=0)
    assert not knows_classes(drawn)
    assert knows_classes(fit_classes(drawn, drawn.classes, seed=0))
