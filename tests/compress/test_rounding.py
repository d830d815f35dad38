"""Eight bits in torch round as the runtimes' files do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.compress.zoo import MORE, dataset, narrow
from tests.contracts.networks import KINDS
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fit50.compress.rounding import Layer, Seen, observed, places, rounded, weight_spread
from fit50.nn.deployed import Deployed
from fit50.spec import presets
from fit50.spec.network import Network
from fit50.weights.checkpoint import Checkpoint

LivedIn = Callable[..., Checkpoint]


def seen(x: torch.Tensor) -> Seen:
    return Seen.of(x, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("network", (KINDS | MORE).values(), ids=KINDS | MORE)
def test_every_layer_of_every_network_is_rounded_and_given_back(network: Network, lived_in: LivedIn) -> None:
    module = Deployed(lived_in(network).module()).eval()
    images = [torch.from_numpy(each) for each in dataset(network).split("train").pixels]
    ranges = observed(module, places(module.module), [images])
    layers = {name for name, part in module.module.named_modules() if isinstance(part, Layer)}
    names = {place.name for place in ranges}
    assert layers <= names
    assert len([name for name in names if name.endswith(".add")]) >= len(network.stages)
    with torch.inference_mode():
        before = module(*images)
        with rounded(ranges, names, 8):
            during = module(*images)
        after = module(*images)
    assert torch.equal(before, after)
    assert not torch.equal(before, during)
    assert (before - during).abs().max() < 0.2


def test_a_part_that_serves_two_inputs_has_a_range_for_each(lived_in: LivedIn) -> None:
    network = narrow(presets.m_mffnet())
    module = Deployed(lived_in(network).module()).eval()
    dark, bright = torch.zeros(2, 32, 32, 3, dtype=torch.uint8), torch.full((2, 32, 32, 3), 255, dtype=torch.uint8)
    ranges = observed(module, places(module.module), [(dark, bright), (dark, bright)])
    calls = {place.name: calls for place, calls in ranges.items()}
    assert (len(calls["conv1"]), len(calls["layer4.0.add"]), len(calls["fusion.fusion"])) == (2, 2, 1)
    first, second = calls["conv1"]
    assert (first.high < 0, second.low > 0) == (True, True)


@pytest.mark.parametrize("sign", [1, -1])
def test_batch_norms_need_not_be_folded(sign: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5)).eval()
    conv, norm = network
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        norm.weight.copy_(sign * torch.tensor([0.01, 0.1, 1, 10, 100]))
        norm.running_var.uniform_(0.1, 3)
    folded = nn.Sequential(fuse_conv_bn_eval(conv, norm))
    x = torch.randn(4, 3, 6, 6)
    with torch.inference_mode():
        results = []
        for each in (network, folded):
            ranges = observed(each, places(each), [(x,)])
            with rounded(ranges, {"0"}, 8):
                results.append(each(x))
        exact = network(x)
    assert (results[0] - exact).abs().max() > 1e-3
    torch.testing.assert_close(results[0], results[1])


def test_a_map_has_256_steps_one_of_which_is_zero() -> None:
    x = torch.linspace(-1, 3, 2001).view(1, 1, -1)
    steps = seen(x).rounded(x).unique()
    assert len(steps) == 256
    assert (steps == 0).any()
    assert (seen(x).rounded(x) - x).abs().max() <= 4 / 255 / 2 + 1e-6
    positive = seen(x + 2)
    assert positive.low == 1
    assert positive.rounded(torch.zeros(1)) == 0
    assert seen(torch.zeros(2, 3)).rounded(torch.zeros(2, 3)).eq(0).all()


@pytest.mark.parametrize(("bits", "steps"), [(8, 255), (7, 127)])
def test_a_weight_has_steps_on_both_sides_of_zero_as_its_bits_allow(bits: int, steps: int) -> None:
    layer = nn.Linear(2001, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-3, 3, 2001))
    ranges = observed(layer, places(layer), [(torch.ones(1, 2001),)])
    with rounded(ranges, {place.name for place in ranges}, bits):
        assert len(layer.weight.unique()) == steps
    assert len(layer.weight.unique()) == 2001


def test_spreads_are_of_all_batches() -> None:
    x = torch.ones(2, 4, 50, 50)
    x[0, 1, 0, 0] = -30
    spread = (seen(x) | seen(2 * x)).spread()
    assert (spread.largest, spread.outliers) == (60, 30)
    assert spread.usual == 2
    assert seen(torch.zeros(1, 2)).spread().outliers == 1


def test_weights_spread_by_output_channel() -> None:
    layer = nn.Linear(3, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.array([[1, 0.5, 0], [2, -2, 1], [0, -8, 1]])))
    spread = weight_spread(layer)
    assert (spread.largest, spread.usual, spread.outliers) == (8, 8, 4)
