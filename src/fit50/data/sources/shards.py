"""WebDataset's tar shards, in a folder or on object storage: ``<key>.jpg`` beside ``<key>.cls`` or ``<key>.json``."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fit50.data.decode import image_suffixes
from fit50.data.sources.base import Item
from fit50.data.sources.storage import Held, Storage
from fit50.data.sources.tars import Entry, read_entries
from fit50.data.splits import SPLIT_NAMES
from fit50.spec.errors import DataError
from fit50.spec.files import write_text

# Shards whose examples are mixed with each other while they are read; they and one more are held in memory, whole.
WINDOW = 4
# So many examples say whether a pass goes through few shards at a time.
_LOOK = 32

# Part of the name of every list of entries that is kept; raised when the same tar gives other entries than before.
_RULE = "fit50 shards 2"


def is_shards(location: str) -> bool:
    """Whether a data set's location is one of tar shards, by its form or by what lies in the folder."""
    if "://" in location or location.endswith(".tar"):
        return True
    folder = Path(location)
    if not folder.is_dir():
        return False
    folders = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    if any(path for place in folders if place.name.lower() in SPLIT_NAMES for path in place.glob("*.tar")):
        return True
    return any(folder.glob("*.tar")) and not any(map(_has_images, folders))


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in image_suffixes() for path in folder.rglob("*"))


class _Found(NamedTuple):
    """An entry, and the shard that holds it."""

    shard: str
    entry: Entry

    @property
    def name(self) -> str:
        return f"{self.shard}/{self.entry.key}"


@dataclass(frozen=True, eq=False)
class ShardSource:
    """Examples in tar shards, sorted by shard and then as they lie in it.

    Shards should be mixed when they are written, as is usual: when they are read, only those within a window of a few
    are mixed with each other.

    Attributes:
        location: the folder of the shards, or its address.
        inputs: 1 for ``<key>.<format>``; else one for each ``<key>.<name>.<format>``, sorted by name.
        classes: sorted. Labels that are indices count in ``classes.txt`` or ``classes.json`` beside the shards (a list
            of names); without it they are names themselves, and ``01`` is another than ``1``.
        items: named ``<shard>/<key>``. Their split is the first word of the shard's path that says one, as in
            ``train/0001.tar`` or ``cats-val-0001.tar``.
        others: keys that are no example.
        spans: the offset and the size of each image in its shard, in bytes, int64 (N, inputs, 2).
        shards: the shards, sorted.
        stamps: a number for each shard that changes with it.
        places: the index of each example's shard, int64 (N,).
        part: reads the bytes of a shard from one place to before another.
        held: reads a shard whole, or gives it from memory.
        whole: whether ``read`` goes through ``held``; otherwise it reads the image's bytes alone.
    """

    location: str
    inputs: int
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    others: tuple[tuple[str, str], ...]
    spans: NDArray[np.int64]
    shards: tuple[str, ...]
    stamps: tuple[int, ...]
    places: NDArray[np.int64]
    part: Callable[[str, int, int], bytes]
    held: Held
    whole: bool = False

    @classmethod
    def open(cls, location: str, cache: Path) -> ShardSource:
        """Lists the examples. What lies in each shard is kept below ``cache``, and looked up anew when it has changed.

        Args:
            location: a folder, or a pattern such as ``shards/train-{0000..0012}.tar``; either may be an address that
                fsspec knows, such as ``s3://bucket/shards``. Storage that does not list its files needs a pattern.
            cache: the folder for what is kept.

        Raises:
            DataError: a shard cannot be read, or the examples, labels and splits do not fit together.
            MissingExtraError: fsspec is not installed.
            StorageError: the cache cannot be written.
        """
        storage = Storage.find(location)
        with ThreadPoolExecutor(WINDOW) as pool:
            listed = list(pool.map(lambda name: _entries(storage, name, cache / "shards"), storage.names))
        found = [
            _Found(shard, entry) for shard, (_, entries) in zip(storage.names, listed, strict=True) for entry in entries
        ]
        columns = _columns(found)
        faults = {each.name: fault for each in found if (fault := _fault(each.entry, columns))}
        good = [each for each in found if each.name not in faults]
        if not good:
            such = next((f"such as {name}: {fault}" for name, fault in faults.items()), "not one file")
            raise DataError(
                f"{location}: expected <key>.jpg (or another image) with <key>.cls (or .json), found none, {such}"
            )
        classes, labels = _labels(good, storage)
        splits = _splits(location, storage.names)
        numbers = {shard: number for number, shard in enumerate(storage.names)}
        return cls(
            location=storage.location,
            inputs=len(columns),
            classes=classes,
            items=tuple(Item(each.name, label, splits[each.shard]) for each, label in zip(good, labels, strict=True)),
            others=tuple(faults.items()),
            spans=np.array([[each.entry.images[column] for column in columns] for each in good], np.int64),
            shards=storage.names,
            stamps=tuple(stamp for stamp, _ in listed),
            places=np.array([numbers[each.shard] for each in good], np.int64),
            part=storage.read,
            held=Held(storage.read, WINDOW + 1),
        )

    def read(self, index: int, input: int = 0) -> bytes:
        """An image, read alone, or out of its whole shard. Raises DataError."""
        offset, size = self.spans[index, input].tolist()
        shard, end = self.shards[self.places[index]], offset + size
        data = self.held(shard)[offset:end] if self.whole else self.part(shard, offset, end)
        if len(data) != size:
            raise DataError(
                f"{self.location}/{self.items[index].name}: expected {size:,} bytes, found {len(data):,}; "
                f"the shard has changed, or its server sends no parts: restore it, or open the data anew"
            )
        return data

    def passing(self, indices: NDArray[np.int64]) -> ShardSource:
        """Reads whole shards where the latest examples lie in so few that all are held; otherwise each image alone.

        So ``order`` and reading in order fetch each shard about once, and examples drawn at random fetch none.
        """
        return replace(self, whole=len(np.unique(self.places[indices[-_LOOK:]])) <= WINDOW + 1)

    def stamp(self, index: int) -> tuple[int, ...]:
        """The shard's."""
        return (self.stamps[self.places[index]],)

    def order(self, indices: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
        """The shards in random order, and around each place of it the examples of ``WINDOW`` shards mixed.

        Each example of the shard at place r of R comes at a random time between r and r + WINDOW, modulo R: so at any
        time examples of WINDOW shards come, and the shards begin and end one by one.
        """
        present, shard = np.unique(self.places[indices], return_inverse=True)
        rank = torch.randperm(len(present), generator=generator, device=generator.device).cpu().numpy()
        draw = torch.rand(len(indices), generator=generator, device=generator.device, dtype=torch.float64).cpu().numpy()
        time = (rank[shard] + min(WINDOW, len(present)) * draw) % len(present)
        return indices[np.argsort(time, kind="stable")]


def _entries(storage: Storage, name: str, cache: Path) -> tuple[int, list[Entry]]:
    """A shard's stamp, and what it holds: as kept under that stamp, or else looked up and kept."""
    stamp, address = storage.stamp(name), storage.address(name)
    kept = cache / f"{hashlib.sha256(f'{_RULE} {address}'.encode()).hexdigest()}.json"
    try:
        before, stored = json.loads(kept.read_text(encoding="utf-8"))
        if before == stamp:
            return stamp, [Entry(*each) for each in stored]
    except (OSError, ValueError, TypeError):
        pass  # nothing kept, or nothing whole
    with storage.open(name) as file:
        entries = read_entries(file, address)
    write_text(kept, json.dumps([stamp, [astuple(entry) for entry in entries]]))
    return stamp, entries


def _columns(found: Iterable[_Found]) -> list[str]:
    """What distinguishes an example's images: nothing where there are images without a further name."""
    columns = {column for each in found for column in each.entry.images}
    return [""] if "" in columns else sorted(columns)


def _fault(entry: Entry, columns: Sequence[str]) -> str:
    """Why an entry is no example; empty if it is one."""
    missing = [column for column in columns if column not in entry.images]
    if entry.fault:
        return entry.fault
    if missing or not columns:
        return f"expected an image{' ' + repr(missing[0]) if columns[1:] else ''}, found none; add it or remove the key"
    return "" if entry.label is not None else "expected a label (.cls, or .json with 'label' or 'cls'), found none"


def _splits(location: str, names: Sequence[str]) -> dict[str, str | None]:
    """Each shard's split; None for all where no name says one."""
    splits = {name: _split(name) for name in names}
    said = set(splits.values())
    if None in said and len(said) > 1:
        without = next(name for name, split in splits.items() if split is None)
        raise DataError(f"{location}: expected a split in every shard's name or in none, found {without!r}; rename it")
    if None not in said and "train" not in said:
        raise DataError(
            f"{location}: expected shards named train, found only {', '.join(map(repr, sorted(filter(None, said))))} "
            f"(as in {names[0]!r}); add them or rename these"
        )
    return splits


def _split(name: str) -> str | None:
    words = re.findall("[a-z]+", name.lower())
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)


def _labels(good: Sequence[_Found], storage: Storage) -> tuple[tuple[str, ...], list[int]]:
    """The class names, sorted, and the index of each example's."""
    listed = _listed_classes(storage)
    names = [str(each.entry.label) if listed is None else _class(each, listed) for each in good]
    classes = tuple(sorted(set(names if listed is None else listed)))
    if len(classes) < 2:
        raise DataError(
            f"{storage.location}: expected at least two classes, found only {classes[0]!r}; check the labels"
        )
    index = {name: label for label, name in enumerate(classes)}
    return classes, [index[name] for name in names]


def _class(found: _Found, listed: Sequence[str]) -> str:
    """The class of a label that is an index into a list, or a name in it."""
    match found.entry.label:
        case str(name) if name in listed:
            return name
        case int(index) if 0 <= index < len(listed):
            return listed[index]
        case str(text) if text.isdecimal() and int(text) < len(listed):
            return listed[int(text)]
        case label:
            raise DataError(
                f"{found.name}: expected a label of the {len(listed)} listed classes, found {label!r}; "
                f"mend the label, or the list beside the shards"
            )


def _listed_classes(storage: Storage) -> list[str] | None:
    """What ``classes.txt`` or ``classes.json`` beside the shards says."""
    for name in ("classes.txt", "classes.json"):
        if storage.holds(name):
            text, names = storage.read(name).decode("utf-8", "replace"), None
            try:
                names = json.loads(text) if name.endswith(".json") else [line.strip() for line in text.splitlines()]
            except ValueError as error:
                names = str(error)
            if not isinstance(names, list) or not all(isinstance(each, str) and each for each in names):
                raise DataError(f"{storage.address(name)}: expected a list of class names, found {names!r:.80}")
            if len(set(names)) < len(names):
                raise DataError(f"{storage.address(name)}: expected distinct class names, found one of them twice")
            return names
    return None
