"""Where weights come from: a local file, fetched if need be, and what is known of it that it does not say itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

import torch

from fit50.spec.errors import CheckpointError
from fit50.spec.files import storage_errors
from fit50.spec.network import Input
from fit50.spec.value import suggestion
from fit50.weights.hub import Configuration, fetched, package, refuse_architecture
from fit50.weights.keymaps import CAFFE, Layout

_CAFFE_INPUT = Input(order="bgr", mean=(103.939 / 255, 116.779 / 255, 123.68 / 255), std=(1 / 255,) * 3)
_TORCHVISION = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d"),
    *("resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"),
)
_WHOLE = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Origin:
    """Weights in reach.

    Attributes:
        file: on this machine.
        image: how the images were prepared that they were trained on; None where nothing says it.
        layout: what the tensors are called; None where their keys show it.
    """

    file: Path
    image: Input | None = None
    layout: Layout | None = None


def origin(weights: Path | str) -> Origin:
    """Finds weights, and downloads them where they are not in torch's or the Hub's cache yet.

    Args:
        weights: the path of a file, or one of

            - ``torchvision:resnet50.IMAGENET1K_V2``, a network of torchvision's and its weights (resnet50 may be left
              out),
            - ``timm:seresnet50.ra2_in1k``, a model of timm's on the Hugging Face Hub,
            - ``hf:owner/repo``, a repository there with a ``model.safetensors`` or a ``pytorch_model.bin``, or
              ``hf:owner/repo/file.safetensors``,
            - ``caffe:file.pth``, a file whose tensors were converted from Caffe: it strides in the 1x1 convolutions,
              pools with sizes rounded up, and takes blue-first images from 0 to 255 whose mean is subtracted.

    Raises:
        CheckpointError: no such file or name, no way to it, or a network that fit50 cannot build.
        MissingExtraError: the package that knows the place is not installed.
    """
    text = str(weights)
    match text.partition(":"):
        case ("torchvision", ":", name):
            return _torchvision(name, text)
        case ("timm", ":", name):
            refuse_architecture(name.split(".")[0], text)
            return _repository(f"timm/{name}", text)
        case ("hf", ":", name):
            return _huggingface(name, text)
        case ("caffe", ":", name):
            return Origin(_existing(Path(name)), _CAFFE_INPUT, CAFFE)
        case _:
            return Origin(_existing(Path(weights)))


def local_file(weights: Path | str) -> Path:
    """The file of weights, as ``origin`` finds it. Raises what it raises.

    It need not be what fit50 can build: an ONNX file, any model ``timm:vit_base_patch16_224`` of timm's on the Hub, or
    a file with the weights of such a model, ``timm:vit_base_patch16_224:file.safetensors``.
    """
    match str(weights).split(":", 2):
        case ["timm", _, file]:
            return _existing(Path(file))
        case ["timm", name]:
            return _whole(f"timm/{name}", str(weights))
        case _:
            return origin(weights).file


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise CheckpointError(
            f"{path}: expected a weights file (.safetensors, .pth, .pt, .bin), or a name that begins with "
            "torchvision:, timm:, hf: or caffe:, found none"
        )
    return path


def _torchvision(name: str, text: str) -> Origin:
    builder, _, tag = name.rpartition(".")
    builder = builder or "resnet50"
    if builder not in _TORCHVISION:
        raise CheckpointError(f"{text}: {builder!r} is no ResNet of torchvision's{suggestion(builder, _TORCHVISION)}")
    known = package("torchvision", text).models.get_model_weights(builder).__members__
    if tag not in known:
        raise CheckpointError(f"{text}: {tag!r} is unknown among the weights of {builder}{suggestion(tag, known)}")
    prepared = known[tag].transforms()
    (size,), (resized,) = prepared.crop_size, prepared.resize_size
    fraction = size / resized
    image = Input(height=size, width=size, crop_fraction=fraction, mean=tuple(prepared.mean), std=tuple(prepared.std))
    return Origin(_downloaded(known[tag].url, text), image)


def _downloaded(url: str, text: str) -> Path:
    """The file of a URL in torch's cache; its name holds the beginning of its SHA-256."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if path.is_file():
        return path
    digest = re.search(r"-([0-9a-f]{8,})\.", path.name)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=digest[1] if digest else None)
        except (URLError, ConnectionError, TimeoutError, RuntimeError) as error:
            raise CheckpointError(
                f"{text}: expected to download {path.name}, found: {error}; check the connection, or put the file at "
                f"{path}"
            ) from None
    return path


def _huggingface(name: str, text: str) -> Origin:
    owner, _, rest = name.partition("/")
    repository, _, file = rest.partition("/")
    if not owner or not repository:
        raise CheckpointError(f"{text}: expected hf:owner/repo or hf:owner/repo/file, found {name!r}")
    return _repository(f"{owner}/{repository}", text, (file,) if file else _WHOLE)


def _repository(repository: str, text: str, files: tuple[str, ...] = _WHOLE) -> Origin:
    """The first of these files that the repository has, and how its images were prepared, if it says it."""
    found = _whole(repository, text, files)
    beside = fetched(repository, "config.json", text)
    return Origin(found, Configuration.of(beside, text).image(text) if beside else None)


def _whole(repository: str, text: str, files: tuple[str, ...] = _WHOLE) -> Path:
    """The first of these files that the repository has."""
    found = next((path for file in files if (path := fetched(repository, file, text))), None)
    if found is None:
        raise CheckpointError(
            f"{text}: expected {' or '.join(files)} in the repository {repository!r}, found none; name a file of it: "
            f"hf:{repository}/file.safetensors"
        )
    return found
