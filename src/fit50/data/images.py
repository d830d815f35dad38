"""A split that is decoded: arrays in memory, or mapped from the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fit50.data.decode import Pixels
from fit50.data.sources.base import shuffled
from fit50.data.split import Batch, chunks, stratified


@dataclass(frozen=True)
class Images:
    """One split, as arrays.

    Attributes:
        pixels: for each input uint8 (N, H, W, C), in memory or mapped from the cache to be read only.
        labels: class indices, int64 (N,).
        names: what the source calls the examples (N,).
        shuffle: all indices in random order; that of the source, so that a training sees the same images in each step
            wherever these are resident and wherever they are streamed. By default any order.
    """

    pixels: tuple[Pixels, ...]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    shuffle: Callable[[torch.Generator], NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def order(self, generator: torch.Generator) -> NDArray[np.int64]:
        """All indices, shuffled by the generator; int64 (N,)."""
        return self.shuffle(generator) if self.shuffle else shuffled(np.arange(len(self)), generator)

    def read(self, chunks: Iterable[NDArray[np.int64]]) -> Iterator[Batch]:
        """One batch, a copy, for each chunk of indices, in order."""
        for chosen in chunks:
            images = tuple(torch.from_numpy(np.asarray(pixels[chosen])) for pixels in self.pixels)
            yield Batch(images, torch.from_numpy(self.labels[chosen]))

    def batches(self, size: int) -> Iterator[Batch]:
        """The whole split in order; the last batch may have fewer than ``size`` images. Raises DataError."""
        return self.read(chunks(len(self), size))

    def take(self, n: int, seed: int) -> Images:
        """At most ``n`` examples, drawn by the seed, in an order of which every beginning is stratified."""
        chosen = stratified(self.labels, n, seed)
        pixels = tuple(np.asarray(each[chosen]) for each in self.pixels)
        return Images(pixels, self.labels[chosen], tuple(self.names[i] for i in chosen))
