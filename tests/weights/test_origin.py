"""Where weights come from, and what is known of them there."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub
import pytest
import timm
import torch
from tests.weights.conftest import Repository
from torch import Tensor, nn
from torchvision import models

from fit50.runtimes.base import sha256
from fit50.spec.blocks import Bottleneck
from fit50.spec.digest import edit
from fit50.spec.errors import CheckpointError, MissingExtraError
from fit50.spec.network import Input, Network
from fit50.weights.checkpoint import Checkpoint
from fit50.weights.foreign import load_weights
from fit50.weights.origin import local_file, origin

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def settled(module: nn.Module) -> nn.Module:
    """The module with the statistics of some images, in evaluation mode."""
    with torch.no_grad():
        module.train()(IMAGES)
    return module.eval()


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    """timm's smallest ResNet, a ResNet-D."""
    torch.manual_seed(0)
    return settled(timm.create_model("test_resnet", num_classes=5, zero_init_last=False))


@pytest.fixture
def tensors(narrow: Narrow, lived_in: LivedIn) -> dict[str, Tensor]:
    """A state dict in torchvision's layout, of 2 and 1 blocks, width 16 and 4 classes."""
    return dict(lived_in(edit(narrow((2, 1)), "stem.kind", "7x7")).tensors)


class TestTorchvision:
    @pytest.mark.parametrize(
        ("name", "builder", "weights", "fraction"),
        [
            ("resnet18.IMAGENET1K_V1", "resnet18", "ResNet18_Weights.IMAGENET1K_V1", 224 / 256),
            ("IMAGENET1K_V2", "resnet50", "ResNet50_Weights.IMAGENET1K_V2", 224 / 232),
        ],
    )
    def test_weights_answer_as_there(
        self, torch_cache: Path, name: str, builder: str, weights: str, fraction: float
    ) -> None:
        torch.manual_seed(0)
        module = settled(getattr(models, builder)())
        path = torch_cache / Path(models.get_weight(weights).url).name
        torch.save(module.state_dict(), path)
        found = load_weights(f"torchvision:{name}")
        assert found.network.inputs == (Input(crop_fraction=fraction),)
        assert local_file(f"torchvision:{name}") == path
        with torch.no_grad():
            torch.testing.assert_close(found.module()(IMAGES), module(IMAGES), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("resnet51.IMAGENET1K_V1", "'resnet51' is no ResNet of torchvision's; did you mean 'resnet50'"),
            ("vit_b_16.IMAGENET1K_V1", "'vit_b_16' is no ResNet of torchvision's; known: resnet101"),
            ("resnet18.IMAGENET1K_V2", "'IMAGENET1K_V2' is unknown among the weights of resnet18; did you mean"),
            ("", "'' is unknown among the weights of resnet50; known: DEFAULT, IMAGENET1K_V1, IMAGENET1K_V2"),
        ],
    )
    def test_an_unknown_name_is_refused(self, name: str, message: str) -> None:
        with pytest.raises(CheckpointError, match=re.escape(message)):
            origin(f"torchvision:{name}")

    def test_without_a_network_it_says_where_the_file_would_be(self, torch_cache: Path) -> None:
        """The name of the file holds the beginning of its digest, which the download must have."""
        with pytest.raises(CheckpointError, match=r"no network for resnet18-f37072fd\.pth, f37072fd") as caught:
            origin("torchvision:resnet18.IMAGENET1K_V1")
        assert f"put the file at {torch_cache / 'resnet18-f37072fd.pth'}" in str(caught.value)

    def test_a_missing_file_is_downloaded(
        self, torch_cache: Path, monkeypatch: pytest.MonkeyPatch, tensors: dict[str, Tensor]
    ) -> None:
        asked = []

        def download(url: str, path: str, hash_prefix: str) -> None:
            asked.append((Path(url).name, hash_prefix))
            torch.save(tensors, path)

        monkeypatch.setattr(torch.hub, "download_url_to_file", download)
        torch_cache.rmdir()
        assert load_weights("torchvision:resnet18.IMAGENET1K_V1").network.head.classes == 4
        assert local_file("torchvision:resnet18.IMAGENET1K_V1").parent == torch_cache
        assert asked == [("resnet18-f37072fd.pth", "f37072fd")]


class TestTimm:
    CONFIGURATION: dict[str, Any] = {
        "architecture": "test_resnet",
        "num_classes": 5,
        "pretrained_cfg": {
            "tag": "r160_in1k",
            "input_size": [3, 160, 160],
            "crop_pct": 0.95,
            "interpolation": "bicubic",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
        },
    }

    def test_a_model_answers_as_there(self, repository: Repository, reference: nn.Module) -> None:
        path = repository("timm/test_resnet.r160_in1k", reference.state_dict(), self.CONFIGURATION)
        found = load_weights("timm:test_resnet.r160_in1k")
        image = Input(height=160, width=160, crop_fraction=0.95, mean=(0.5,) * 3, std=(0.25,) * 3)
        assert found.network.inputs == (image,)
        assert found.network.head.classes == 5
        assert sha256(local_file("timm:test_resnet.r160_in1k")) == sha256(path)
        with torch.no_grad():
            torch.testing.assert_close(found.module()(IMAGES), reference(IMAGES), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("name", ["resnetaa50.a1h_in1k", "resnetblur50.bt_in1k", "vit_base_patch16_224", ""])
    def test_what_shapes_cannot_tell_is_refused_by_name(self, name: str) -> None:
        with pytest.raises(CheckpointError, match=r"does not build timm's '.*'; known: ecaresnet101d, .*, seresnet50"):
            origin(f"timm:{name}")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"architecture": "resnetblur18"}, "does not build timm's 'resnetblur18'"),
            ({"model_args": {"drop_rate": 0.1, "act_layer": "silu"}}, "found it changed in act_layer"),
            ({"pretrained_cfg": {"mean": "none"}}, "config.json: pretrained_cfg.mean"),
            ({"pretrained_cfg": {"crop_pct": 1.5}}, "config.json: crop_fraction"),
            ({"pretrained_cfg": {"crop_mode": "border"}}, "config.json: pretrained_cfg.crop_mode"),
        ],
    )
    def test_another_configuration_is_refused(
        self, repository: Repository, tensors: dict[str, Tensor], change: dict[str, Any], message: str
    ) -> None:
        repository("timm/test_resnet.r160_in1k", tensors, self.CONFIGURATION | change)
        with pytest.raises(CheckpointError, match=re.escape(message)):
            origin("timm:test_resnet.r160_in1k")

    def test_a_squashed_image_is_stretched(self, repository: Repository, tensors: dict[str, Tensor]) -> None:
        repository("timm/resnet18", tensors, {"pretrained_cfg": {"crop_mode": "squash"}})
        assert origin("timm:resnet18").image == Input(resize="stretch")


class TestHub:
    def test_a_repository_without_configuration(self, repository: Repository, tensors: dict[str, Tensor]) -> None:
        repository("someone/resnet", tensors)
        found = load_weights("hf:someone/resnet")
        assert found.network.inputs == (Input(),)
        assert torch.equal(found.tensors["fc.weight"], tensors["fc.weight"])

    def test_a_pickled_file_is_the_second_choice(self, repository: Repository, tensors: dict[str, Tensor]) -> None:
        path = repository("someone/resnet", tensors, file="pytorch_model.bin", absent=("model.safetensors",))
        assert local_file("hf:someone/resnet") == path
        assert torch.equal(load_weights("hf:someone/resnet").tensors["fc.weight"], tensors["fc.weight"])

    def test_a_missing_file_is_downloaded(
        self, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensors: dict[str, Tensor]
    ) -> None:
        """What the Hub says is not there is left out."""
        torch.save(tensors, tmp_path / "pytorch_model.bin")
        asked = []

        def download(repo: str, file: str) -> str:
            asked.append((repo, file))
            if file == "pytorch_model.bin":
                return str(tmp_path / file)
            response = httpx2.Response(404, request=httpx2.Request("GET", "https://example.org"))
            raise huggingface_hub.errors.RemoteEntryNotFoundError("none", response=response)

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
        assert load_weights("hf:someone/new").network.inputs == (Input(),)
        assert asked == [("someone/new", f) for f in ("model.safetensors", "pytorch_model.bin", "config.json")]

    def test_a_named_file_in_a_folder(self, repository: Repository, tensors: dict[str, Tensor]) -> None:
        path = repository("someone/resnet", tensors, file="old/weights.pth")
        assert local_file("hf:someone/resnet/old/weights.pth") == path
        assert load_weights("hf:someone/resnet/old/weights.pth").network.head.classes == 4

    def test_a_file_of_our_own(self, repository: Repository, lived_in: LivedIn, narrow: Narrow) -> None:
        checkpoint = lived_in(narrow(version=1), classes=("a", "b", "c", "d"))
        checkpoint.save(repository("someone/ours", checkpoint.tensors))
        found = load_weights("hf:someone/ours")
        assert (found.network, found.classes) == (checkpoint.network, checkpoint.classes)

    def test_a_repository_without_weights(self, repository: Repository, tensors: dict[str, Tensor]) -> None:
        repository("someone/text", tensors, file="other.pth", absent=("model.safetensors", "pytorch_model.bin"))
        with pytest.raises(CheckpointError, match=r"expected model\.safetensors or pytorch_model\.bin in the repo"):
            origin("hf:someone/text")

    @pytest.mark.parametrize("name", ["someone/other", "someone/resnet/other.safetensors", "some one/x", "a/b/../c"])
    def test_without_a_network_it_says_what_was_wanted(
        self, repository: Repository, tensors: dict[str, Tensor], name: str
    ) -> None:
        repository("someone/resnet", tensors)
        with pytest.raises(CheckpointError, match=f"hf:{name}: expected to download .*; check the name and the conn"):
            origin(f"hf:{name}")

    @pytest.mark.parametrize("name", ["", "someone", "someone/", "/resnet"])
    def test_a_repository_has_an_owner(self, name: str) -> None:
        with pytest.raises(CheckpointError, match="expected hf:owner/repo or hf:owner/repo/file, found"):
            origin(f"hf:{name}")


def test_caffes_order_is_asked_for(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = tmp_path / "resnet.pth"
    torch.save(tensors, path)
    network = load_weights(f"caffe:{path}").network
    (image,) = network.inputs
    assert image.order == "bgr"
    assert [round(255 * mean, 3) for mean in image.mean] == [103.939, 116.779, 123.68]
    assert [round(255 * std, 9) for std in image.std] == [1, 1, 1]
    assert network.stem.ceil
    blocks = [block for stage in network.stages for block in stage.blocks]
    assert all(isinstance(block, Bottleneck) and block.stride_on == "1x1" for block in blocks)
    plain = load_weights(path).network
    assert plain.inputs == (Input(),) and not plain.stem.ceil


@pytest.mark.parametrize("name", ["none.pth", "caffe:none.pth", "other:resnet50", ""])
def test_no_file_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"expected a weights file .* or a name that begins with torchvision:"):
        origin(name)


@pytest.mark.parametrize(
    ("weights", "package"),
    [("torchvision:IMAGENET1K_V2", "torchvision"), ("timm:resnet18", "huggingface_hub"), ("hf:a/b", "huggingface_hub")],
)
def test_a_missing_package_is_named_with_its_extra(weights: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{weights} needs the package '{package}'.*'fit50\[hub\]'"):
        origin(weights)
