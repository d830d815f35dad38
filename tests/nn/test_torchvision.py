"""The same tensors give the same answers as torchvision's networks, in both directions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision import models

from fit50.nn.compose import compose
from fit50.nn.resnet import ResNet
from fit50.spec import presets
from fit50.spec.network import Basic, Classifier, Network, Stage
from fit50.weights.checkpoint import Checkpoint

LivedIn = Callable[..., Checkpoint]
IMAGES = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 4 - 2


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "wide_resnet50_2"])
def test_torchvision_answers_the_same(name: str, lived_in: LivedIn) -> None:
    checkpoint = lived_in(presets.network(name.replace("_", "-"), classes=11, size=64))
    with torch.device("meta"):
        reference = getattr(models, name)(num_classes=11)
    reference.load_state_dict(checkpoint.tensors, strict=True, assign=True)
    with torch.no_grad():
        expected, found = reference.eval()(IMAGES), checkpoint.module()(IMAGES)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    back = compose(checkpoint.network, reference.state_dict()).state_dict()
    assert set(back) == set(reference.state_dict())
    assert all(torch.equal(back[key], tensor) for key, tensor in reference.state_dict().items())


def test_basic_blocks_are_torchvisions(lived_in: LivedIn) -> None:
    checkpoint = lived_in(resnet18())
    with torch.device("meta"):
        reference = models.resnet18(num_classes=11)
    reference.load_state_dict(checkpoint.tensors, strict=True, assign=True)
    with torch.no_grad():
        torch.testing.assert_close(checkpoint.module()(IMAGES), reference.eval()(IMAGES), rtol=1e-5, atol=1e-5)


def resnet18() -> Network:
    stages, width = [], 64
    for index, out in enumerate((64, 128, 256, 512)):
        shortcut = "identity" if out == width else "projection"
        first = Basic(inner=out, out=out, stride=2 if index else 1, shortcut=shortcut)
        stages.append(Stage(name=f"layer{index + 1}", blocks=(first, Basic(inner=out, out=out))))
        width = out
    return Network(stages=tuple(stages), head=Classifier(classes=11))


@pytest.mark.parametrize(("version", "strided"), [(1.5, "conv2"), (1, "conv1")])
def test_the_version_says_where_the_stride_is(version: float, strided: str) -> None:
    with torch.device("meta"):
        module = ResNet(presets.resnet((2, 2, 2, 2), version=version))
    strides = {name: part.stride for name, part in module.named_modules() if isinstance(part, nn.Conv2d)}
    expected = {f"layer{stage}.0.{part}" for stage in (2, 3, 4) for part in (strided, "downsample.0")}
    assert {name for name, stride in strides.items() if stride == (2, 2)} == expected | {"conv1"}
