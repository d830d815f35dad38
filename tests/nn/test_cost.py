"""Parameters and multiply-accumulates against the published figures, and against other people's modules."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision import models

from fit50.nn.cost import Cost, cost, largest_layer
from fit50.spec.blocks import SE
from fit50.spec.digest import edit
from fit50.spec.network import FPN, Network
from fit50.spec.presets import NETWORKS, network, resnet

COSTS = {
    "resnet18": (11_689_512, 1.814),
    "resnet34": (21_797_672, 3.664),
    "resnet26": (15_995_176, 2.342),
    "resnet50": (25_557_032, 4.089),
    "resnet50-v1": (25_557_032, 3.858),
    "resnet101": (44_549_160, 7.801),
    "resnet152": (60_192_808, 11.514),
    "wide-resnet50-2": (68_883_240, 11.398),
    "wide-resnet101-2": (126_886_696, 22.753),
    "wide-basic-resnet50": (86_036_008, 14.094),
    "resnext50-32x4d": (25_028_904, 4.230),
    "resnext101-32x8d": (88_791_336, 16.414),
    "resnext101-64x4d": (83_455_272, 15.460),
    "se-resnet50": (28_088_024, 4.092),
    "se-resnet50-paper": (28_199_000, 5.479),
    "se-resnext50-32x4d": (27_559_896, 4.233),
    "cbam-resnet50": (28_089_624, 4.096),
    "eca-resnet50": (25_557_118, 4.089),
    "resnet50-d": (25_576_264, 4.329),
    "eca-resnet50-d": (25_576_350, 4.329),
    "separable-resnet50": (15_531_240, 2.457),
    "swish-resnet50": (25_557_032, 4.089),
    "dropout-resnet50": (25_557_032, 4.089),
    "fpn-resnet50": (27_877_416, 6.930),
    "hff-senet": (84_060_392, 12.721),
    "hff-squeeze": (84_060_392, 12.313),
    "hff-gated": (84_064_232, 12.313),
    "m-mffnet": (24_945_448, 8.232),
    "m-mffnet-gated": (31_383_720, 8.383),
}
TORCHVISION = {name for name in COSTS if hasattr(models, name.replace("-", "_"))}
TIMM = {
    "resnet26": "resnet26",
    "se-resnet50": "seresnet50",
    "se-resnext50-32x4d": "seresnext50_32x4d",
    "resnet50-d": "resnet50d",
    "eca-resnet50": "ecaresnet50d",  # without the D, as below
    "eca-resnet50-d": "ecaresnet50d",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_preset_costs_what_it_is_known_to(name: str) -> None:
    parameters, gmacs = COSTS[name]
    found = cost(network(name))
    assert found.parameters == parameters
    assert found.gmacs == pytest.approx(gmacs, abs=5e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_was_published_is_what_is_built(name: str) -> None:
    """Papers round, and count their own way: to 0.15 % of the parameters and 2 % of the multiplications."""
    known, found = NETWORKS[name], cost(network(name))
    assert known.parameters is None or known.parameters == pytest.approx(found.parameters, rel=1.5e-3)
    assert known.gmacs is None or known.gmacs == pytest.approx(found.gmacs, rel=0.02)
    assert known.make.__doc__ is not None
    assert ("nothing published" in known.make.__doc__) == (known[1:] == (None, None, None))
    for figure in (known.gmacs, known.top1):
        assert figure is None or str(figure) in known.make.__doc__


def numel(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", sorted(TORCHVISION))
def test_parameters_are_torchvisions(name: str) -> None:
    with torch.device("meta"):
        reference = getattr(models, name.replace("-", "_"))()
    assert cost(network(name)).parameters == numel(reference)


def test_torchvision_has_ten_of_them() -> None:
    assert len(TORCHVISION) == 10


@pytest.mark.parametrize("name", TIMM)
def test_parameters_are_timms(name: str) -> None:
    timm = pytest.importorskip("timm")
    options = {"stem_width": 64, "stem_type": "", "avg_down": False} if name == "eca-resnet50" else {}
    with torch.device("meta"):
        reference = timm.create_model(TIMM[name], pretrained=False, **options)
    assert cost(network(name)).parameters == numel(reference)


def added(new: Network) -> Cost:
    """What a network has more than ResNet-50."""
    base, found = cost(network("resnet50")), cost(new)
    return Cost(found.parameters - base.parameters, found.gmacs - base.gmacs)


OUT, SIDES, DEPTHS = (256, 512, 1024, 2048), (56, 28, 14, 7), (3, 4, 6, 3)


def test_cost_of_gates_counted_by_hand() -> None:
    blocks = [(out, side) for out, side, depth in zip(OUT, SIDES, DEPTHS, strict=True) for _ in range(depth)]
    gates = [2 * out * (out // 16) for out, _ in blocks]
    biases = sum(out + out // 16 for out, _ in blocks)
    assert added(network("se-resnet50")) == pytest.approx((sum(gates) + biases, sum(gates) / 1e9))
    spatial = sum(2 * 49 * side * side for _, side in blocks)
    found = added(network("cbam-resnet50"))
    assert found == pytest.approx((sum(gates) + biases + 16 * (2 * 49 + 2), (2 * sum(gates) + spatial) / 1e9))
    kernels = [5 if out < 2048 else 7 for out, _ in blocks]
    neighbours = sum(kernel * out for kernel, (out, _) in zip(kernels, blocks, strict=True))
    assert added(network("eca-resnet50")) == pytest.approx((sum(kernels), neighbours / 1e9))


def test_cost_of_fusions_counted_by_hand() -> None:
    convolutions = [out * out + 9 * out * out + out * out // 2 for out in OUT]
    biases = sum(2 * out + out // 4 + out for out in OUT)
    places = sum(c * side * side for c, side in zip(convolutions, SIDES, strict=True)) / 1e9
    assert added(network("hff-senet")) == pytest.approx((sum(convolutions) + biases, places))
    assert added(network("hff-gated")).parameters == sum(convolutions) + biases + sum(OUT)
    pooled = sum(out * out // 2 * (side * side - 1) for out, side in zip(OUT, SIDES, strict=True)) / 1e9
    assert added(network("hff-squeeze")).gmacs == pytest.approx(places - pooled)


def test_cost_of_a_pyramid_counted_by_hand() -> None:
    levels = [out * 256 + 256 * 256 * 9 for out in OUT]
    places = sum(c * side * side for c, side in zip(levels, SIDES, strict=True))
    parameters, wider = sum(levels) + 4 * 2 * 256, (4 * 256 - 2048) * 1000
    assert added(network("fpn-resnet50")) == pytest.approx((parameters + wider, (places + wider) / 1e9))
    beside = edit(network("resnet50"), "neck", FPN(width=256))
    assert added(beside) == pytest.approx((parameters + 4 * 256_000 + 1000, (places + 4 * 256_000) / 1e9))


def test_cost_of_two_inputs_counted_by_hand() -> None:
    base, whole = cost(network("resnet50", classes=10)), network("m-mffnet", classes=10)
    fc = (256 - 2048) * 10
    joint = 2 * 2048 * 256 + 512 * 256
    assert cost(whole).parameters == base.parameters + joint + 3 * 256 + fc
    assert cost(whole).gmacs == pytest.approx(2 * base.gmacs + (joint * 49 + (256 - 2 * 2048) * 10) / 1e9)
    apart = cost(edit(whole, "fusion.backbone", "separate"))
    backbone = base.parameters - 2049 * 10
    assert apart == pytest.approx((cost(whole).parameters + backbone, cost(whole).gmacs))
    with torch.device("meta"):
        reference = models.resnet50()
    norms = sum(numel(part) for part in reference.modules() if isinstance(part, nn.BatchNorm2d))
    assert cost(edit(whole, "fusion.norm", "per-input")) == pytest.approx(
        (cost(whole).parameters + norms, cost(whole).gmacs)
    )


def test_cost_counted_by_hand() -> None:
    found = cost(
        resnet((1,), widths=(8,), attention=SE(reduction=4)).model_copy(
            update={"inputs": network("resnet50").sized(64).inputs}
        )
    )
    stem, side = 64 * 3 * 49, 16 * 16  # after the stem: 32 x 32; after pooling: 16 x 16
    block = 64 * 8 + 8 * 8 * 9 + 8 * 32 + 64 * 32  # conv1, conv2, conv3, projection
    gate, fc = 2 * 32 * 8, 32 * 1000
    assert found.gmacs == pytest.approx((stem * 32 * 32 + block * side + gate + fc) / 1e9, rel=1e-12)
    norms = 2 * (64 + 8 + 8 + 32 + 32)
    assert found.parameters == stem + block + gate + (8 + 32) + norms + fc + 1000


def test_classes_and_size_count() -> None:
    small = cost(network("resnet50", classes=10))
    assert cost(network("resnet50")).parameters - small.parameters == 990 * 2049
    large = cost(network("resnet50", classes=10).sized(448))
    assert large.parameters == small.parameters
    assert large.gmacs == pytest.approx(4 * small.gmacs, rel=1e-4)


def test_the_largest_layer_begins_the_second_stage_of_a_resnet50_and_is_the_stem_of_a_resnet18() -> None:
    assert largest_layer(network("resnet50")) == 56 * 56 * (256 + 128)
    assert largest_layer(network("resnet18")) == 3 * 224 * 224 + 64 * 112 * 112
