"""The command line, called in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from tests.photos import tiny_request, write_photos
from torch import nn

from fit50.cli import main
from fit50.nn.compose import compose
from fit50.runtimes import runtime
from fit50.search.start import start_network
from fit50.spec.blocks import Basic
from fit50.spec.network import Classifier, Fusion, Input, Network, Stage, Stem
from fit50.weights.checkpoint import Checkpoint


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Fit50 = Callable[..., Ended]


@pytest.fixture
def fit50(capfd: pytest.CaptureFixture[str]) -> Fit50:
    """Runs ``fit50 WORDS`` and gives the exit code and what was printed."""

    def run(*words: str | Path) -> Ended:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        return Ended(int(ended.value.code or 0), *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of twenty images."""
    return write_photos(tmp_path_factory.mktemp("cli") / "photos")


@pytest.fixture(scope="session")
def config(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny request for the photos as YAML."""
    path = tmp_path_factory.mktemp("config") / "request.yaml"
    path.write_text(tiny_request(photos).yaml(), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def weights(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow network for the photos' classes, as a file."""
    network = start_network(tiny_request(photos))
    network = network.model_copy(update={"head": network.head.model_copy(update={"classes": 3})})
    module = compose(network)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.fill_(1)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    Checkpoint(network, module.state_dict(), ("blue", "green", "red")).save(path)
    return path


@pytest.fixture(scope="session")
def bundle(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights as a bundle for ONNX Runtime."""
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    runtime("onnxruntime").export(Checkpoint.load(weights), folder)
    return folder


@pytest.fixture(scope="session", params=[0.0, 0.2], ids=["both-there", "either-missing"])
def pairs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a network that takes a photo and a grey image, trained to miss either of them or not."""
    square = {"height": 16, "width": 16, "resize": "stretch"}
    grey = Input.parse({"name": "thermal", "channels": 1, "mean": (0.4,), "std": (0.3,)} | square)
    block = Basic(inner=8, out=8, shortcut="projection")
    network = Network(
        inputs=(Input.parse({"name": "rgb"} | square), grey),
        stem=Stem(kind="low-resolution", out=8),
        stages=(Stage(name="layer1", blocks=(block,)),),
        fusion=Fusion(width=8, modality_dropout=request.param),
        head=Classifier(classes=3),
    )
    folder = tmp_path_factory.mktemp("pairs") / "bundle"
    runtime("torch").export(Checkpoint(network, compose(network).state_dict(), ("blue", "green", "red")), folder)
    return folder
