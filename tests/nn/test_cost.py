"""Parameters and multiply-accumulates against the published figures."""

from __future__ import annotations

import pytest
import torch
from torchvision import models

from fit50.nn.cost import cost
from fit50.spec.network import SE
from fit50.spec.presets import NETWORKS, network, resnet


@pytest.mark.parametrize(
    ("name", "parameters", "gmacs"),
    [
        ("resnet50", 25_557_032, 4.089),
        ("resnet50-v1", 25_557_032, 3.858),
        ("se-resnet50", 28_088_024, 4.092),
        ("wide-resnet50-2", 68_883_240, 11.398),
        ("resnet101", 44_549_160, 7.801),
        ("resnet152", 60_192_808, 11.514),
        ("swish-resnet50", 25_557_032, 4.089),
        ("dropout-resnet50", 25_557_032, 4.089),
    ],
)
def test_costs_are_the_published_ones(name: str, parameters: int, gmacs: float) -> None:
    found = cost(network(name))
    assert found.parameters == parameters
    assert found.gmacs == pytest.approx(gmacs, abs=5e-4)
    assert NETWORKS[name].parameters == parameters
    assert NETWORKS[name].gmacs == pytest.approx(gmacs, rel=0.02)


def test_parameters_are_torchvisions() -> None:
    for name in ("resnet50", "resnet101", "resnet152", "wide_resnet50_2"):
        with torch.device("meta"):
            reference = getattr(models, name)()
        expected = sum(parameter.numel() for parameter in reference.parameters())
        assert cost(network(name.replace("_", "-"))).parameters == expected


def test_cost_counted_by_hand() -> None:
    found = cost(
        resnet((1,), widths=(8,), attention=SE(reduction=4)).model_copy(
            update={"inputs": network("resnet50", size=64).inputs}
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
    large = cost(network("resnet50", classes=10, size=448))
    assert large.parameters == small.parameters
    assert large.gmacs == pytest.approx(4 * small.gmacs, rel=1e-4)
