"""Data sets of Hugging Face's ``datasets``: of the Hub, or in files of one's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fit50.data.decode import MissingImage, read_bytes
from fit50.data.sources.base import Item, shuffled
from fit50.data.splits import SPLIT_NAMES, SPLITS
from fit50.spec.errors import DataError, MissingExtraError


@dataclass(frozen=True, eq=False)
class HuggingFaceSource:
    """The rows of a data set, whose images stay encoded until they are read.

    Attributes:
        location: ``hf:`` and what was opened.
        inputs: the image columns, in the data set's order.
        classes: the names of the label's classes, or the different labels as text; sorted.
        items: named ``<split>/<row>``, the split as the data set has it and the row counted from 0.
        others: rows without a label.
        columns: for each split, in the order of ``SPLITS``, a table for each image column.
        rows: of each example the split's place in ``columns`` and the row, int64 (N, 2).
        stamps: for each split a number that changes with the data set.
    """

    location: str
    inputs: int
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    others: tuple[tuple[str, str], ...]
    columns: tuple[tuple[Any, ...], ...]
    rows: NDArray[np.int64]
    stamps: tuple[int, ...]

    @classmethod
    def open(cls, name: str) -> HuggingFaceSource:
        """Opens a data set, downloading one of the Hub unless its cache has it.

        Args:
            name: ``owner/name`` on the Hub, or ``owner/name@config``; or a folder that ``save_to_disk`` wrote, another
                folder that ``load_dataset`` takes, or a Parquet file.

        Raises:
            DataError: it cannot be loaded, or its columns or splits are not of labelled images.
            MissingExtraError: ``datasets`` is not installed.
        """
        location = f"hf:{Path(name).resolve() if Path(name).exists() else name}"
        splits = _splits(location, _load(location, name))
        first = next(iter(splits.values()))
        for split, table in splits.items():
            if table.features != first.features:
                raise DataError(
                    f"{location}: expected the same columns and classes in every split, found others in {split!r}; "
                    f"make them the same with cast, and let save_to_disk write the data set"
                )
        images, label = _image_columns(location, first.features), _label_column(location, first.features)
        called = {split: _class_names(table, label) for split, table in splits.items()}
        classes = _classes(location, first.features[label], called)
        index = {name: place for place, name in enumerate(classes)}
        listed = [
            (number, row, f"{split}/{row}", SPLIT_NAMES[split], name)
            for number, (split, names) in enumerate(called.items())
            for row, name in enumerate(names)
        ]
        return cls(
            location=location,
            inputs=len(images),
            classes=classes,
            items=tuple(Item(name, index[kind], split) for _, _, name, split, kind in listed if kind is not None),
            others=tuple((name, "expected a label, found none") for _, _, name, _, kind in listed if kind is None),
            columns=tuple(tuple(_encoded(table, column) for column in images) for table in splits.values()),
            rows=np.array([(number, row) for number, row, _, _, kind in listed if kind is not None], np.int64),
            stamps=tuple(_number(table._fingerprint) for table in splits.values()),
        )

    def read(self, index: int, input: int = 0) -> bytes:
        """An image as it was encoded. Raises MissingImage, or DataError where it cannot be read."""
        split, row = self.rows[index].tolist()
        (image,) = self.columns[split][input][row].values()
        if image and image["bytes"]:
            return bytes(image["bytes"])
        if image and image["path"]:
            return read_bytes(Path(image["path"]))
        raise MissingImage(f"{self.location}/{self.items[index].name}: expected an image, found none; remove the row")

    def stamp(self, index: int) -> tuple[int, ...]:
        """The split's."""
        return (self.stamps[self.rows[index, 0]],)

    def order(self, indices: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
        """Shuffled: the rows are mapped from disk."""
        return shuffled(indices, generator)


def _load(location: str, name: str) -> Any:
    """A ``Dataset`` or ``DatasetDict``."""
    try:
        from datasets import load_dataset, load_from_disk
    except ModuleNotFoundError as error:
        if error.name == "datasets":
            raise MissingExtraError(location, "datasets", "datasets") from None
        raise
    path = Path(name)
    try:
        if path.is_file():
            return load_dataset("parquet", data_files=name)
        if any((path / mark).is_file() for mark in ("dataset_dict.json", "state.json")):
            return load_from_disk(name)
        repository, _, config = (name, "", "") if path.exists() else name.partition("@")
        return load_dataset(repository, config or None)
    except Exception as error:  # the package raises what its connection and its file formats raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise DataError(
            f"{location}: expected a data set, found {reason:.300}; check the path, or the name and the connection. "
            f"hf:<owner>/<name>@<config> chooses a configuration; without a connection, give a folder that "
            f"save_to_disk wrote elsewhere"
        ) from None


def _splits(location: str, loaded: Any) -> dict[str, Any]:
    """The tables by the data set's own split names, in the order of ``SPLITS``; a single one is for training."""
    tables: Mapping[str, Any] = loaded if isinstance(loaded, Mapping) else {"train": loaded}
    known = [SPLIT_NAMES.get(name) for name in tables]
    if None in known or "train" not in known or len(set(known)) < len(known):
        raise DataError(
            f"{location}: expected the splits train, and at most validation and test besides, found {_quoted(tables)}; "
            f"rename or leave out some, and let save_to_disk write the data set"
        )
    return dict(sorted(tables.items(), key=lambda split: SPLITS.index(SPLIT_NAMES[split[0]])))


def _image_columns(location: str, features: Mapping[str, Any]) -> list[str]:
    from datasets import Image

    images = [name for name, feature in features.items() if isinstance(feature, Image)]
    if not 1 <= len(images) <= 2:
        raise DataError(
            f"{location}: expected one column of images, or two for a network of two inputs, found "
            f"{_quoted(images) if images else f'none in {_quoted(features)}'}; "
            f"{'leave out some with remove_columns' if images else 'cast one to datasets.Image with cast_column'}, "
            f"and let save_to_disk write the data set"
        )
    return images


def _label_column(location: str, features: Mapping[str, Any]) -> str:
    """The only column of class labels, or the one of several that is called ``label``; or a ``label`` of text."""
    from datasets import ClassLabel

    labels = [name for name, feature in features.items() if isinstance(feature, ClassLabel)]
    if len(labels) == 1:
        return labels[0]
    plain = getattr(features.get("label"), "dtype", "").startswith(("string", "large_string", "int", "uint"))
    if "label" in labels or (not labels and plain):
        return "label"
    raise DataError(
        f"{location}: expected one column of class labels, or one called 'label', found "
        f"{_quoted(labels) if labels else f'none in {_quoted(features)}'}; "
        f"call it 'label' with rename_column, and let save_to_disk write the data set"
    )


def _class_names(table: Any, label: str) -> list[str | None]:
    """Each row's class; None where it has none, which class labels write as -1."""
    values = table.select_columns(label).with_format(None)[:][label]
    names = getattr(table.features[label], "names", None)
    if names is None:
        return [None if value is None else str(value) for value in values]
    return [None if value is None or value < 0 else names[value] for value in values]


def _classes(location: str, feature: Any, called: Mapping[str, Sequence[str | None]]) -> tuple[str, ...]:
    found = {name for names in called.values() for name in names if name is not None}
    classes = tuple(sorted(getattr(feature, "names", found)))
    if len(classes) < 2:
        raise DataError(f"{location}: expected at least two classes, found {_quoted(classes) or 'none'}; add another")
    return classes


def _encoded(table: Any, column: str) -> Any:
    """A table of one column, whose images come as ``{"bytes": ..., "path": ...}``."""
    from datasets import Image

    return table.select_columns(column).with_format(None).cast_column(column, Image(decode=False))


def _number(fingerprint: str) -> int:
    return int.from_bytes(hashlib.sha256(fingerprint.encode()).digest()[:6])


def _quoted(names: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(map(repr, names))
