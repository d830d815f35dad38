"""What tests of several floors share: one thread, a narrow network, weights as training leaves them, and digits."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.sshd import SSHD, Sshd, sshd
from torch import Tensor

from fit50.data.dataset import Dataset, open_dataset
from fit50.nn.compose import compose
from fit50.spec import presets
from fit50.spec.network import Classifier, Input, Network, Stem
from fit50.weights.checkpoint import Checkpoint

SIZE = 16
Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Threads that wait for each other on a busy machine cost twenty times what they save on networks this small."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An OpenSSH server on loopback, and on the PATH a client that may enter."""
    if SSHD is None or shutil.which("ssh-keygen") is None:
        pytest.skip("needs OpenSSH's server and client (openssh-server)")
    with sshd(tmp_path_factory.mktemp("sshd")) as started, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(started.folder / "bin"), prepend=os.pathsep)
        yield started


@pytest.fixture
def without_torchao(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra ``qat`` is not installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchao"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchao", None)


@pytest.fixture(scope="session")
def narrow() -> Narrow:
    """Makes a narrow bottleneck ResNet for images of 16 pixels; by default one block a stage, four classes."""

    def make(
        depths: tuple[int, ...] = (1, 1, 1, 1),
        width: int = 16,
        classes: int = 4,
        dropout: float = 0.0,
        **options: object,
    ) -> Network:
        stem = Stem(kind="low-resolution", out=width)
        widths = (width,) * len(depths)
        network = presets.resnet(depths, widths=widths, stem=stem, **options)  # type: ignore[arg-type]
        image = Input(height=SIZE, width=SIZE, resize="stretch")
        head = Classifier(classes=classes, dropout=dropout)
        return network.model_copy(update={"inputs": (image,), "head": head})

    return make


@pytest.fixture(scope="session")
def lived_in() -> LivedIn:
    """Makes a checkpoint as a training leaves it: norms have statistics, and nothing is still zero."""

    def make(network: Network, seed: int = 0, classes: tuple[str, ...] = ()) -> Checkpoint:
        generator = torch.Generator().manual_seed(seed + 1)

        def around(tensor: Tensor, low: float, high: float) -> Tensor:
            return torch.empty_like(tensor).uniform_(low, high, generator=generator)

        tensors = compose(network, seed=seed).state_dict()
        for key in [key for key in tensors if key.endswith("running_var")]:
            norm = key.removesuffix("running_var")
            tensors[norm + "weight"] = around(tensors[norm + "weight"], 0.3, 0.9)
            tensors[norm + "bias"] = around(tensors[norm + "bias"], -0.3, 0.3)
            tensors[norm + "running_mean"] = around(tensors[norm + "running_mean"], -0.5, 0.5)
            tensors[norm + "running_var"] = around(tensors[norm + "running_var"], 0.5, 2.0)
        for key in tensors:
            if key.endswith(("fc.bias", "gamma")) or key.startswith("fc_neck."):
                tensors[key] = around(tensors[key], -0.5, 0.5)
        return Checkpoint(network, tensors, classes)

    return make


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Handwritten digits 0 to 3 of scikit-learn as ``<split>/<class>/<n>.png``, 8 x 8 pixels: 40, 15 and 15 a class."""
    from sklearn.datasets import load_digits

    root = tmp_path_factory.mktemp("digits")
    pixels, labels = load_digits(return_X_y=True)
    for label in range(4):
        ours = (pixels[labels == label].reshape(-1, 8, 8) * 15.9).astype(np.uint8)[:70]
        for index, image in enumerate(ours):
            split = "train" if index < 40 else "val" if index < 55 else "test"
            path = root / split / f"digit{label}" / f"{index:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return root


@pytest.fixture(scope="session")
def digits(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """``digits_folder`` at the size of ``narrow``'s input."""
    image = Input(height=SIZE, width=SIZE, resize="stretch")
    return open_dataset(digits_folder, (image,), cache=tmp_path_factory.mktemp("cache"))
