"""Images where a device reads them fastest."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fit50.data.images import Images
from fit50.data.split import Batch, Split, chunks

_SHARE = 0.5
"""Of a device's free memory, what images may take: the rest is for the network and its activations."""


@dataclass(frozen=True)
class Near:
    """A split for a GPU: read from the GPU's own memory, or through page-locked memory, from which copies overlap.

    Attributes:
        images: the split.
        pixels: for each input uint8 (N, H, W, C), on the device, or else in the host's memory.
        labels_there: class indices, int64 (N,), beside the pixels.
    """

    images: Images
    pixels: tuple[Tensor, ...]
    labels_there: Tensor

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, int64 (N,)."""
        return self.images.labels

    @property
    def names(self) -> tuple[str, ...]:
        """What the source calls the examples (N,)."""
        return self.images.names

    def __len__(self) -> int:
        return len(self.images)

    def order(self, generator: torch.Generator) -> NDArray[np.int64]:
        """All indices, shuffled as the images are; int64 (N,)."""
        return self.images.order(generator)

    def read(self, chunks: Iterable[NDArray[np.int64]]) -> Iterator[Batch]:
        """One batch for each chunk of indices, in order: on the device, or in page-locked memory."""
        for chosen in chunks:
            indices = torch.from_numpy(chosen).to(self.labels_there.device, non_blocking=True)
            yield Batch(tuple(_taken(each, indices) for each in self.pixels), _taken(self.labels_there, indices))

    def batches(self, size: int) -> Iterator[Batch]:
        """The whole split in order; the last batch may have fewer than ``size`` images. Raises DataError."""
        return self.read(chunks(len(self), size))

    def take(self, n: int, seed: int) -> Images:
        """At most ``n`` examples in the host's memory."""
        return self.images.take(n, seed)


def _taken(values: Tensor, indices: Tensor) -> Tensor:
    """The rows at the indices; in page-locked memory if they are the host's and a GPU waits for them."""
    pinned = not values.is_cuda and torch.cuda.is_available()
    rows = torch.empty((len(indices), *values.shape[1:]), dtype=values.dtype, device=values.device, pin_memory=pinned)
    return torch.index_select(values, 0, indices, out=rows)


def nearest(split: Split, device: torch.device, free: int | None = None) -> Split:
    """The split as a GPU reads it fastest: in the GPU's memory if it takes at most half of what is free there.

    Larger ones stay in the host's memory, or mapped from the cache. On the CPU, and for streams, the split itself.

    Args:
        split: to be read by the device.
        device: the one that trains.
        free: bytes; by default what the GPU says.
    """
    if not isinstance(split, Images) or (device.type != "cuda" and free is None):
        return split
    room = _SHARE * (torch.cuda.mem_get_info(device)[0] if free is None else free)
    there = device if sum(each.nbytes for each in split.pixels) <= room else torch.device("cpu")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nor is it written to
        pixels = tuple(torch.from_numpy(np.asarray(each)).to(there) for each in split.pixels)
    return Near(split, pixels, torch.from_numpy(split.labels).to(there))
