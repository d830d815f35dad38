"""A tar in WebDataset's layout: which of its bytes are whose image, and what is said of the label."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from fit50.data.decode import image_suffixes
from fit50.spec.errors import DataError

Span = tuple[int, int]
_BLOCK = 512


@dataclass(frozen=True)
class Entry:
    """What a tar holds under one key.

    Attributes:
        key: the members' path up to the first dot of the file name.
        images: the offset and the size in bytes of each image, by what stands between the key and the file format:
            ``""`` for ``<key>.jpg``, ``"rgb"`` for ``<key>.rgb.jpg``.
        label: the text of ``<key>.cls``, or else the index or name that is "label" or "cls" in ``<key>.json``.
        fault: why it is no example; empty if nothing is wrong so far.
    """

    key: str
    images: Mapping[str, Span]
    label: int | str | None
    fault: str = ""


def read_entries(file: BinaryIO, name: str) -> list[Entry]:
    """The entries of an uncompressed tar, in its order; only headers and labels are read.

    Hidden files, links and folders are left out.

    Raises:
        DataError: the file is no tar, or not a whole one; ``name`` is what the error calls it.
    """
    members: dict[str, list[tuple[str, tarfile.TarInfo]]] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                folder, slash, base = member.name.rpartition("/")
                if member.isreg() and not base.startswith("."):
                    stem, _, extension = base.partition(".")
                    members.setdefault(folder + slash + stem, []).append((extension.lower(), member))
            end = tar.offset
    except (tarfile.TarError, OSError) as error:
        raise _damaged(name, str(error)) from None
    file.seek(end)
    if file.read(_BLOCK) != bytes(_BLOCK):  # else tarfile would take a torn header for the end
        raise _damaged(name, f"no end mark at byte {end:,}")
    return [_entry(file, key, files) for key, files in members.items()]


def _damaged(name: str, reason: str) -> DataError:
    return DataError(f"{name}: expected a whole, uncompressed tar, found {reason}; copy it again or remove it")


def _entry(file: BinaryIO, key: str, files: list[tuple[str, tarfile.TarInfo]]) -> Entry:
    """One key's members, by extension."""
    images: dict[str, Span] = {}
    label: int | str | None = None
    fault = ""
    for extension, member in files:
        column, _, form = extension.rpartition(".")
        if f".{form}" in image_suffixes():
            fault = f"expected one image {key}.{extension}, found several" if column in images else fault
            images[column] = member.offset_data, member.size
        elif extension in {"cls", "json"}:
            file.seek(member.offset_data)
            try:
                said = (_from_cls if extension == "cls" else _from_json)(file.read(member.size).decode())
            except ValueError as error:
                fault = f"expected a label in {key}.{extension}, found: {error}"
            else:
                label = said if extension == "cls" or label is None else label
    return Entry(key, images, label, fault)


def _from_cls(text: str) -> str:
    text = text.strip()
    if not text:
        raise ValueError("nothing")
    return text


def _from_json(text: str) -> int | str | None:
    """The label, if there is one."""
    data = json.loads(text)
    label = data.get("label", data.get("cls")) if isinstance(data, dict) else None
    if isinstance(label, bool) or not isinstance(label, int | str | None):
        raise ValueError(f"{label!r}, neither an index nor a name")
    return label
