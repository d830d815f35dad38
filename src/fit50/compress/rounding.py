"""Eight bits simulated in torch, at chosen places of a network, as the runtimes' int8 files compute.

Weights have a symmetric scale for each output channel (and 7 bits where 8-bit products saturate), activations an affine
one for the whole map, from the smallest to the largest value seen on calibration images (Krishnamoorthi 2018). The
runtimes fold batch norms into the convolutions before them; here they need not be folded, since a factor for each
output channel, of either sign, changes its scale and not one rounded weight. Rounded are the weights and inputs of all
convolutions and linear layers and both sides of every residual addition; the products of gates and the averages stay in
float.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fit50.nn.blocks import ResidualBlock
from fit50.spec.damage import Spread

Layer = nn.Conv1d | nn.Conv2d | nn.Linear
_SAMPLE = 4096  # values of each batch by which the 99.9th percentile is estimated
_LEAST = 1e-12  # a scale, where all is zero


class Place(NamedTuple):
    """Where an activation is rounded: what a module takes (``before``) or gives; with its weights, if it is a layer."""

    module: nn.Module
    before: bool
    name: str


def places(network: nn.Module) -> tuple[Place, ...]:
    """Where int8 rounds, in the modules' order. Places of one name are tried together."""
    found = []
    for name, part in network.named_modules():
        if isinstance(part, Layer):
            found.append(Place(part, True, name))
        elif isinstance(part, ResidualBlock):
            found += [Place(side, False, f"{name}.add") for side in (part.drop_path, part.downsample)]
    return tuple(found)


@dataclass
class Seen:
    """The values of one activation, in one of its calls, over all images."""

    low: float
    high: float
    channels: Tensor  # the largest absolute value of each (C,)
    sample: Tensor  # some of the absolute values

    @classmethod
    def of(cls, x: Tensor, generator: torch.Generator) -> Seen:
        """Of one batch (N, C, ...)."""
        drawn = torch.randint(x.numel(), (_SAMPLE,), generator=generator)
        channels = x.abs().amax((0, *range(2, x.ndim)))
        return cls(float(x.min()), float(x.max()), channels, x.flatten()[drawn].abs())

    def __or__(self, other: Seen) -> Seen:
        """Of both batches."""
        return Seen(
            min(self.low, other.low),
            max(self.high, other.high),
            torch.maximum(self.channels, other.channels),
            torch.cat((self.sample, other.sample)),
        )

    def rounded(self, x: Tensor) -> Tensor:
        """A map on the 256 steps of this range, which holds zero."""
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        scale = max((high - low) / 255, _LEAST)
        return torch.fake_quantize_per_tensor_affine(x, scale, round(-low / scale), 0, 255)

    def spread(self) -> Spread:
        """How they spread."""
        return _spread(self.channels, self.sample)


Ranges = Mapping[Place, list[Seen]]


def weight_spread(layer: Layer) -> Spread:
    """How a layer's weights spread, by output channel."""
    size = layer.weight.detach().abs()
    return _spread(size.flatten(1).amax(1), size.flatten())


def _spread(channels: Tensor, values: Tensor) -> Spread:
    alive = channels[channels > 0]
    largest = float(channels.max())
    usual = float(values.kthvalue(max(1, round(0.999 * len(values)))).values)
    return Spread(largest=largest, usual=usual, outliers=largest / float(alive.median()) if len(alive) else 1.0)


def observed(network: nn.Module, places: Iterable[Place], batches: Iterable[tuple[Tensor, ...]]) -> Ranges:
    """What is seen at these places while batches of images, each a tensor for each input, pass.

    There is one for each of a place's calls in a pass, since a part may serve two inputs. Places that no image passes
    are left out.
    """
    generator = torch.Generator().manual_seed(0)
    seen: dict[Place, list[Seen]] = {}

    def watch(calls: list[Seen], x: Tensor) -> None:
        calls.append(Seen.of(x, generator))

    for images in batches:
        now: dict[Place, list[Seen]] = {place: [] for place in places}
        with ExitStack() as hooks, torch.inference_mode():
            for place, calls in now.items():
                hooks.enter_context(_hook(place, partial(watch, calls)))
            network(*images)
        for place, calls in now.items():
            seen[place] = [a | b for a, b in zip(seen[place], calls, strict=True)] if place in seen else calls
    return {place: calls for place, calls in seen.items() if calls}


@contextmanager
def rounded(ranges: Ranges, names: Collection[str], weight_bits: int) -> Iterator[None]:
    """Within it, the places of these names compute in eight bits, their weights in ``weight_bits``."""
    with ExitStack() as undo:
        for place, calls in ranges.items():
            if place.name not in names:
                continue
            undo.enter_context(_hook(place, partial(_in_turns, cycle(calls))))
            if isinstance(place.module, Layer):
                weight = place.module.weight
                undo.callback(setattr, weight, "data", weight.data)
                weight.data = _rounded_weights(weight.data, weight_bits)
        yield


def _in_turns(calls: Iterator[Seen], x: Tensor) -> Tensor:
    """A map on the steps of the call whose turn it is."""
    return next(calls).rounded(x)


def _rounded_weights(weight: Tensor, bits: int) -> Tensor:
    """Weights (C, ...) on their steps, symmetric for each output channel."""
    most = 2 ** (bits - 1) - 1
    scale = (weight.flatten(1).abs().amax(1) / most).clamp_min(_LEAST)
    zeros = torch.zeros(len(scale), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -most, most)


def _hook(place: Place, change: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    """Lets ``change`` see, and replace where it gives something, what a place takes or gives."""
    if place.before:
        return place.module.register_forward_pre_hook(lambda _module, inputs: change(inputs[0]))
    return place.module.register_forward_hook(lambda _module, _inputs, x: change(x))
