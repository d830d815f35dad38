"""A data set: what training, pruning, quantisation and evaluation read from."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

import numpy as np

from fit50.data.audit import Audit
from fit50.data.cache import Progress, decode_all, example_bytes, open_arrays, shape, write_arrays
from fit50.data.decode import image_size
from fit50.data.embedded import EMBEDDED, unpack
from fit50.data.facts import recall, remember
from fit50.data.images import Images
from fit50.data.opening import open_source
from fit50.data.plan import Plan, geometry, index_name, plan
from fit50.data.sources.base import Source, passing, shuffled_places
from fit50.data.sources.folder import FolderSource
from fit50.data.split import Split
from fit50.data.stream import Stream
from fit50.spec.errors import DataError
from fit50.spec.files import storage_errors
from fit50.spec.network import Input
from fit50.spec.value import suggestion


@dataclass(frozen=True)
class Dataset:
    """Examples with one class each.

    Attributes:
        classes: the names, sorted; a label is an index into them.
        splits: ``train``, ``val`` and ``test``.
        audit: what was found in the source.
        identity: SHA-256 of the images' contents, labels and splits, and the size and crop they are fitted to.
        inputs: what the images are fitted to; None of arrays made by hand.
        again: opens the same source for other inputs; None likewise.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    audit: Audit
    identity: str
    inputs: tuple[Input, ...] | None = None
    again: Callable[[tuple[Input, ...]], Dataset] | None = None

    def split(self, name: str) -> Split:
        """``train``, ``val`` or ``test``. Raises DataError for another name."""
        if name not in self.splits:
            raise DataError(f"unknown split {name!r}{suggestion(name, self.splits)}")
        return self.splits[name]

    def fitted(self, inputs: tuple[Input, ...]) -> Dataset:
        """The same examples, in the same splits and order, fitted to these inputs; each size is opened once.

        Raises DataError where the images were made by hand in other sizes, or where some can be fitted to one size and
        not to the other, and as ``open_dataset`` does.
        """
        if self.inputs is None or self.again is None:
            _refuse_other_shapes(next(iter(self.splits.values())), inputs)
            return self
        if geometry(inputs) == geometry(self.inputs):
            return self
        other = self.again(inputs)
        for name, split in self.splits.items():
            if differing := sorted({*split.names} ^ {*other.splits[name].names}):
                raise DataError(
                    f"{name}: expected the same images at every size, found that {differing[0]} is there at one only "
                    f"({len(differing)} such); remove what the audit sets aside, and images that were just added"
                )
        return other


def open_dataset(
    data: str | Path,
    inputs: tuple[Input, ...],
    *,
    cache: Path,
    pair: str | Path | None = None,
    record: Path | None = None,
    seed: int = 0,
    memory_budget: int = 4 * 2**30,
    disk_budget: int | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Opens images, decoding them unless the cache has what the same files gave before.

    Those that the disk has no room for once they are decoded become a ``Stream``; they are still all decoded once, for
    the audit and the splits. A stream's order is that of the same images on a larger disk; large JPEGs that it trains
    on are scaled by their decoder and hence differ by little from what the cache would hold.

    Args:
        data: a folder (``root/{train,val,test}/<class>/*`` or ``root/<class>/*``), or what else ``open_source`` takes.
        inputs: what the images of every example are fitted to.
        cache: the folder for decoded images.
        pair: a second folder, for a network of two inputs.
        record: a file that keeps the splits: followed if it exists, else written.
        seed: decides the splits that the user did not make.
        memory_budget: in bytes, for each size; larger arrays are memory-mapped.
        disk_budget: in bytes; by default 80 % of what is free below ``cache``. Decoded images need twice their size
            while they are written.
        progress: told how many examples of how many are decoded.

    Raises:
        DataError: the source, its classes, its splits or the record cannot be used, or its examples have another
            number of images than there are inputs.
        MissingExtraError: the package that reads the source is not installed.
        NotBuiltError: an input has neither one nor three channels.
        StorageError: the cache cannot be written, or the disk is full.
    """
    source = open_source(data, cache=cache, pair=pair)

    @functools.cache
    def fitted(inputs: tuple[Input, ...]) -> Dataset:
        found = _fitted(source, inputs, cache, record, seed, memory_budget, disk_budget, progress)
        return replace(found, inputs=inputs, again=fitted)

    return fitted(inputs)


def _fitted(
    source: Source,
    inputs: tuple[Input, ...],
    cache: Path,
    record: Path | None,
    seed: int,
    memory_budget: int,
    disk_budget: int | None,
    progress: Progress | None,
) -> Dataset:
    """A source's images fitted to these inputs, from the cache or decoded."""
    _refuse_other_inputs(source, inputs)
    index = cache / "index" / index_name(source.location, inputs)
    facts = recall(index, passing(source, np.arange(len(source.items))))
    planned = None if facts is None else plan(source, facts, inputs, record, seed)
    if planned and (dataset := _resident(source, planned, inputs, cache, memory_budget)):
        return dataset
    if 2 * len(source.items) * example_bytes(inputs) > _room(cache, disk_budget):
        if planned is None:
            facts = decode_all(source, inputs, progress=progress)
            planned = plan(source, facts, inputs, record, seed)
            remember(index, source, facts)
        return _streamed(source, planned, inputs)
    with storage_errors(cache), ExitStack() as files:
        rows = [files.enter_context(TemporaryFile(dir=cache)) for _ in inputs]
        facts = decode_all(source, inputs, rows, progress)
        planned = plan(source, facts, inputs, record, seed)
        write_arrays(cache / planned.identity, rows, inputs, planned.places)
    remember(index, source, facts)
    written = _resident(source, planned, inputs, cache, memory_budget)
    assert written is not None, "arrays that were just written"
    return written


def _room(cache: Path, disk_budget: int | None) -> float:
    """The bytes that decoded images may take below ``cache``, which exists afterwards. Raises StorageError."""
    with storage_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
        return 0.8 * shutil.disk_usage(cache).free if disk_budget is None else disk_budget


def _refuse_other_shapes(split: Split, inputs: tuple[Input, ...]) -> None:
    found, wanted = [each.shape[1:] for each in split.take(1, 0).pixels], [shape(input) for input in inputs]
    if found != wanted:
        raise DataError(
            f"images made by hand: expected {wanted} (height, width, channels) for each input, found {found}; "
            "only what open_dataset opens can be fitted to another size"
        )


def _refuse_other_inputs(source: Source, inputs: tuple[Input, ...]) -> None:
    if source.inputs == len(inputs):
        return
    names = " and ".join(input.name for input in inputs)
    remedy = (
        "give a second folder (--pair), or a manifest with the column path2"
        if source.inputs < len(inputs)
        else "take a network of two inputs, or the images of one"
    )
    raise DataError(
        f"{source.location}: expected an image for each input of the network ({names}), "
        f"found {source.inputs} in each example; {remedy}"
    )


def _resident(
    source: Source, planned: Plan, inputs: tuple[Input, ...], cache: Path, memory_budget: int
) -> Dataset | None:
    """The data set as the cache has it, if it has."""
    counts = {split: len(places) for split, places in planned.places.items()}
    arrays = open_arrays(cache / planned.identity, inputs, counts, memory_budget)
    if arrays is None:
        return None
    splits = {}
    for split, places in planned.places.items():
        indices = planned.usable[places]
        items = [source.items[index] for index in indices]
        labels = np.array([item.label for item in items], np.int64)
        shuffle = partial(shuffled_places, source, indices)
        splits[split] = Images(arrays[split], labels, tuple(item.name for item in items), shuffle)
    return Dataset(source.classes, splits, planned.audit, planned.identity)


def _streamed(source: Source, planned: Plan, inputs: tuple[Input, ...]) -> Dataset:
    splits = {
        split: Stream(source, planned.usable[places], inputs, scaled=split == "train")
        for split, places in planned.places.items()
    }
    return Dataset(source.classes, splits, planned.audit, planned.identity)


@dataclass(frozen=True)
class Peek:
    """A first look at a data set.

    Attributes:
        classes: the names, sorted.
        sizes: the median height and the median width of some of the images (the first of several), in pixels.
        count: all examples.
    """

    classes: tuple[str, ...]
    sizes: tuple[int, int]
    count: int


def peek(data: str | Path, pair: str | Path | None = None, *, cache: Path | None = None) -> Peek:
    """Looks at the list of examples and the headers of at most 200 images, to choose an input size by.

    Args:
        data: as ``open_dataset`` takes it.
        pair: likewise.
        cache: the folder where lists of what shards hold are kept; by default they are made for this look alone.

    Raises:
        DataError: as ``open_dataset`` does for the source, or if none of the headers can be read.
        MissingExtraError: the package that reads the source is not installed.
        StorageError: the cache cannot be written.
    """
    if cache is None:
        with TemporaryDirectory() as folder:
            if data == EMBEDDED and pair is None:
                return _peek(FolderSource.open(unpack(Path(folder))))
            return _peek(open_source(data, cache=Path(folder), pair=pair))
    return _peek(open_source(data, cache=cache, pair=pair))


def _peek(source: Source) -> Peek:
    some = range(0, len(source.items), -(-len(source.items) // 200))
    with ThreadPoolExecutor() as pool:
        sizes = [size for size in pool.map(lambda index: _size(source, index), some) if size is not None]
    if not sizes:
        first = source.items[some[0]].name
        raise DataError(f"{source.location}: expected images, found {len(some)} files that are none, such as {first}")
    height, width = np.median(np.array(sizes), axis=0)
    return Peek(source.classes, (int(height), int(width)), len(source.items))


def _size(source: Source, index: int) -> tuple[int, int] | None:
    try:
        return image_size(source.read(index), source.items[index].name)
    except DataError:
        return None
