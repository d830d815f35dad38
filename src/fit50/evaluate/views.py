"""A split seen otherwise: with corrupted images, or without one of its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fit50.data.split import Batch
from fit50.evaluate.corruptions import corrupt
from fit50.spec.evaluation import Corruption


class View(Protocol):
    """What is evaluated: a split, or one of the views below."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, int64 (N,)."""

    def batches(self, size: int) -> Iterator[Batch]:
        """All images in order; the last batch may have fewer than ``size``."""


@dataclass(frozen=True)
class Corrupted:
    """Every input's images corrupted, the same way in each pass and for each size of batch."""

    split: View
    corruption: Corruption
    severity: int
    seed: int = 0

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, int64 (N,)."""
        return self.split.labels

    def batches(self, size: int) -> Iterator[Batch]:
        """All images in order."""
        random: list[np.random.Generator] = []
        for images, labels in self.split.batches(size):
            random = random or [np.random.default_rng([self.seed, self.severity, i]) for i in range(len(images))]
            yield Batch(
                tuple(
                    torch.from_numpy(corrupt(pixels.numpy(), self.corruption, self.severity, generator))
                    for pixels, generator in zip(images, random, strict=True)
                ),
                labels,
            )


@dataclass(frozen=True)
class WithoutInput:
    """One input's images missing, which a network is told by zeros."""

    split: View
    input: int

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, int64 (N,)."""
        return self.split.labels

    def batches(self, size: int) -> Iterator[Batch]:
        """All images in order."""
        for images, labels in self.split.batches(size):
            yield Batch(tuple(torch.zeros_like(x) if i == self.input else x for i, x in enumerate(images)), labels)
