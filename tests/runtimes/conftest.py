"""A few narrow networks with weights that make agreement between runtimes mean something."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import nn

from fit50.nn.compose import compose
from fit50.runtimes import graph
from fit50.runtimes.base import Calibration, Images
from fit50.spec.network import SE, Input, Network, Swish
from fit50.spec.presets import resnet
from fit50.weights.checkpoint import Checkpoint

CLASSES = ("cat", "dog", "owl", "yak")
INPUT = Input(height=24, width=32, resize="stretch")


@pytest.fixture(scope="session", autouse=True)
def _every_graph_is_made_once() -> Iterator[None]:
    """An ONNX export takes seconds, and the tests of several runtimes ask for the same few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "_graph", lru_cache(maxsize=None)(graph._graph.__wrapped__))
        yield


def trained(network: Network) -> Checkpoint:
    """The network with random weights and random batch statistics, as if it had learned something."""
    network = network.model_copy(
        update={"inputs": (INPUT,), "head": network.head.model_copy(update={"classes": len(CLASSES)})}
    )
    module, generator = compose(network), torch.Generator().manual_seed(7)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.uniform_(0.5, 1.5, generator=generator)
                part.bias.uniform_(-0.5, 0.5, generator=generator)
                part.running_mean.uniform_(-0.5, 0.5, generator=generator)
                part.running_var.uniform_(0.5, 1.5, generator=generator)
        module.fc.weight *= 4  # answers that differ from image to image
    return Checkpoint(network, module.state_dict(), CLASSES, provenance={"recipe": "abc"})


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    """A plain network, wide enough at its end for int8 to pay."""
    return trained(resnet((1, 1, 1, 1), widths=(16, 16, 16, 128)))


@pytest.fixture(scope="session")
def gated() -> Checkpoint:
    """A network with squeeze-and-excitation and Swish."""
    network = resnet((1, 1), widths=(16, 16), attention=SE(reduction=4))
    return trained(network.model_copy(update={"activation": Swish()}))


@pytest.fixture(scope="session")
def images() -> Images:
    """Different images (16, H, W, C), smooth ones."""
    return graph.golden_images(INPUT, 16)


@pytest.fixture(scope="session")
def calibration(images: Images) -> Calibration:
    """With labels that mean nothing, so that the loss of int8 does not count."""
    return Calibration(images, (images, np.arange(16) % len(CLASSES)), max_drop=100)
