"""Blocks, shortcuts, stems and activations, computed anew."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fit50.nn import compose
from fit50.nn.activation import Swish, activation, anneal
from fit50.nn.blocks import StochasticDepth, block, projection
from fit50.nn.resnet import ResNet
from fit50.spec.blocks import Basic, Bottleneck, ReLU
from fit50.spec.blocks import Swish as SwishValue
from fit50.spec.digest import edit
from fit50.spec.network import Network, Stem
from fit50.weights.checkpoint import Checkpoint

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def by_windows(x: Tensor, side: int, reduce: Callable[[Tensor, tuple[int, int]], Tensor]) -> Tensor:
    """Squares that begin at every other row and column, each made one number; the last ones are of what is left."""
    starts = range(0, x.shape[-1], 2)
    rows = [[reduce(x[:, :, i : i + side, j : j + side], (2, 3)) for j in starts] for i in starts]
    return torch.stack([torch.stack(row, 2) for row in rows], 2)


def test_stochastic_depth_drops_whole_branches_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    part, x = StochasticDepth(0.3), noise(4000, 3, 2, 2).abs() + 0.1
    dropped = part(x)
    gone = (dropped == 0).flatten(1).all(1)
    torch.testing.assert_close(dropped[~gone], x[~gone] / 0.7)
    assert gone.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert dropped.mean().item() == pytest.approx(x.mean().item(), rel=0.05)
    assert part.eval()(x) is x


def test_a_dropped_branch_leaves_the_shortcut() -> None:
    torch.manual_seed(0)
    value = Bottleneck(inner=(4, 4), out=8, shortcut="projection", drop_path=0.5)
    module, x = block(value, 6, ReLU()), noise(32, 6, 5, 5)
    with torch.no_grad():
        found, shortcut, branch = module(x), module.downsample(x), module.residual(x)
    alone, doubled = shortcut.relu(), (shortcut + 2 * branch).relu()
    dropped = [torch.equal(found[i], alone[i]) for i in range(32)]
    assert 8 < sum(dropped) < 24
    for i in range(32):
        torch.testing.assert_close(found[i], alone[i] if dropped[i] else doubled[i])


@pytest.mark.parametrize("side", [6, 7])
def test_an_average_comes_before_the_projection(side: int) -> None:
    """He et al. 2019, ResNet-D; where the side is odd, the last average is of what is there."""
    module, x = projection(3, 5, 2, average=True).eval(), noise(2, 3, side, side)
    weight = module.get_submodule("0").weight
    torch.testing.assert_close(module(x), F.conv2d(by_windows(x, 2, torch.mean), weight) / math.sqrt(1 + 1e-5))
    plain = projection(3, 5, 2, average=False).eval()
    plain.load_state_dict(module.state_dict())
    torch.testing.assert_close(plain(x), F.conv2d(x[:, :, ::2, ::2], weight) / math.sqrt(1 + 1e-5))


def test_where_nothing_is_strided_nothing_is_averaged() -> None:
    assert [type(part) for part in projection(3, 5, 1, average=True)] == [nn.Conv2d, nn.BatchNorm2d]


@pytest.mark.parametrize("stride", [1, 2])
def test_a_separable_convolution_is_a_3x3_of_rank_one(stride: int) -> None:
    module = block(Bottleneck(inner=(6, 4), out=8, stride=stride, separable=True, shortcut="projection"), 5, ReLU())
    depthwise, pointwise = module.conv2
    x = noise(2, 6, 7, 7)
    weight = pointwise.weight * depthwise.weight.transpose(0, 1)  # (4, 6, 1, 1) * (1, 6, 3, 3)
    torch.testing.assert_close(module.conv2(x), F.conv2d(x, weight, stride=stride, padding=1), rtol=1e-4, atol=1e-5)
    assert module.bn2.num_features == 4


def test_groups_are_of_the_3x3_alone() -> None:
    module = block(Bottleneck(inner=(8, 12), out=8, groups=4), 8, ReLU())
    assert [part.groups for part in (module.conv1, module.conv2, module.conv3)] == [1, 4, 1]
    assert module.conv2.weight.shape == (12, 2, 3, 3)


@pytest.mark.parametrize(
    ("stem", "side"),
    [
        (Stem(kind="7x7", out=8), 8),
        (Stem(kind="7x7", out=8, ceil=True), 8),
        (Stem(kind="deep", inner=(4, 6), out=8), 8),
        (Stem(kind="7x7+3x3x3", inner=(4, 5, 6), out=8), 8),
        (Stem(kind="light", out=8), 16),
        (Stem(kind="low-resolution", out=8), 32),
    ],
    ids=lambda value: value.kind + (" ceil" if value.ceil else "") if isinstance(value, Stem) else None,
)
def test_maps_have_the_said_sizes(stem: Stem, side: int, narrow: Narrow) -> None:
    network = narrow().model_copy(update={"stem": stem})
    with torch.no_grad():
        maps = compose(network).eval().maps(torch.rand(2, 3, 32, 32))
    assert 32 // stem.stride == side
    assert {name: tuple(found.shape) for name, found in maps.items()} == {
        "stem": (2, 8, side, side),
        "layer1": (2, 64, side, side),
        "layer2": (2, 64, side // 2, side // 2),
        "layer3": (2, 64, side // 4, side // 4),
        "layer4": (2, 64, side // 8, side // 8),
    }


@pytest.mark.parametrize(
    ("kind", "kernels"), [("deep", [(3, 3), (3, 3), (3, 3)]), ("7x7+3x3x3", [(7, 7), (3, 3), (3, 3), (3, 3)])]
)
def test_a_stem_of_several_convolutions(kind: str, kernels: list[tuple[int, int]], narrow: Narrow) -> None:
    inner = (4, 5, 6)[: len(kernels) - 1]
    stem = Stem.parse({"kind": kind, "inner": inner, "out": 16})
    module = compose(edit(narrow((1,)), "stem", stem))
    convolutions = [part for part in module.conv1 if isinstance(part, nn.Conv2d)]
    assert [part.kernel_size for part in convolutions] == kernels
    assert [part.out_channels for part in convolutions] == [*inner, 16]
    assert [part.stride for part in convolutions] == [(2, 2), *[(1, 1)] * (len(kernels) - 1)]
    between = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * len(kernels)
    assert [type(part) for part in module.conv1] == between[:-2]
    assert module.bn1.num_features == 16


def test_caffes_pooling_sees_no_border(narrow: Narrow) -> None:
    """Maxima of rows 0 to 2, 2 to 4, ... and of what is left at the end; torchvision's begin before the first row."""
    network = edit(edit(narrow((1,)), "stem.kind", "7x7"), "stem.ceil", True)
    x = noise(1, 16, 8, 8)
    assert torch.equal(compose(network).maxpool(x), by_windows(x, 3, torch.amax))


def test_swish_and_dropout_are_where_they_are_said(narrow: Narrow) -> None:
    network = edit(edit(narrow(dropout=0.3), "activation", "swish"), "stages[1].blocks[0].activation", "relu")
    network = edit(network, "stages[2].blocks[0].dropout", 0.2)
    network = edit(network, "stages[3].blocks[0].drop_path", 0.1)
    module = compose(edit(network, "stages[0].blocks[0].activation", SwishValue(learned=True)))
    assert isinstance(module.relu, nn.SiLU)
    assert isinstance(module.layer1[0].relu, Swish)
    assert isinstance(module.layer2[0].relu, nn.ReLU)
    assert isinstance(module.layer3[0].relu, nn.SiLU)
    rates = {name: part.p for name, part in module.named_modules() if isinstance(part, nn.Dropout)}
    assert rates == {"dropout": 0.3, "layer3.0.dropout": 0.2}
    depths = {name: part.rate for name, part in module.named_modules() if isinstance(part, StochasticDepth)}
    assert depths == {"layer4.0.drop_path": 0.1}
    assert module.state_dict()["layer1.0.relu.beta"] == 1


def test_dropout_is_of_a_blocks_output() -> None:
    torch.manual_seed(0)
    module, x = block(Basic(inner=8, out=8, dropout=0.5), 8, SwishValue()), noise(4, 8, 6, 6)
    with torch.no_grad():
        dropped = module(x)
        whole = F.silu(module.residual(x) + x)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])
    assert kept.float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_swish_is_the_papers() -> None:
    x = torch.linspace(-6, 6, 101)
    torch.testing.assert_close(activation(SwishValue(beta=2.5))(x), x / (1 + torch.exp(-2.5 * x)))
    torch.testing.assert_close(activation(SwishValue())(x.clone()), x / (1 + torch.exp(-x)))


def test_a_learned_beta_is_learned() -> None:
    module, x = activation(SwishValue(beta=0.5, learned=True)), noise(50)
    module(x).sum().backward()
    s = (0.5 * x).sigmoid()
    assert module.beta.item() == 0.5
    torch.testing.assert_close(module.beta.grad, (x * x * s * (1 - s)).sum())


def test_swish_goes_from_relu_to_its_beta() -> None:
    x = torch.linspace(-6, 6, 101)
    module = nn.Sequential(activation(SwishValue(beta=1.0, start=2**20)), activation(SwishValue(beta=4.0)), nn.ReLU())
    first, other, _ = module
    torch.testing.assert_close(first(x), x.relu(), rtol=0, atol=1e-6)
    for progress in (0.0, 0.25, 0.5, 1.0, 1.5):
        anneal(module, progress)
        t = min(progress, 1.0)
        assert first.beta**-2 == pytest.approx((1 - t) * 2**-40 + t)
        assert other.beta == 4.0
    torch.testing.assert_close(first(x), F.silu(x))
    assert not module.state_dict()


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_a_start_leads_every_activation_of_a_network(progress: float, narrow: Narrow, lived_in: LivedIn) -> None:
    """At first the network answers as with ReLU, at the end as with SiLU."""
    deep = edit(narrow(), "stem", Stem(kind="deep", inner=(4, 4), out=16))
    network = edit(deep, "activation", SwishValue(start=2**20))
    checkpoint, x = lived_in(network), noise(2, 3, 16, 16)
    module: ResNet = checkpoint.module()
    anneal(module, progress)
    end = checkpoint.with_(network=edit(network, "activation", "swish" if progress else "relu")).module()
    other = checkpoint.with_(network=edit(network, "activation", "relu" if progress else "swish")).module()
    with torch.no_grad():
        torch.testing.assert_close(module(x), end(x), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(other(x), end(x), atol=1e-2)
