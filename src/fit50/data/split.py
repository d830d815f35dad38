"""What training, pruning, quantisation and evaluation read: the images of one split, wherever they lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fit50.spec.errors import DataError

if TYPE_CHECKING:
    from fit50.data.images import Images


class Batch(NamedTuple):
    """For each input its images, uint8 (N, H, W, C), and the class indices, int64 (N,), on the CPU."""

    images: tuple[Tensor, ...]
    labels: Tensor


class Split(Protocol):
    """Examples with one class each: resident (``Images``), or decoded whenever they are read (``Stream``)."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, int64 (N,)."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the source calls the examples (N,)."""

    def __len__(self) -> int:
        """N."""

    def order(self, generator: torch.Generator) -> NDArray[np.int64]:
        """All indices, shuffled such that reading in that order is fast; int64 (N,)."""

    def read(self, chunks: Iterable[NDArray[np.int64]]) -> Iterator[Batch]:
        """One batch for each chunk of indices, in order; may read ahead. A batch may be changed by its reader."""

    def batches(self, size: int) -> Iterator[Batch]:
        """The whole split in order; the last batch may have fewer than ``size`` images. Raises DataError."""

    def take(self, n: int, seed: int) -> Images:
        """At most ``n`` examples, resident, drawn by the seed in an order of which every beginning is stratified."""


def chunks(n: int, size: int) -> Iterator[NDArray[np.int64]]:
    """The indices below ``n`` in order, ``size`` at a time. Raises DataError for a size below 1."""
    if size < 1:
        raise DataError(f"batches: expected a size of at least 1, found {size}")
    for start in range(0, n, size):
        yield np.arange(start, min(start + size, n))


def stratified(labels: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """At most ``n`` indices into ``labels``, drawn by the seed, in an order of which every beginning is stratified.

    Each class comes once before any comes twice as far through its examples as another.
    """
    random = np.random.default_rng(seed)
    progress = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        progress[random.permutation(members)] = np.arange(len(members)) / len(members)
    order: NDArray[np.int64] = np.lexsort((labels, progress))[: max(n, 0)]
    return order
