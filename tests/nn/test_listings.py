"""The source paper's two listings, written anew from their description: same parameters, answers and training step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.nn.agreement import CLASSES, assert_agrees, assert_same, enlivened, images, loaded
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from fit50.nn import cost
from fit50.spec import presets


class Backbone(nn.Module):
    """A torchvision ResNet whose own classifier is never used."""

    def __init__(self, resnet: ResNet) -> None:
        super().__init__()
        self.resnet = resnet
        self.width = resnet.fc.in_features
        self.avgpool = nn.AdaptiveAvgPool2d(1)

    def stem(self, x: Tensor) -> Tensor:
        return self.resnet.maxpool(self.resnet.relu(self.resnet.bn1(self.resnet.conv1(x))))

    def stages(self) -> list[nn.Module]:
        return [self.resnet.layer1, self.resnet.layer2, self.resnet.layer3, self.resnet.layer4]


class HierarchicalFeatureFusion(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.attention = nn.Sequential(
            nn.Conv2d(out_channels, out_channels // 4, 1),
            nn.ReLU(),
            nn.Conv2d(out_channels // 4, out_channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        return y * self.attention(y)


class HFFSENet(Backbone):
    def __init__(self, resnet: ResNet, classes: int) -> None:
        super().__init__(resnet)
        self.hff1, self.hff2, self.hff3, self.hff4 = (
            HierarchicalFeatureFusion(self.width // part, self.width // part) for part in (8, 4, 2, 1)
        )
        self.fc = nn.Linear(self.width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage, fusion in zip(self.stages(), (self.hff1, self.hff2, self.hff3, self.hff4), strict=True):
            x = fusion(stage(x))
        return self.fc(self.avgpool(x).flatten(1))


class MultiModalFeatureFusion(nn.Module):
    def __init__(self, in_channels1: int, in_channels2: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels1, 256, 1)
        self.conv2 = nn.Conv2d(in_channels2, 256, 1)
        self.fusion = nn.Conv2d(512, 256, 1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.fusion(torch.cat((self.conv1(a), self.conv2(b)), 1))


class MMFFNet(Backbone):
    def __init__(self, resnet: ResNet, classes: int) -> None:
        super().__init__(resnet)
        self.mmff = MultiModalFeatureFusion(self.width, self.width)
        self.fc = nn.Linear(256, classes)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        first, second = (nn.Sequential(*self.stages())(self.stem(x)) for x in (a, b))
        return self.fc(self.avgpool(self.mmff(first, second)).flatten(1))


LISTINGS: dict[str, type[HFFSENet] | type[MMFFNet]] = {"hff-senet": HFFSENet, "m-mffnet": MMFFNet}


@pytest.mark.parametrize(
    ("name", "ours", "theirs"), [("hff-senet", 84_060_392, 86_109_392), ("m-mffnet", 24_945_448, 26_994_448)]
)
def test_parameters_are_the_listings_without_its_unused_classifier(name: str, ours: int, theirs: int) -> None:
    with torch.device("meta"):
        listing = LISTINGS[name](resnet50(), 1000)
    assert sum(parameter.numel() for parameter in listing.parameters()) == theirs
    unused = sum(parameter.numel() for parameter in listing.resnet.fc.parameters())
    assert cost(presets.network(name)).parameters == ours == theirs - unused


@pytest.mark.parametrize(("name", "block"), [("hff-senet", BasicBlock), ("m-mffnet", Bottleneck)])
def test_a_file_of_the_listing_answers_and_learns_the_same(
    name: str, block: type[BasicBlock] | type[Bottleneck], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    preset = presets.network(name)
    inputs = [images(4, 64, seed=seed) for seed in range(len(preset.inputs))]
    listing = enlivened(LISTINGS[name](ResNet(block, [1, 1, 1, 1]), CLASSES), *inputs)
    found = assert_agrees(listing, tmp_path / "weights.pth", *inputs).network
    assert (found.inputs, found.fusion) == (preset.inputs, preset.fusion)
    assert [stage.fusion for stage in found.stages] == [stage.fusion for stage in preset.stages]


def test_the_shared_norms_see_the_first_input_and_then_the_second(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first, second = images(4, 64), images(4, 64, seed=1) * 3 + 1
    listing = MMFFNet(ResNet(Bottleneck, [1, 1, 1, 1]), CLASSES)
    checkpoint = loaded(listing, tmp_path / "weights.pth")
    expected, found, swapped = listing.resnet.train(), checkpoint.module().train(), checkpoint.module().train()
    with torch.no_grad():
        listing(first, second)
        found(first, second)
        swapped(second, first)
    norms = [name for name, part in expected.named_modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(norms) == 1 + 4 * 4
    for norm in norms:
        ours, theirs, other = (network.get_submodule(norm) for network in (found, expected, swapped))
        assert ours.num_batches_tracked == theirs.num_batches_tracked == 2
        assert_same(norm, ours.running_mean, theirs.running_mean, 1e-5)
        assert_same(norm, ours.running_var, theirs.running_var, 1e-5)
        assert not torch.allclose(other.running_mean, theirs.running_mean, rtol=1e-3)
