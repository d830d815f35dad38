"""The optimizer, its schedule, and the averaged weights, all torch's own."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn, optim
from torch.optim.swa_utils import AveragedModel

from fit50.spec.training import SGD, AdamW

Tensors = tuple[Tensor, ...] | list[Tensor]


def optimizer(module: nn.Module, value: SGD | AdamW) -> optim.Optimizer:
    """Fused, with no decay on norms and biases (He et al. 2019, "Bag of tricks")."""
    decayed = [p for p in module.parameters() if p.ndim > 1]
    spared = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": value.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    match value:
        case SGD():
            nesterov = value.nesterov and value.momentum > 0
            return optim.SGD(groups, value.lr, momentum=value.momentum, nesterov=nesterov, fused=True)
        case AdamW():
            return optim.AdamW(groups, value.lr, betas=value.betas, fused=True)


def rate(position: float, warmup: float) -> float:
    """The factor on the learning rate at a position from 0 to 1 in the training: a linear rise, then half a cosine."""
    if position < warmup:
        return position / warmup
    return 0.5 * (1 + math.cos(math.pi * (position - warmup) / (1 - warmup)))


def averaged(module: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of weights and batch statistics; its decay rises to ``decay`` at first."""

    def average(means: Tensors, news: Tensors, count: Tensor | int) -> None:
        if means[0].is_floating_point():
            current = min(decay, (1 + float(count)) / (10 + float(count)))
            torch._foreach_lerp_(means, news, 1 - current)
        else:
            torch._foreach_copy_(means, news)

    return AveragedModel(module, multi_avg_fn=average, use_buffers=True)
