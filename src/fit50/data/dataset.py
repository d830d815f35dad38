"""A data set, decoded and resident: what training, pruning, quantisation and evaluation read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fit50.data.audit import Audit
from fit50.data.cache import Progress, decode_all, open_arrays, write_arrays
from fit50.data.decode import Pixels, image_size, read_bytes
from fit50.data.embedded import EMBEDDED, embedded_root, unpack
from fit50.data.facts import recall, remember
from fit50.data.plan import Plan, index_name, plan
from fit50.data.sources.folder import FolderSource
from fit50.spec.errors import DataError
from fit50.spec.files import storage_errors
from fit50.spec.network import Input
from fit50.spec.value import suggestion


class Batch(NamedTuple):
    """Images, uint8 (N, H, W, C), and their class indices, int64 (N,), on the CPU."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Images:
    """One split.

    Attributes:
        images: uint8 (N, H, W, C), in memory or mapped from the cache to be read only.
        labels: class indices, int64 (N,).
        paths: the files (N,).
    """

    images: Pixels
    labels: NDArray[np.int64]
    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, generator: torch.Generator | None = None, drop_last: bool = False) -> Iterator[Batch]:
        """Goes through the split once, shuffled by the generator if there is one, else in order.

        Args:
            size: images in a batch; the last batch may have fewer.
            generator: decides the order.
            drop_last: leaves out a last batch of fewer images.
        """
        if size < 1:
            raise DataError(f"batches: expected a size of at least 1, found {size}")
        end = len(self) - len(self) % size if drop_last else len(self)
        order = _shuffled(len(self), generator) if generator else np.arange(len(self))
        for start in range(0, end, size):
            chosen = order[start : min(start + size, end)]
            yield Batch(torch.from_numpy(np.asarray(self.images[chosen])), torch.from_numpy(self.labels[chosen]))

    def take(self, n: int, seed: int) -> Images:
        """At most ``n`` images, drawn by the seed, in an order of which every beginning is stratified.

        Each class comes once before any comes twice as far through its images as another.
        """
        random = np.random.default_rng(seed)
        progress = np.empty(len(self))
        for label in np.unique(self.labels):
            members = np.flatnonzero(self.labels == label)
            progress[random.permutation(members)] = np.arange(len(members)) / len(members)
        chosen = np.lexsort((self.labels, progress))[: max(n, 0)]
        return Images(np.asarray(self.images[chosen]), self.labels[chosen], tuple(self.paths[i] for i in chosen))


def _shuffled(n: int, generator: torch.Generator) -> NDArray[np.int64]:
    order: NDArray[np.int64] = torch.randperm(n, generator=generator, device=generator.device).cpu().numpy()
    return order


@dataclass(frozen=True)
class Dataset:
    """Images with one class each.

    Attributes:
        classes: the names, sorted; a label is an index into them.
        splits: ``train``, ``val`` and ``test``.
        audit: what was found on disk.
        identity: SHA-256 of the files' contents, labels and splits, and the size and crop they were fitted to.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Images]
    audit: Audit
    identity: str

    def split(self, name: str) -> Images:
        """``train``, ``val`` or ``test``. Raises DataError for another name."""
        if name not in self.splits:
            raise DataError(f"unknown split {name!r}{suggestion(name, self.splits)}")
        return self.splits[name]


def open_dataset(
    data: str | Path,
    input: Input,
    *,
    cache: Path,
    record: Path | None = None,
    seed: int = 0,
    memory_budget: int = 4 * 2**30,
    progress: Progress | None = None,
) -> Dataset:
    """Opens images, decoding them unless the cache has what the same files gave before.

    Args:
        data: a folder (``root/{train,val,test}/<class>/*`` or ``root/<class>/*``), or the name ``fashion-mini``.
        input: what every image is fitted to.
        cache: the folder for decoded images.
        record: a file that keeps the splits: followed if it exists, else written.
        seed: decides the splits that the user did not make.
        memory_budget: in bytes; larger arrays are memory-mapped.
        progress: told how many files of how many are decoded.

    Raises:
        DataError: the folder, its classes, its splits or the record cannot be used.
        NotBuiltError: the input has neither one nor three channels.
        StorageError: the cache cannot be written, or the disk is full.
    """
    source = FolderSource.open(embedded_root(cache) if data == EMBEDDED else Path(data))
    paths = [item.path for item in source.items]
    index = cache / "index" / index_name(source.root, input)
    facts = recall(index, paths)
    if facts is not None:
        planned = plan(source, facts, input, record, seed)
        arrays = open_arrays(cache / planned.identity, _shapes(planned, input), memory_budget)
        if arrays is not None:
            return _dataset(source, planned, arrays)
    with storage_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=cache) as rows:
            facts = decode_all(paths, input, rows, progress)
            planned = plan(source, facts, input, record, seed)
            write_arrays(cache / planned.identity, rows, _shape(input), planned.places)
    remember(index, facts)
    arrays = open_arrays(cache / planned.identity, _shapes(planned, input), memory_budget)
    assert arrays is not None, "arrays that were just written"
    return _dataset(source, planned, arrays)


def _shape(input: Input) -> tuple[int, int, int]:
    return input.height, input.width, input.channels


def _shapes(planned: Plan, input: Input) -> dict[str, tuple[int, ...]]:
    return {split: (len(places), *_shape(input)) for split, places in planned.places.items()}


def _dataset(source: FolderSource, planned: Plan, arrays: Mapping[str, Pixels]) -> Dataset:
    splits = {}
    for split, places in planned.places.items():
        items = [planned.items[place] for place in places]
        labels = np.array([item.label for item in items], np.int64)
        splits[split] = Images(arrays[split], labels, tuple(item.path for item in items))
    return Dataset(source.classes, splits, planned.audit, planned.identity)


@dataclass(frozen=True)
class Peek:
    """A first look at a data set.

    Attributes:
        classes: the names, sorted.
        sizes: the median height and the median width of some of the images, in pixels.
        count: all image files.
    """

    classes: tuple[str, ...]
    sizes: tuple[int, int]
    count: int


def peek(data: str | Path) -> Peek:
    """Looks at the folders and the headers of at most 200 images, to choose an input size by.

    Raises:
        DataError: as ``open_dataset`` does for the folder, or if none of the headers can be read.
    """
    if data != EMBEDDED:
        return _peek(FolderSource.open(Path(data)))
    with TemporaryDirectory() as folder:
        return _peek(FolderSource.open(unpack(Path(folder))))


def _peek(source: FolderSource) -> Peek:
    some = source.items[:: -(-len(source.items) // 200)]
    sizes = [size for item in some if (size := _size(item.path)) is not None]
    if not sizes:
        raise DataError(
            f"{source.root}: expected images, found {len(some)} files that are none, such as {some[0].path}"
        )
    height, width = np.median(np.array(sizes), axis=0)
    return Peek(source.classes, (int(height), int(width)), len(source.items))


def _size(path: Path) -> tuple[int, int] | None:
    try:
        return image_size(read_bytes(path), str(path))
    except DataError:
        return None
