"""Activations."""

from __future__ import annotations

from typing import assert_never

import torch
from torch import Tensor, nn

from fit50.spec.blocks import ReLU
from fit50.spec.blocks import Swish as SwishValue


class Swish(nn.Module):
    """x * sigmoid(beta * x) with another beta than 1, or one that changes (Ramachandran et al. 2017)."""

    def __init__(self, value: SwishValue) -> None:
        super().__init__()
        self.start, self.end = value.start or value.beta, value.beta
        self.beta: float | Tensor = nn.Parameter(torch.tensor(value.beta)) if value.learned else self.start

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.beta * x).sigmoid()


def activation(value: ReLU | SwishValue) -> nn.Module:
    """The module of an activation; it may change its input in place."""
    match value:
        case ReLU():
            return nn.ReLU(inplace=True)
        case SwishValue(beta=1.0, learned=False, start=None):
            return nn.SiLU(inplace=True)
        case SwishValue():
            return Swish(value)
        case _:
            assert_never(value)


def anneal(module: nn.Module, progress: float) -> None:
    """Takes every Swish that has a ``start`` on its way: 1 / beta^2, by which its mean differs from ReLU's, is linear.

    Args:
        module: whose activations to change.
        progress: 0 is the start; from 1 on, beta is at its end.
    """
    for part in module.modules():
        if isinstance(part, Swish) and part.start != part.end:
            t = min(1.0, progress)
            part.beta = ((1 - t) / part.start**2 + t / part.end**2) ** -0.5
