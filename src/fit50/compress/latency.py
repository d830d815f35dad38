"""The latency of a network's convolutions at any widths, from a table of measured ones."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fit50.compress.convolutions import Convolution
from fit50.compress.knapsack import Price
from fit50.runtimes.layers import Layer, layer_times
from fit50.spec.machine import environment
from fit50.spec.monitor import Monitor
from fit50.spec.numerics import Precision

_FRACTIONS = (1 / 8, 1 / 4, 1 / 2, 1)
_Points = tuple[int, ...]


class _Kind(NamedTuple):
    """What convolutions have in common that differ in their widths alone; the channels of each group, 0 where dense."""

    kernel: int
    stride: int
    height: int
    width: int
    inputs: int
    outputs: int

    @classmethod
    def of(cls, layer: Layer) -> tuple[_Kind, int, int]:
        """A layer's kind, and its widths on either side: of a grouped one, the number of groups and 1."""
        if layer.groups > 1:
            return cls.grouped(layer), layer.groups, 1
        return cls(layer.kernel, layer.stride, layer.height, layer.width, 0, 0), layer.inputs, layer.outputs

    @classmethod
    def grouped(cls, layer: Layer) -> _Kind:
        """A layer's kind as one of groups, of which there may be a single one left."""
        shape = layer.kernel, layer.stride, layer.height, layer.width
        return cls(*shape, layer.inputs // layer.groups, layer.outputs // layer.groups)

    def layer(self, one: int, other: int) -> Layer:
        """The layer of this kind with these widths."""
        shape = self.kernel, self.stride, self.height, self.width
        if self.inputs == 0:
            return Layer(one, other, *shape)
        return Layer(self.inputs * one, self.outputs * one, *shape, groups=one)


def latency_price(
    convolutions: Iterable[Convolution],
    multiple: int,
    runtime: str,
    precision: Precision,
    threads: int,
    monitor: Monitor | None = None,
) -> Price:
    """The milliseconds of these convolutions at any narrower widths.

    Each kind of convolution is timed at an eighth, a quarter, half and all of the channels on either side (rounded up
    to ``multiple``), and interpolated bilinearly in between, which is exact for a fixed cost, one for each channel that
    is read or written, and one for each product of the two. The times are kept for this machine in
    ``$FIT50_CACHE/latency``, by default below ``~/.cache/fit50``.
    """
    most: dict[_Kind, tuple[int, int]] = {}
    for each in convolutions:
        kind, one, other = _Kind.of(each.layer)
        before = most.get(kind, (0, 0))
        most[kind] = max(before[0], one), max(before[1], other)
    axes = {
        kind: (_points(one, 1 if kind.inputs else multiple), _points(other, multiple))
        for kind, (one, other) in most.items()
    }
    wanted = [kind.layer(one, other) for kind, (ones, others) in axes.items() for one in ones for other in others]
    kept = _table(runtime, precision, threads)
    times = layer_times(wanted, runtime, precision, threads, kept=kept, monitor=monitor)
    tables = {}
    for kind, (ones, others) in axes.items():
        table = np.array([[times[kind.layer(one, other)] for other in others] for one in ones])
        for axis in (0, 1):  # what measures as less time for more channels is noise
            table = np.maximum.accumulate(table, axis)
        tables[kind] = table

    @cache
    def price(layer: Layer) -> float:
        kind, *widths = _Kind.of(layer)
        if kind not in axes:
            kind, widths = _Kind.grouped(layer), [1, 1]
        (i, a), (j, b) = (_between(points, at) for points, at in zip(axes[kind], widths, strict=True))
        near = tables[kind][i : i + 2, j : j + 2]
        return max(0.0, float(np.array([1 - a, a][: len(near)]) @ near @ np.array([1 - b, b][: near.shape[1]])))

    return price


def _points(most: int, step: int) -> _Points:
    return tuple(sorted({min(most, -(-int(most * fraction) // step) * step or step) for fraction in _FRACTIONS}))


def _between(points: _Points, at: int) -> tuple[int, float]:
    """The place of the points on whose line a value lies, and how far it is along; (0, 0) where there is but one."""
    if len(points) == 1:
        return 0, 0.0
    i = min(max(bisect_right(points, at) - 1, 0), len(points) - 2)
    return i, (at - points[i]) / (points[i + 1] - points[i])


def _table(runtime: str, precision: Precision, threads: int) -> Path:
    """Where the times on this machine, of this version of the runtime, are kept."""
    facts = environment(threads)
    machine = repr((facts.processor, facts.isa, facts.versions.get(runtime)))
    folder = Path(os.environ.get("FIT50_CACHE", Path.home() / ".cache" / "fit50"))
    name = f"{runtime}-{precision}-{threads}-{sha256(machine.encode()).hexdigest()[:8]}.json"
    return folder / "latency" / name
