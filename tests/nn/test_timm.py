"""timm's files give the same answers and the same training step as in timm's own networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.nn.agreement import CLASSES, assert_agrees, enlivened, images

from fit50.nn.cost import cost
from fit50.spec import presets

timm = pytest.importorskip("timm")

NAMES = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "resnet50d": "resnet50-d",
    "seresnet50": "se-resnet50",
    "ecaresnet50d": "eca-resnet50-d",
    "resnext50_32x4d": "resnext50-32x4d",
    "seresnext50_32x4d": "se-resnext50-32x4d",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_timms_answers_and_learns_the_same(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    batch = images(4, 64)
    reference = enlivened(timm.create_model(name, pretrained=False, num_classes=CLASSES), batch)
    checkpoint = assert_agrees(reference, tmp_path / "weights.safetensors", batch)
    assert cost(checkpoint.network) == cost(presets.network(NAMES[name], classes=CLASSES))
