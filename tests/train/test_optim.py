"""The optimizer, the schedule, the average and what else is done to weights, each against what its formula says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from fit50.nn.blocks import ResidualBlock, StochasticDepth
from fit50.nn.compose import compose
from fit50.nn.resnet import ResNet
from fit50.spec.blocks import SE
from fit50.spec.network import FPN, Fusion, Network
from fit50.spec.training import LAMB, SGD, AdamW, Cosine, Optimizer, Steps, Train
from fit50.train.optim import averaged, freeze, frozen, optimizer, rate, set_drop_path, sharpened

Narrow = Callable[..., Network]
OPTIMIZERS: tuple[Optimizer, ...] = (SGD(weight_decay=0.01), AdamW(weight_decay=0.01), LAMB(weight_decay=0.01))


def two_inputs(network: Network) -> Network:
    """The same for two images that meet after the second stage, with a pyramid."""
    first, second = network.inputs[0], network.inputs[0].model_copy(update={"name": "other"})
    fusion = Fusion(backbone="separate", kind="gated", after="layer2")
    neck = FPN(form="gated", levels=("layer3", "layer4"), width=8)
    return Network.parse(
        network.model_copy(update={"inputs": (first, second), "fusion": fusion, "neck": neck}).model_dump()
    )


def settings(module: ResNet, step: Train, key: str, extra: tuple[nn.Parameter, ...] = ()) -> dict[str, float]:
    """A setting of each parameter's group, by the parameter's name."""
    names = {parameter: name for name, parameter in module.named_parameters()}
    names |= {parameter: f"extra{index}" for index, parameter in enumerate(extra)}
    groups = optimizer(module, step, extra).param_groups
    found = [(names[parameter], float(group[key])) for group in groups for parameter in group["params"]]
    assert sorted(name for name, _ in found) == sorted(names.values())
    return dict(found)


@pytest.mark.parametrize("value", OPTIMIZERS)
def test_norms_and_biases_do_not_decay(value: Optimizer, narrow: Narrow) -> None:
    module = compose(narrow((1, 1), attention=SE(reduction=4)))
    kinds = {name: type(part) for name, part in module.named_modules()}
    for stage_decay in (None, 0.5):
        decays = settings(module, Train(optimizer=value, stage_decay=stage_decay), "weight_decay")
        for name, decay in decays.items():
            owner, leaf = name.rsplit(".", 1)
            spared = kinds[owner] is nn.BatchNorm2d or leaf == "bias"
            assert decay == (0.0 if spared else 0.01), name


def test_one_rate_is_two_groups(narrow: Narrow) -> None:
    module = compose(narrow((1,)))
    groups = optimizer(module, Train()).param_groups
    assert [group["scale"] for group in groups] == [1.0, 1.0]
    assert groups[0]["params"] == [parameter for parameter in module.parameters() if parameter.ndim > 1]
    assert groups[1]["params"] == [parameter for parameter in module.parameters() if parameter.ndim <= 1]


def test_rates_fall_from_the_head_to_the_stem(narrow: Narrow) -> None:
    module = compose(two_inputs(narrow()))
    depths = {"fc": 0, "fc_neck": 0, "neck": 0, "layer4": 1, "layer3": 2, "layer2": 3, "fusion": 3, "layer1": 4}
    scales = settings(module, Train(stage_decay=0.5), "scale")
    seen = set()
    for name, scale in scales.items():
        part = name.removeprefix("second.").split(".")[0]
        seen.add(part)
        assert scale == 0.5 ** depths.get(part, 5), name
    assert seen == {*depths, "conv1", "bn1"}
    assert any(name.startswith("second.layer2") for name in scales)


def test_extra_parameters_learn_as_the_head_does(narrow: Narrow) -> None:
    module, extra = compose(narrow((1,))), (nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2)))
    step = Train(optimizer=SGD(weight_decay=0.01), stage_decay=0.5)
    assert settings(module, step, "scale", extra)["extra0"] == 1.0
    decays = settings(module, step, "weight_decay", extra)
    assert (decays["extra0"], decays["extra1"]) == (0.01, 0.0)


def test_groups_come_in_the_same_order_each_time(narrow: Narrow) -> None:
    def shapes() -> list[list[torch.Size]]:
        module = compose(two_inputs(narrow()))
        groups = optimizer(module, Train(stage_decay=0.5)).param_groups
        return [[parameter.shape for parameter in group["params"]] for group in groups]

    assert shapes() == shapes()


def test_decay_shrinks_what_gets_no_gradient(narrow: Narrow) -> None:
    module = compose(narrow((1,)))
    optim = optimizer(module, Train(optimizer=SGD(lr=0.5, momentum=0, weight_decay=0.2)))
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optim.step()
    torch.testing.assert_close(module.fc.weight.detach(), before["fc.weight"] * 0.9)
    assert torch.equal(module.bn1.weight, before["bn1.weight"])


@pytest.mark.parametrize(
    "value",
    [
        SGD(lr=0.3, momentum=0.8, nesterov=False),
        SGD(lr=0.3, momentum=0),
        AdamW(betas=(0.5, 0.6)),
        LAMB(betas=(0.5, 0.6)),
    ],
)
def test_the_optimizer_has_the_values_settings(value: Optimizer, narrow: Narrow) -> None:
    settings = optimizer(compose(narrow((1,))), Train(optimizer=value)).defaults
    assert settings["lr"] == value.lr
    if isinstance(value, SGD):
        assert (settings["momentum"], settings["nesterov"]) == (value.momentum, False)
    else:
        assert settings["betas"] == (0.5, 0.6)


def test_lamb_steps_by_the_weights_own_norm(narrow: Narrow) -> None:
    module = compose(narrow((1,)))
    optim = optimizer(module, Train(optimizer=LAMB(lr=0.1, weight_decay=0.01)))
    before = module.fc.weight.detach().clone()
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)  # no limit of its own: the first update is the sign
    optim.step()
    update = torch.ones_like(before) + 0.01 * before
    ratio = before.norm() / update.norm()
    torch.testing.assert_close(module.fc.weight.detach(), before - 0.1 * ratio * update)


@pytest.mark.parametrize(
    ("position", "warmup", "factor"),
    [
        (0.0, 0.2, 0.0),
        (0.05, 0.2, 0.25),
        (0.2, 0.2, 1.0),
        (0.6, 0.2, 0.5),
        (1.0, 0.2, 0.0),
        (0.0, 0.0, 1.0),
        (0.25, 0.0, 0.5 + math.sqrt(0.125)),
        (0.5, 0.0, 0.5),
    ],
)
def test_the_rate_rises_and_follows_half_a_cosine(position: float, warmup: float, factor: float) -> None:
    assert rate(position, Train(warmup=warmup)) == pytest.approx(factor, abs=1e-12)
    ends_higher = Train(warmup=warmup, schedule=Cosine(final=0.2))
    expected = factor if position < warmup else 0.2 + 0.8 * factor
    assert rate(position, ends_higher) == pytest.approx(expected, abs=1e-12)


def test_the_rate_falls_in_steps() -> None:
    step, steps = Train(warmup=0.1, schedule=Steps(at=(1 / 3, 2 / 3), factor=0.1)), 90
    rates = [rate((index + 1) / steps, step) for index in range(steps)]
    assert rates[:9] == pytest.approx([(index + 1) / 9 for index in range(9)])
    assert rates[9:] == pytest.approx([1.0] * 21 + [0.1] * 30 + [0.01] * 30)


@pytest.mark.parametrize(("share", "still"), [(0.0, 0), (0.25, 5), (1.0, 20)])
def test_the_share_of_frozen_steps(share: float, still: int) -> None:
    flags = [frozen((index + 1) / 20, Train(frozen=share)) for index in range(20)]
    assert flags == [True] * still + [False] * (20 - still)
    assert frozen(0.0, Train(frozen=share)) == (share > 0)


@pytest.mark.parametrize("value", OPTIMIZERS)
def test_only_the_head_learns_while_frozen(value: Optimizer, narrow: Narrow) -> None:
    module = compose(two_inputs(narrow(dropout=0.5))).train()
    flags = [(part.training, [p.requires_grad for p in part.parameters(recurse=False)]) for part in module.modules()]
    assert module.fc_neck is not None
    nn.init.normal_(module.fc_neck.weight)
    optim = optimizer(module, Train(optimizer=value, frozen=0.5))
    images = torch.rand(4, 3, 16, 16), torch.rand(4, 3, 16, 16)

    def moved() -> set[str]:
        before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
        module(*images).square().sum().backward()
        optim.step()
        optim.zero_grad()
        return {
            key.split(".")[0] for key, tensor in module.state_dict().items() if not torch.equal(tensor, before[key])
        }

    freeze(module, True)
    assert moved() == {"fc", "fc_neck", "neck"}
    assert module.training and module.dropout.training
    freeze(module, False)
    assert flags == [
        (part.training, [p.requires_grad for p in part.parameters(recurse=False)]) for part in module.modules()
    ]
    assert {"conv1", "bn1", "layer1", "layer4", "second", "fusion"} <= moved()


def test_freezing_leaves_an_evaluated_network_in_evaluation(narrow: Narrow) -> None:
    module = compose(narrow((1,))).eval()
    freeze(module, True)
    freeze(module, False)
    assert not any(part.training for part in module.modules())


def test_the_average_follows_weights_and_statistics() -> None:
    module = nn.BatchNorm1d(1)
    average = averaged(module, 0.5)
    expected, count = 0.0, 0
    for step, value in enumerate((1.0, 3.0, 5.0, 9.0, 2.0, 4.0, 7.0, 6.0, 8.0, 3.0, 1.0, 5.0)):
        with torch.no_grad():
            module.weight.fill_(value)
            module.running_mean.fill_(-value)
            module.num_batches_tracked.fill_(step)
        average.update_parameters(module)
        decay = min(0.5, (1 + count) / (10 + count))
        expected, count = (value if count == 0 else decay * expected + (1 - decay) * value), count + 1
        assert average.module.weight.item() == pytest.approx(expected)
        assert average.module.running_mean.item() == pytest.approx(-expected)
        assert int(average.module.num_batches_tracked) == step
        assert int(average.n_averaged) == count


class Bowl(nn.Module):
    """w1^2 / 2 + 2 * w2^2 for x = 1, and a batch norm that looks on."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([3.0, 1.0]))
        self.norm = nn.BatchNorm1d(1)

    def forward(self, x: Tensor) -> Tensor:
        return (torch.tensor([0.5, 2.0]) * self.w.square()).sum() * x.mean() + 0 * self.norm(x).sum()


def test_the_sharpened_gradient_is_the_papers() -> None:
    module, rho, x = Bowl(), 0.5, torch.ones(4, 1)
    module(x).backward()
    assert module.w.grad is not None
    torch.testing.assert_close(module.w.grad, torch.tensor([3.0, 4.0]))
    state = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    with sharpened(module, rho):
        assert module.w.grad is None
        torch.testing.assert_close(module.w.detach(), torch.tensor([3.0 + 0.5 * 3 / 5, 1.0 + 0.5 * 4 / 5]))
        module(x).backward()
    torch.testing.assert_close(module.w.grad, torch.tensor([3.3, 4 * 1.4]))
    assert all(torch.equal(tensor, state[key]) for key, tensor in module.state_dict().items())
    assert int(module.norm.num_batches_tracked) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sharpening_leaves_a_network_to_the_bit(dtype: torch.dtype, narrow: Narrow) -> None:
    module = compose(narrow((1, 1))).train()
    images = torch.rand(4, 3, 16, 16)

    def gradients() -> Iterator[Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            module(images).float().square().sum().backward()
        return (parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None)

    plain = list(gradients())
    state = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    with sharpened(module, 0.05):
        sharp = list(gradients())
    assert all(torch.equal(tensor, state[key]) for key, tensor in module.state_dict().items())
    assert all(gradient.isfinite().all() for gradient in sharp)
    assert any(not torch.equal(a, b) for a, b in zip(plain, sharp, strict=True))


def test_a_flat_gradient_moves_nothing() -> None:
    module = Bowl()
    module.w.grad = torch.zeros(2)
    with sharpened(module, 0.5):
        assert torch.equal(module.w.detach(), torch.tensor([3.0, 1.0]))


def test_drop_path_rises_to_the_last_block(narrow: Narrow) -> None:
    network = two_inputs(narrow((2, 1, 1, 1)))
    last = network.stages[-1].blocks[-1].model_copy(update={"drop_path": 0.3})
    stages = (*network.stages[:-1], network.stages[-1].model_copy(update={"blocks": (last,)}))
    module = compose(network.model_copy(update={"stages": stages})).train()

    def rates() -> dict[str, float]:
        blocks = {name: part for name, part in module.named_modules() if isinstance(part, ResidualBlock)}
        return {
            name: block.drop_path.rate if isinstance(block.drop_path, StochasticDepth) else 0.0
            for name, block in blocks.items()
        }

    keys, said = list(module.state_dict()), rates()
    assert said["layer4.0"] == 0.3 and sum(said.values()) == 0.3
    set_drop_path(module, 0.5)
    rising = {"layer1.0": 0.1, "layer1.1": 0.2, "layer2.0": 0.3, "layer3.0": 0.4, "layer4.0": 0.5}
    both = rising | {f"second.{name}": rising[name] for name in ("layer1.0", "layer1.1", "layer2.0")}
    assert rates() == pytest.approx(both)
    assert list(module.state_dict()) == keys
    set_drop_path(module, 0.0)
    assert set(rates().values()) == {0.0}
    set_drop_path(module, None)
    assert rates() == said
