"""The probe finds what will not quantise, and only that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.compress import zoo
from tests.contracts.networks import photographs

from fit50.compress.sensitivity import int8_difference, probe
from fit50.data.dataset import Dataset
from fit50.data.images import Images
from fit50.nn.deployed import Deployed
from fit50.spec import presets
from fit50.spec.damage import Probe
from fit50.spec.monitor import Monitor
from fit50.spec.network import Network
from fit50.train.statistics import recalibrated
from fit50.weights.checkpoint import Checkpoint

LivedIn = Callable[..., Checkpoint]
Narrow = Callable[..., Network]
CLASSES = ("a", "b", "c", "d")


def hardened(checkpoint: Checkpoint, factor: float, block: str = "layer2.0") -> Checkpoint:
    """The same function, but that one channel between two convolutions is larger than the others by this factor."""
    tensors = {key: tensor.clone() for key, tensor in checkpoint.tensors.items()}
    for key in ("weight", "bias"):
        tensors[f"{block}.bn1.{key}"][0] *= factor
    tensors[f"{block}.conv2.weight"][:, 0] /= factor
    return checkpoint.with_(tensors=tensors)


@pytest.fixture(scope="module")
def easy(narrow: Narrow, lived_in: LivedIn, digits: Dataset) -> Checkpoint:
    """Tells digits apart by random maps, their statistics estimated and the classifier solved for."""
    images = digits.split("train")
    checkpoint = recalibrated(lived_in(narrow(), classes=digits.classes), images)
    module, maps = Deployed(checkpoint.module()).eval(), []
    module.module.avgpool.register_forward_hook(lambda _module, _inputs, x: maps.append(x.flatten(1)))
    with torch.inference_mode():
        for (pixels,), _ in images.batches(64):
            module(pixels)
    features, wanted = torch.cat(maps), 16 * torch.eye(4)[torch.from_numpy(images.labels)] - 4
    centre = features.mean(0)
    weight = torch.linalg.lstsq(features - centre, wanted).solution.T
    classifier = {"fc.weight": weight, "fc.bias": -weight @ centre}
    return checkpoint.with_(tensors={**checkpoint.tensors, **classifier})


def probed(checkpoint: Checkpoint, digits: Dataset, **options: Any) -> Probe:
    return probe(checkpoint, digits.split("train"), digits.split("val"), digits.classes, **options)


def test_what_quantises_well(easy: Checkpoint, digits: Dataset) -> None:
    heard: list[tuple[int, int]] = []

    class Listener(Monitor):
        def progress(self, label: str, done: int, total: int) -> None:
            heard.append((done, total))

    found = probed(easy, digits, allowed=10, tried=20, monitor=Listener())
    assert (found.calibrated, found.tried, found.int8.comparison.old.n) == (160, 20, 60)
    assert found.int8.comparison.old.percent > 60
    names = [each.name for each in found.sensitivities]
    assert len(names) == len(set(names)) == 1 + 4 * 4 + 4 + 1  # stem, blocks, additions, classifier
    errors = [each.error for each in found.sensitivities]
    assert errors == sorted(errors, reverse=True)
    assert 0 < errors[-1] < errors[0] < 0.1
    assert {each.name for each in found.sensitivities if each.weights is None} == {
        f"layer{stage}.0.add" for stage in (1, 2, 3, 4)
    }
    assert [layer.name for layer in found.int8.layers] == [f"layer{stage}.0" for stage in (1, 2, 3, 4)]
    assert all(0 < (layer.error or 0) < 0.2 for layer in found.int8.layers)
    assert not found.spared
    assert heard == [(done, len(names)) for done in range(len(names) + 1)]
    assert Probe.parse(found.model_dump(mode="json")) == found


def test_the_culprit_is_named_and_spared(easy: Checkpoint, digits: Dataset) -> None:
    hard = hardened(easy, 3000)
    easily, hardly = (probed(each, digits, allowed=10, tried=20) for each in (easy, hard))
    assert hardly.int8.comparison.old == easily.int8.comparison.old
    worst, second = hardly.sensitivities[:2]
    assert worst.name == "layer2.0.conv2"
    assert worst.error > 3 * second.error
    assert worst.inputs.outliers > 500 > 20 > second.inputs.outliers
    assert worst.loss.low > 0
    assert hardly.lost.points < -10 < easily.lost.points
    assert hardly.spared == ("layer2.0.conv2",)
    assert hardly.with_spared is not None and hardly.with_spared.points >= -10
    assert "leave layer2.0.conv2 with all inputs in float" in hardly.advice


def test_where_everything_suffers_nothing_is_spared(easy: Checkpoint, digits: Dataset) -> None:
    for stage in (1, 2, 3, 4):
        easy = hardened(easy, 1e5, f"layer{stage}.0")
    found = probed(easy, digits, allowed=0.5, tried=4)
    assert found.lost.high < -found.allowed
    assert int8_difference(easy, digits.split("train"), digits.split("val"), 8) == found.lost


@pytest.mark.parametrize("name", ["m-mffnet-gated", "hff-gated", "fpn-resnet50"])
def test_networks_of_other_kinds(name: str, lived_in: LivedIn) -> None:
    network = zoo.narrow(presets.network(name), blocks=1)
    labels = np.arange(6) % 4
    images = Images(tuple(photographs(network, 6)), labels, tuple(map(str, range(6))))
    found = probe(lived_in(network), images, images, CLASSES, tried=2)
    assert all(np.isfinite(each.error) for each in found.sensitivities)
    assert {each.name.split(".")[0] for each in found.sensitivities} >= {"conv1", "layer1", "layer4", "fc"}
