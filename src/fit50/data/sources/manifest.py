"""Lists of images: a CSV or Parquet file with the columns ``path`` and ``label``, and maybe more.

``path2`` is a second image for a network of two inputs; ``split`` says train, val or test; ``group`` names what the
image was taken of or by, such as a patient. Columns may be named in capitals. Relative paths begin at the
list's folder.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fit50.data.decode import read_bytes
from fit50.data.sources.base import Item, shuffled
from fit50.data.sources.folder import file_stamp
from fit50.data.splits import SPLIT_NAMES
from fit50.spec.errors import DataError, MissingExtraError
from fit50.spec.value import suggestion

_REQUIRED = ("path", "label")
_KNOWN = (*_REQUIRED, "path2", "split", "group")


class _Row(NamedTuple):
    """One line: where it stands, and its text by column, empty where there is none."""

    place: str
    paths: tuple[str, ...]
    label: str
    split: str
    group: str


@dataclass(frozen=True)
class ManifestSource:
    """What a manifest lists.

    Attributes:
        file: the manifest, resolved.
        inputs: one, or two where there is a column ``path2``.
        classes: the labels, sorted as texts.
        items: the lines whose files exist, sorted by name: the path as it is written, of two images ``path + path2``.
        others: the lines with a missing file, and the columns that are not read.
        paths: the files of each item.
    """

    file: Path
    inputs: int
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    others: tuple[tuple[str, str], ...]
    paths: tuple[tuple[Path, ...], ...]

    @classmethod
    def open(cls, file: Path) -> ManifestSource:
        """Reads a ``.csv`` or a ``.parquet`` file.

        Raises:
            DataError: it cannot be read, lacks a column or a value, names an unknown split, or lists an example twice.
            MissingExtraError: Parquet needs the package pyarrow.
        """
        if not file.is_file():
            found = "a folder" if file.is_dir() else "nothing"
            raise DataError(f"{file}: expected a list of images, found {found}; check the path")
        columns, rows = _parquet_rows(file) if file.suffix.lower() == ".parquet" else _csv_rows(file)
        return _source(file.resolve(), columns, rows)

    @property
    def location(self) -> str:
        """The manifest."""
        return str(self.file)

    def read(self, index: int, input: int = 0) -> bytes:
        """The file's content. Raises DataError."""
        return read_bytes(self.paths[index][input])

    def stamp(self, index: int) -> tuple[int, ...]:
        """Each file's size in bytes and time of change in nanoseconds."""
        return tuple(number for path in self.paths[index] for number in file_stamp(path))

    def order(self, indices: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
        """Shuffled."""
        return shuffled(indices, generator)


def _csv_rows(file: Path) -> tuple[list[str], list[_Row]]:
    """The columns, and the lines that are not empty."""
    rows: list[_Row] = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            header = next(reader, [])
            _refuse_separator(file, header)
            columns = _columns(file, header)
            for values in reader:
                if len(values) != len(columns) and values:
                    raise DataError(
                        f"{file}, line {reader.line_num}: expected {len(columns)} values, one for each column, "
                        f"found {len(values)}; quote values that contain a comma"
                    )
                if values:
                    rows.append(_row(f"line {reader.line_num}", columns, values))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: expected comma-separated values in UTF-8, found: {error}") from None
    return columns, rows


def _parquet_rows(file: Path) -> tuple[list[str], list[_Row]]:
    """The columns, and the rows."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise MissingExtraError(str(file), "pyarrow", "manifest") from None
    try:
        header = parquet.read_schema(file).names
        columns = _columns(file, header)
        wanted = {name: written for name, written in zip(columns, header, strict=True) if name in _KNOWN}
        table = parquet.read_table(file, columns=list(wanted.values()))
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{file}: expected a Parquet file, found: {error}") from None
    values = zip(*(map(_text, table[written].to_pylist()) for written in wanted.values()), strict=True)
    return columns, [_row(f"row {number}", list(wanted), each) for number, each in enumerate(values, 1)]


def _text(value: object) -> str:
    """Nothing for None and for NaN, which alone differs from itself."""
    return "" if value is None or value != value else str(value)


def _columns(file: Path, header: Sequence[str]) -> list[str]:
    """The columns, those that are known by their names in lower case."""
    written = {name.strip().lower(): name for name in header}
    columns = [lower if (lower := name.strip().lower()) in _KNOWN else name for name in header]
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        raise DataError(
            f"{file}: expected the columns path and label, and maybe path2, split and group; found no column "
            f"{missing[0]!r} among {', '.join(map(repr, columns)) or 'none'}{suggestion(missing[0], columns)}"
        )
    for name in _KNOWN:
        if columns.count(name) > 1:
            raise DataError(f"{file}: expected one column {name!r}, found {columns.count(name)}; remove the others")
        close = get_close_matches(name, written.keys() - set(_KNOWN), n=1, cutoff=0.8)
        if close and name not in columns:
            raise DataError(
                f"{file}: expected the columns path, label, path2, split or group, found {written[close[0]]!r}"
                f"{suggestion(close[0], [name])} rename the column, or call it something else"
            )
    return columns


def _refuse_separator(file: Path, header: Sequence[str]) -> None:
    found = [each for each in ";\t|" if each in "".join(header)]
    if len(header) == 1 and found:
        raise DataError(f"{file}: expected commas between the columns, found {found[0]!r}; save it with commas")


def _row(place: str, columns: Sequence[str], values: Sequence[str]) -> _Row:
    cells = {name: value.strip() for name, value in zip(columns, values, strict=True)}
    paths = tuple(cells[name] for name in ("path", "path2") if name in cells)
    return _Row(place, paths, cells["label"], cells.get("split", ""), cells.get("group", ""))


def _source(file: Path, columns: Sequence[str], rows: Sequence[_Row]) -> ManifestSource:
    classes = tuple(sorted({row.label for row in rows}))
    labels = {name: label for label, name in enumerate(classes)}
    seen: dict[tuple[str, ...], str] = {}
    found: list[tuple[Item, tuple[Path, ...]]] = []
    ignored = f"expected {', '.join(_KNOWN)}; the column is not read"
    others = [(f"column {name!r}", ignored) for name in columns if name not in _KNOWN]
    for row in rows:
        _refuse_row(file, row, seen)
        seen[row.paths] = row.place
        name, paths = " + ".join(row.paths), tuple(file.parent / path for path in row.paths)
        missing = next((path for path in paths if not path.is_file()), None)
        if missing is not None:
            others.append(
                (name, f"{row.place}: expected a file, found none at {missing}; restore it or remove the line")
            )
            continue
        split = SPLIT_NAMES[row.split.lower()] if row.split else None
        found.append((Item(name, labels[row.label], split, row.group or None), paths))
    if len(classes) < 2:
        raise DataError(
            f"{file}: expected at least two classes, found {' and '.join(map(repr, classes)) or 'no lines'}"
        )
    if not found:
        raise DataError(
            f"{file}: expected images, found none of {len(rows)} files; relative paths begin at {file.parent}"
        )
    items, of_items = zip(*sorted(found, key=lambda pair: pair[0].name), strict=True)
    return ManifestSource(file, len(rows[0].paths), classes, items, tuple(others), of_items)


def _refuse_row(file: Path, row: _Row, seen: dict[tuple[str, ...], str]) -> None:
    here = f"{file}, {row.place}"
    if not row.label or not all(row.paths):
        raise DataError(f"{here}: expected a path and a label, found an empty one; fill it in or remove the line")
    if row.split and row.split.lower() not in SPLIT_NAMES:
        raise DataError(
            f"{here}: expected the split train, val or test, or none, found {row.split!r}"
            f"{suggestion(row.split.lower(), SPLIT_NAMES)}"
        )
    if row.paths in seen:
        raise DataError(f"{here}: {' + '.join(row.paths)} is on {seen[row.paths]} already; remove one of them")
