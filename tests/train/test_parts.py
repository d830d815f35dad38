"""The loss, the optimizer, the schedule and the average, each against what its formula says."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fit50.nn.compose import compose
from fit50.spec.blocks import SE
from fit50.spec.network import Network
from fit50.spec.training import SGD, AdamW, Teacher, Train
from fit50.train.losses import distillation, loss
from fit50.train.optim import averaged, optimizer, rate

Narrow = Callable[..., Network]
STUDENT = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
TEACHER = torch.tensor([[2.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
LABELS = torch.tensor([1, 0])


def log_softmax(row: Tensor) -> list[float]:
    values = [float(value) for value in row]
    total = math.log(sum(math.exp(value) for value in values))
    return [value - total for value in values]


def divergence(temperature: float) -> float:
    """T^2 * KL(teacher || student), summed by hand."""
    total = 0.0
    for student, teacher in zip(STUDENT / temperature, TEACHER / temperature, strict=True):
        pairs = zip(log_softmax(student), log_softmax(teacher), strict=True)
        total += sum(math.exp(taught) * (taught - said) for said, taught in pairs)
    return temperature**2 * total / len(STUDENT)


def cross_entropy(smoothing: float) -> float:
    total = 0.0
    for row, label in zip(STUDENT, LABELS, strict=True):
        logs = log_softmax(row)
        total -= (1 - smoothing) * logs[int(label)] + smoothing * sum(logs) / len(logs)
    return total / len(STUDENT)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_distillation_is_the_divergence_summed_by_hand(temperature: float) -> None:
    assert float(distillation(STUDENT, TEACHER, temperature)) == pytest.approx(divergence(temperature), rel=1e-5)
    assert float(distillation(TEACHER, TEACHER, temperature)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_labels_are_smoothed(smoothing: float) -> None:
    step = Train(label_smoothing=smoothing)
    assert float(loss(step, STUDENT, LABELS, None)) == pytest.approx(cross_entropy(smoothing), rel=1e-5)


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_the_teachers_part_is_weighted(weight: float) -> None:
    step = Train(label_smoothing=0.2, teacher=Teacher(after=1, temperature=3, weight=weight))
    expected = (1 - weight) * cross_entropy(0.2) + weight * divergence(3.0)
    assert float(loss(step, STUDENT, LABELS, TEACHER)) == pytest.approx(expected, rel=1e-5)


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
    assert rate(position, warmup) == pytest.approx(factor, abs=1e-12)


@pytest.mark.parametrize("value", [SGD(weight_decay=0.01), AdamW(weight_decay=0.01)])
def test_norms_and_biases_do_not_decay(value: SGD | AdamW, narrow: Narrow) -> None:
    module = compose(narrow((1, 1), attention=SE(reduction=4)))
    decays = {p: group["weight_decay"] for group in optimizer(module, value).param_groups for p in group["params"]}
    kinds = {name: type(part) for name, part in module.named_modules()}
    for name, parameter in module.named_parameters():
        owner, leaf = name.rsplit(".", 1)
        spared = kinds[owner] is nn.BatchNorm2d or leaf == "bias"
        assert decays.pop(parameter) == (0.0 if spared else 0.01), name
    assert not decays


def test_decay_shrinks_what_gets_no_gradient(narrow: Narrow) -> None:
    module = compose(narrow((1,)))
    optim = optimizer(module, SGD(lr=0.5, momentum=0, weight_decay=0.2))
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optim.step()
    torch.testing.assert_close(module.fc.weight.detach(), before["fc.weight"] * 0.9)
    assert torch.equal(module.bn1.weight, before["bn1.weight"])


@pytest.mark.parametrize(
    "value", [SGD(lr=0.3, momentum=0.8, nesterov=False), SGD(lr=0.3, momentum=0), AdamW(betas=(0.5, 0.6))]
)
def test_the_optimizer_has_the_values_settings(value: SGD | AdamW, narrow: Narrow) -> None:
    optim = optimizer(compose(narrow((1,))), value)
    settings = optim.defaults
    assert settings["lr"] == value.lr
    if isinstance(value, SGD):
        assert (settings["momentum"], settings["nesterov"]) == (value.momentum, False)
    else:
        assert settings["betas"] == (0.5, 0.6)


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
