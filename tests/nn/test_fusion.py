"""What fuses the maps of one input: HFF's three forms, and the pyramid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from fit50.nn import compose
from fit50.nn.fusion import FeaturePyramid, GatedHierarchicalFusion, stage_fusion
from fit50.spec.digest import edit
from fit50.spec.network import FPN, HFF, Network
from fit50.weights.checkpoint import Checkpoint

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def affine(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1x1 convolution, as a matrix product at every place."""
    return torch.einsum("oi,nihw->nohw", layer.weight[:, :, 0, 0], x) + layer.bias[:, None, None]


def fused(module: nn.Module, x: Tensor, pooled: bool) -> Tensor:
    """The listing's module, by its description."""
    y = F.conv2d(affine(module.conv1, x), module.conv2.weight, module.conv2.bias, padding=1)
    first, _, second, _ = module.attention
    seen = y.mean((2, 3), keepdim=True) if pooled else y
    return y * affine(second, affine(first, seen).clamp(min=0)).sigmoid()


@pytest.mark.parametrize("form", ["paper", "squeeze"])
def test_hff_is_the_listings(form: Literal["paper", "squeeze"]) -> None:
    module, x = stage_fusion(HFF(form=form), 12), noise(2, 12, 5, 6)
    assert module.attention[0].out_channels == 3
    torch.testing.assert_close(module(x), fused(module, x, pooled=form == "squeeze"))
    assert not torch.allclose(module(x), fused(module, x, pooled=form != "squeeze"), atol=1e-4)


def test_gated_hff_starts_as_nothing_and_adds_the_squeezed_form() -> None:
    module, x = stage_fusion(HFF(), 12), noise(2, 12, 5, 6)
    assert isinstance(module, GatedHierarchicalFusion)
    assert torch.equal(module(x), x)
    module.gamma.data = torch.linspace(-1, 1, 12)
    expected = x + torch.linspace(-1, 1, 12)[:, None, None] * fused(module, x, pooled=True)
    torch.testing.assert_close(module(x), expected)


def test_the_papers_form_shrinks_what_it_is_given() -> None:
    """To about 0.22 of the standard deviation of a stage's output, which is why it destroys what a network knew."""
    torch.manual_seed(0)
    resnet, module = ResNet(Bottleneck, [3, 1, 1, 1]), stage_fusion(HFF(form="paper"), 256)
    with torch.no_grad():
        x = resnet.layer1(resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(noise(2, 3, 128, 128))))))
        assert (module(x).std() / x.std()).item() == pytest.approx(0.22, abs=0.01)


def test_hff_is_between_two_stages(narrow: Narrow, lived_in: LivedIn) -> None:
    network = edit(narrow((2, 1)), "stages[0].fusion", {"kind": "hff", "form": "paper"})
    module, x = lived_in(network).module(), noise(2, 3, 16, 16)
    with torch.no_grad():
        maps = module.maps(x)
        blocks = module.layer1[1](module.layer1[0](maps["stem"]))
        torch.testing.assert_close(maps["layer1"], fused(module.layer1.fusion, blocks, pooled=False))
        torch.testing.assert_close(maps["layer2"], module.layer2[0](maps["layer1"]))


@pytest.mark.parametrize(
    ("path", "part", "gone"),
    [("stages[*].fusion", "hff", ".fusion."), ("neck", {"kind": "fpn", "width": 8}, "neck")],
    ids=["hff", "fpn"],
)
def test_a_gated_part_changes_no_prediction_at_first(
    path: str, part: object, gone: str, narrow: Narrow, lived_in: LivedIn
) -> None:
    network, x = edit(narrow((1, 1)), path, part), noise(2, 3, 16, 16)
    moved, drawn = lived_in(network), compose(network).state_dict()
    new = {key: tensor for key, tensor in drawn.items() if gone in key}
    whole = moved.with_(tensors={**moved.tensors, **new})
    without = Checkpoint(narrow((1, 1)), {key: tensor for key, tensor in moved.tensors.items() if key not in new})
    with torch.no_grad():
        expected = without.module()(x)
        assert torch.equal(whole.module()(x), expected)
        assert not torch.allclose(moved.module()(x), expected, atol=1e-3)


SIDES = {"layer1": (17, 23), "layer2": (9, 12), "layer3": (5, 6)}


def test_a_pyramid_adds_what_lies_above() -> None:
    """Lin et al. 2017, by hand: each place takes from above the place over which it lies, also where sides are odd."""
    widths = {"layer1": 6, "layer2": 8, "layer3": 10}
    module = FeaturePyramid(FPN(width=4), widths)
    maps = {name: noise(2, widths[name], *side, seed=index) for index, (name, side) in enumerate(SIDES.items())}
    found = module(maps)
    assert {name: tuple(level.shape) for name, level in found.items()} == {
        name: (2, 4, *side) for name, side in SIDES.items()
    }
    above: Tensor | None = None
    for name in ("layer3", "layer2", "layer1"):
        level = affine(module.lateral[name], maps[name])
        if above is not None:
            rows, columns = (
                torch.arange(side) * coarse // side for side, coarse in zip(SIDES[name], above.shape[2:], strict=True)
            )
            level = level + above[:, :, rows][:, :, :, columns]
        above = level
        smooth = module.smooth[name]
        torch.testing.assert_close(found[name], F.conv2d(level, smooth.weight, smooth.bias, padding=1))


def test_a_pyramid_takes_the_levels_that_are_asked_for(narrow: Narrow) -> None:
    network = edit(narrow((1, 1, 1)), "neck", {"kind": "fpn", "width": 8, "levels": ["layer3", "layer2"]})
    module = compose(network).eval()
    with torch.no_grad():
        levels = module.neck(module.maps(noise(2, 3, 33, 47)))
    assert {name: tuple(level.shape) for name, level in levels.items()} == {
        "layer2": (2, 8, 17, 24),
        "layer3": (2, 8, 9, 12),
    }


@pytest.mark.parametrize("form", ["plain", "gated"])
def test_a_classifier_sees_the_levels_pooled(form: str, narrow: Narrow, lived_in: LivedIn) -> None:
    network = edit(narrow((1, 1)), "neck", {"kind": "fpn", "form": form, "width": 8})
    checkpoint, x = lived_in(network), noise(2, 3, 16, 16)
    module = checkpoint.module()
    with torch.no_grad():
        maps = module.maps(x)
        pooled = torch.cat([level.mean((2, 3)) for level in module.neck(maps).values()], 1)
        expected = module.fc(pooled if form == "plain" else maps["layer2"].mean((2, 3)))
        if form == "gated":
            expected = expected + pooled @ module.fc_neck.weight.T + module.fc_neck.bias
        assert pooled.shape == (2, 16)
        torch.testing.assert_close(module(x), expected)
