"""A few narrow networks with weights that make agreement between runtimes mean something."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pytest
import torch
from tests.contracts.networks import INPUT, KINDS, photographs
from torch import nn

from fit50.nn.compose import compose
from fit50.nn.deployed import Deployed
from fit50.runtimes import graph
from fit50.runtimes.base import Calibration, Images
from fit50.spec.network import Classifier, Network
from fit50.spec.presets import resnet
from fit50.weights.checkpoint import Checkpoint

CLASSES = ("cat", "dog", "owl", "yak")


@pytest.fixture(scope="session", autouse=True)
def _every_graph_is_made_once() -> Iterator[None]:
    """An ONNX export takes seconds, and the tests of several runtimes ask for the same few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "_graph", lru_cache(maxsize=None)(graph._graph.__wrapped__))
        yield


def trained(network: Network) -> Checkpoint:
    """Random weights and batch statistics, none of them zero, and answers that differ from image to image."""
    module, generator = compose(network).eval(), torch.Generator().manual_seed(7)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.uniform_(0.5, 1.5, generator=generator)
                part.bias.uniform_(-0.5, 0.5, generator=generator)
                part.running_mean.uniform_(-0.5, 0.5, generator=generator)
                part.running_var.uniform_(0.5, 1.5, generator=generator)
        for parameter in module.parameters():
            if not parameter.any():
                parameter.uniform_(-0.5, 0.5, generator=generator)
        images = map(torch.from_numpy, photographs(network))
        logits = module(
            *(normalize(image) for normalize, image in zip(Deployed(module).normalize, images, strict=True))
        )
        module.fc.bias -= logits.mean(0)
        for layer in filter(None, (module.fc, module.fc_neck)):
            layer.weight /= logits.std(0)[:, None]
            layer.bias /= logits.std(0)
    return Checkpoint(network, module.state_dict(), CLASSES, provenance={"recipe": "abc"})


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    """A plain network, wide enough at its end for int8 to pay."""
    network = resnet((1, 1, 1, 1), widths=(16, 16, 16, 128))
    return trained(network.model_copy(update={"inputs": (INPUT,), "head": Classifier(classes=len(CLASSES))}))


@pytest.fixture(scope="session")
def narrower() -> Checkpoint:
    """The same network after pruning: narrower at its end."""
    network = resnet((1, 1, 1, 1), widths=(16, 16, 16, 64))
    return trained(network.model_copy(update={"inputs": (INPUT,), "head": Classifier(classes=len(CLASSES))}))


@pytest.fixture(scope="session")
def kinds() -> dict[str, Checkpoint]:
    """A checkpoint for every kind of network."""
    return {kind: trained(network) for kind, network in KINDS.items()}


@pytest.fixture(scope="session")
def images() -> Images:
    """Different images (16, H, W, C), smooth ones."""
    return graph.golden_images(INPUT, 16)


@pytest.fixture(scope="session")
def calibration(images: Images) -> Calibration:
    """With labels that mean nothing, so that the loss of int8 does not count."""
    return Calibration((images,), (images,), np.arange(16) % len(CLASSES), max_drop=100)


def broken(checkpoint: Checkpoint, images: Images, *blocks: str) -> tuple[Checkpoint, Calibration]:
    """A network that plain int8 breaks, and what tells so, with labels that it answers in float.

    In some maps one channel is a thousand times as large as the others, which then share one of 256 steps.
    """
    tensors = {key: tensor.clone() for key, tensor in checkpoint.tensors.items()}
    for block in blocks:
        for key in (f"{block}.bn2.weight", f"{block}.bn2.bias"):
            tensors[key][0] *= 1000
        tensors[f"{block}.conv3.weight"][:, 0] /= 1000
    with torch.inference_mode():
        labels = Deployed(checkpoint.module())(torch.from_numpy(images)).argmax(1).numpy()
    return checkpoint.with_(tensors=tensors), Calibration((images,), (images,), labels, max_drop=30)
