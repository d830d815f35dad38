"""Activations."""

from __future__ import annotations

from typing import assert_never

from torch import nn

from fit50.spec.errors import NotBuiltError
from fit50.spec.network import ReLU, Swish


def activation(value: ReLU | Swish) -> nn.Module:
    """The module of an activation; it changes its input in place. Raises NotBuiltError for a beta other than 1."""
    match value:
        case ReLU():
            return nn.ReLU(inplace=True)
        case Swish(beta=1.0, learned=False):
            return nn.SiLU(inplace=True)
        case Swish():
            raise NotBuiltError(
                "activation: Swish with a beta other than 1, or a learned one, is not built yet; use swish"
            )
        case _:
            assert_never(value)
