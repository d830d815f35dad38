"""torchvision's files give the same answers and the same training step as in torchvision's own networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.nn.agreement import CLASSES, assert_agrees, enlivened, images
from torch import nn
from torchvision import models

from fit50.nn.resnet import ResNet
from fit50.spec import presets

SMALL = ["resnet18", "resnet34", "resnet50", "resnet101", "resnext50_32x4d", "wide_resnet50_2"]
LARGE = ["resnet152", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet101_2"]


@pytest.mark.parametrize(
    ("name", "learns"),
    [
        *((name, True) for name in SMALL),
        *((name, False) for name in LARGE),
        *(pytest.param(name, True, marks=pytest.mark.slow) for name in LARGE),
    ],
)
def test_a_file_of_torchvisions_answers_and_learns_the_same(name: str, learns: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    batch = images(4, 64 if learns else 32)
    reference = enlivened(getattr(models, name)(num_classes=CLASSES), batch)
    keys = set(reference.state_dict())
    checkpoint = assert_agrees(reference, tmp_path / "weights.pth", batch, learns=learns)
    assert checkpoint.network == presets.network(name.replace("_", "-"), classes=CLASSES)
    assert set(checkpoint.tensors) == keys


@pytest.mark.parametrize(("version", "strided"), [(1.5, "conv2"), (1, "conv1")])
def test_the_version_says_where_the_stride_is(version: float, strided: str) -> None:
    with torch.device("meta"):
        module = ResNet(presets.resnet((2, 2, 2, 2), version=version))
    strides = {name: part.stride for name, part in module.named_modules() if isinstance(part, nn.Conv2d)}
    expected = {f"layer{stage}.0.{part}" for stage in (2, 3, 4) for part in (strided, "downsample.0")}
    assert {name for name, stride in strides.items() if stride == (2, 2)} == expected | {"conv1"}
