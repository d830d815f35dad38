"""The optimizer and its schedule, and what a training does to weights besides: averaging, freezing, sharpening."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, compress
from typing import assert_never

import torch
from torch import Tensor, nn, optim
from torch.optim.swa_utils import AveragedModel

from fit50.nn.blocks import ResidualBlock, StochasticDepth
from fit50.nn.resnet import ResNet
from fit50.spec.network import Network
from fit50.spec.training import LAMB, SGD, AdamW, Cosine, Steps, Train

HEAD = ("neck", "fc_neck", "dropout", "fc")
"""The parts of a network that follow its last stage."""


def optimizer(module: ResNet, step: Train, extra: Iterable[nn.Parameter] = ()) -> optim.Optimizer:
    """The optimizer, fused where torch can, with no decay on norms and biases (He et al. 2019, "Bag of tricks").

    Each group has a ``scale``, by which its rate is multiplied: 1 for the head, and ``step.stage_decay`` once more for
    each stage before it. Groups go from the head to the stem, the decayed parameters of each depth first; what thaws
    later has groups of its own, for fused SGD takes a group's first step for all of it at once. LAMB's own limit on the
    gradient is off: ``step.clip`` is the same limit, on the norm over all parameters.

    Args:
        module: what learns.
        step: optimizer, its settings and the stage decay.
        extra: parameters beside the network's, such as a distillation's adapters; they learn as the head does.
    """
    value, decay = step.optimizer, step.stage_decay or 1.0
    deep = decay < 1 or step.frozen > 0
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in chain(module.named_parameters(), (("fc", parameter) for parameter in extra)):
        depth = _depth(name, module.network) if deep else 0
        groups.setdefault((depth, parameter.ndim <= 1), []).append(parameter)
    settings = [
        {"params": parameters, "weight_decay": 0.0 if spared else value.weight_decay, "scale": decay**depth}
        for (depth, spared), parameters in sorted(groups.items(), key=lambda group: group[0])
    ]
    match value:
        case SGD():
            nesterov = value.nesterov and value.momentum > 0
            return optim.SGD(settings, value.lr, momentum=value.momentum, nesterov=nesterov, fused=True)
        case AdamW():
            return optim.AdamW(settings, value.lr, betas=value.betas, fused=True)
        case LAMB():
            from timm.optim.lamb import Lamb  # loads every network of timm's

            return Lamb(settings, value.lr, betas=value.betas, max_grad_norm=None)
        case _:
            assert_never(value)


def _depth(name: str, network: Network) -> int:
    """How many stages lie between a parameter and the head: 0 in the head, 1 in the last stage, most in the stem."""
    part = name.removeprefix("second.").partition(".")[0]
    if part in HEAD:
        return 0
    stages = [stage.name for stage in reversed(network.stages)]
    if part == "fusion" and network.fused is not None:
        part = network.fused
    return stages.index(part) + 1 if part in stages else len(stages) + 1


def rate(position: float, step: Train) -> float:
    """The factor on the learning rate at a position from 0 to 1 in the training: a linear rise, then the schedule."""
    warmup, schedule = step.warmup, step.schedule
    if position < warmup:
        return position / warmup
    match schedule:
        case Cosine():
            half = 0.5 * (1 + math.cos(math.pi * (position - warmup) / (1 - warmup)))
            return schedule.final + (1 - schedule.final) * half
        case Steps():
            return schedule.factor ** sum(position > at for at in schedule.at)
        case _:
            assert_never(schedule)


def frozen(position: float, step: Train) -> bool:
    """Whether only the head learns in the step that ends at this position."""
    return step.frozen > 0 and position <= step.frozen


def freeze(module: ResNet, frozen: bool) -> None:
    """Holds everything but the head still, its batch statistics and dropout included, or lets all of it learn.

    Parameters that are held have no gradient, and optimizers pass them over. To be repeated after ``module.train()``,
    which knows of no frozen parts.
    """
    for name, part in module.named_children():
        if name not in HEAD:
            part.requires_grad_(not frozen).train(module.training and not frozen)


class Average(AveragedModel):
    """torch's averaged model, but that an update of it never waits for the device."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__(module, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Takes in the weights and statistics of ``model`` as they are now."""
        count = int(self.n_averaged)
        decay = min(self.decay, (1 + count) / (10 + count)) if count else 0.0
        means, news = (list(chain(m.parameters(), m.buffers())) for m in (self.module, model))
        real = [mean.is_floating_point() for mean in means]
        torch._foreach_lerp_(list(compress(means, real)), list(compress(news, real)), 1 - decay)
        for mean, new in zip(means, news, strict=True):
            if not mean.is_floating_point():
                mean.copy_(new, non_blocking=True)
        self.n_averaged += 1


def averaged(module: nn.Module, decay: float) -> Average:
    """An exponential moving average of weights and batch statistics; its decay rises to ``decay`` at first.

    It is made where the module is; its count stays on the CPU.
    """
    return Average(module, decay)


@contextmanager
def sharpened(module: nn.Module, rho: float) -> Iterator[None]:
    """Inside, the weights w are w + rho * g / |g| for their gradients g (SAM, Foret et al. 2021), which are dropped.

    For a second pass over the same images, whose gradients are then the ones to step along. Afterwards weights and
    batch statistics are, to the bit, what they were.
    """
    moved: list[Tensor] = [*module.parameters(), *module.buffers()]
    kept = [tensor.detach().clone() for tensor in moved]
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    scale = rho / (nn.utils.get_total_norm(gradients) + 1e-12)
    del gradients
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.add_(parameter.grad * scale)
                parameter.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(moved, kept)


def set_drop_path(module: ResNet, rate: float | None) -> None:
    """Stochastic depth that rises linearly to ``rate`` at the last block (Huang et al. 2016), or the network's own.

    Args:
        module: whose blocks are changed; its state dict is not.
        rate: the chance that the last block's branch is left out; None for what the network says.
    """
    stages = module.network.stages
    said = {f"{stage.name}.{index}": block.drop_path for stage in stages for index, block in enumerate(stage.blocks)}
    rising = {name: (rate or 0.0) * (index + 1) / len(said) for index, name in enumerate(said)}
    rates = said if rate is None else rising
    for name, block in module.named_modules():
        if isinstance(block, ResidualBlock):
            chance = rates[name.removeprefix("second.")]
            block.drop_path = StochasticDepth(chance).train(block.training) if chance else nn.Identity()
