"""A split that is decoded whenever it is read: for images that fit neither memory nor disk."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fit50.data.decode import Pixels, covered_size, decode_image, fit_image
from fit50.data.images import Images
from fit50.data.sources.base import Source, passing, shuffled_places
from fit50.data.split import Batch, chunks, stratified
from fit50.spec.errors import DataError
from fit50.spec.network import Input

# Batches under way besides the one that is awaited: enough to ride over a slow read, bounded in memory.
_AHEAD = 3
# So many chunks, which may have one example each, say how the next one is read.
_LATEST = 32
# A sample of less than one in so many is read one by one, whatever lies between.
_SPARSE = 8


class _Pending(NamedTuple):
    """A batch whose rows threads are filling in."""

    pixels: tuple[Pixels, ...]
    labels: NDArray[np.int64]
    rows: list[Future[None]]


@dataclass(frozen=True)
class Stream:
    """One split of a source, of which only a few batches are decoded at a time, by threads that run ahead.

    Attributes:
        source: where the encoded images are.
        indices: the split's examples, as indices into ``source.items`` (N,).
        inputs: what each image of an example is fitted to.
        scaled: for training only: ``read`` lets the JPEG decoder scale down images that are much larger than the input,
            two to three times faster and with slightly other pixels. ``batches`` and ``take`` never do.
    """

    source: Source
    indices: NDArray[np.int64]
    inputs: tuple[Input, ...]
    scaled: bool = False

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, int64 (N,)."""
        return np.array([self.source.items[index].label for index in self.indices], np.int64)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What the source calls the examples (N,)."""
        return tuple(self.source.items[index].name for index in self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def order(self, generator: torch.Generator) -> NDArray[np.int64]:
        """All indices, shuffled such that the source reads quickly in that order; int64 (N,)."""
        return shuffled_places(self.source, self.indices, generator)

    def read(self, chunks: Iterable[NDArray[np.int64]]) -> Iterator[Batch]:
        """One batch for each chunk of indices, in order; a few are decoded ahead.

        Raises:
            DataError: an image can no longer be read or decoded.
        """
        return self._read(chunks, self.scaled)

    def batches(self, size: int) -> Iterator[Batch]:
        """The whole split in order; the last batch may have fewer than ``size`` images. Raises DataError."""
        return self._read(chunks(len(self), size), scaled=False)

    def take(self, n: int, seed: int) -> Images:
        """At most ``n`` examples, resident, drawn by the seed in an order of which every beginning is stratified."""
        chosen = stratified(self.labels, n, seed)
        place = np.argsort(np.argsort(self.indices[chosen]))  # of each in the order in which they lie
        (batch,) = self._read([chosen[np.argsort(place)]], scaled=False, sparse=_SPARSE * len(chosen) < len(self))
        pixels = tuple(images.numpy()[place] for images in batch.images)
        return Images(pixels, self.labels[chosen], tuple(self.names[i] for i in chosen))

    def _read(self, chunks: Iterable[NDArray[np.int64]], scaled: bool, sparse: bool = False) -> Iterator[Batch]:
        """Threads decode single images and never wait for the consumer, who may stop at any batch.

        Unless they are ``sparse``, the source is told which ones come, to read them together.
        """
        waiting = iter(chunks)
        pool = ThreadPoolExecutor(os.cpu_count(), "fit50-decode")
        try:
            latest = deque(islice(waiting, 1 + _AHEAD), _LATEST)
            pending = deque(self._begin(chosen, scaled, self._near(latest, sparse), pool) for chosen in latest)
            while pending:
                batch = pending.popleft()
                for row in batch.rows:
                    row.result()
                for chosen in islice(waiting, 1):
                    latest.append(chosen)
                    pending.append(self._begin(chosen, scaled, self._near(latest, sparse), pool))
                yield Batch(tuple(map(torch.from_numpy, batch.pixels)), torch.from_numpy(batch.labels))
        finally:
            pool.shutdown(cancel_futures=True)

    def _near(self, latest: Iterable[NDArray[np.int64]], sparse: bool) -> Source:
        """The source as chunks like the latest are read from it."""
        return self.source if sparse else passing(self.source, self.indices[np.concatenate([*latest])])

    def _begin(self, chosen: NDArray[np.int64], scaled: bool, source: Source, pool: ThreadPoolExecutor) -> _Pending:
        """Sets threads to fill a batch."""
        shapes = [(len(chosen), input.height, input.width, input.channels) for input in self.inputs]
        pixels = tuple(np.empty(shape, np.uint8) for shape in shapes)
        rows = [
            pool.submit(self._fill, images[row], self.indices[place], number, scaled, source)
            for row, place in enumerate(chosen)
            for number, images in enumerate(pixels)
        ]
        return _Pending(pixels, self.labels[chosen], rows)

    def _fill(self, row: Pixels, index: int, number: int, scaled: bool, source: Source) -> None:
        """Puts an example's image for one input into ``row``, uint8 (H, W, C)."""
        input = self.inputs[number]
        name = f"{self.source.location}/{self.source.items[index].name}"
        try:
            data = source.read(index, number)
            row[:] = fit_image(decode_image(data, name, least=covered_size(input) if scaled else None), input)
        except DataError as error:
            raise DataError(f"{error}; it was whole when the data were opened: restore it, or open them anew") from None
