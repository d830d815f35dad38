"""Folders of images: ``root/{train,val,test}/<class>/*``, or only ``root/<class>/*``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fit50.data.decode import image_suffixes, read_bytes
from fit50.data.sources.base import Item, shuffled
from fit50.data.splits import SPLIT_NAMES
from fit50.spec.errors import DataError

_CLUTTER = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
_LAYOUT = "expected <root>/{train,val,test}/<class>/<images>, or <root>/<class>/<images>"


@dataclass(frozen=True)
class FolderSource:
    """What a folder holds, in an order that depends on names only.

    Attributes:
        root: the folder, resolved.
        classes: the names of the class folders, sorted.
        items: the images, sorted by split, class and path, by which each is named below the root.
        others: files in class folders whose extension is no image format's.
    """

    root: Path
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    others: tuple[tuple[str, str], ...]

    @classmethod
    def open(cls, root: Path) -> FolderSource:
        """Lists the images below a folder.

        Hidden files and system clutter are left out. Linked files and folders count as if they lay there.

        Raises:
            DataError: the folder follows neither layout, or its splits and classes do not fit together.
        """
        if not root.is_dir():
            found = "a file" if root.exists() else "nothing"
            raise DataError(f"{root}: expected a folder of images, found {found}; check the path")
        try:
            return _source(root)
        except OSError as error:
            raise DataError(f"{root}: expected a readable folder, found: {error}; check its permissions") from None

    @property
    def location(self) -> str:
        """The folder."""
        return str(self.root)

    @property
    def inputs(self) -> int:
        """One."""
        return 1

    def read(self, index: int, input: int = 0) -> bytes:
        """The file's content. Raises DataError."""
        return read_bytes(self.root / self.items[index].name)

    def stamp(self, index: int) -> tuple[int, ...]:
        """The file's size in bytes and time of change in nanoseconds."""
        return file_stamp(self.root / self.items[index].name)

    def order(self, indices: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
        """Shuffled."""
        return shuffled(indices, generator)


def file_stamp(path: Path) -> tuple[int, int]:
    """A file's size in bytes and time of change in nanoseconds; -1 where there is none."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _source(root: Path) -> FolderSource:
    splits = _split_folders(root)
    listed = {split: _class_folders(folder) for split, folder in splits.items()}
    reference = listed.get("train", next(iter(listed.values())))
    classes = tuple(sorted(reference))
    for split, folders in listed.items():
        _refuse_unknown(splits[split], set(folders) - set(classes), classes)
    if len(classes) < 2:
        only = reference[classes[0]]
        raise DataError(f"{only.parent}: expected at least two class folders, found only {only.name!r}; {_hint(only)}")
    items: list[Item] = []
    others: list[tuple[str, str]] = []
    for split, folders in listed.items():
        for name, folder in folders.items():
            images, rest = _sorted_files(folder)
            items += (Item(path.relative_to(root).as_posix(), classes.index(name), split) for path in images)
            others += ((path.relative_to(root).as_posix(), _no_image(path)) for path in rest)
    return FolderSource(root.resolve(), classes, tuple(items), tuple(others))


def _no_image(path: Path) -> str:
    kind = f"the extension {path.suffix!r}" if path.suffix else "a name without extension"
    return f"expected an image file, found {kind}; convert, rename or remove the file"


def _split_folders(root: Path) -> dict[str | None, Path]:
    """Each split's folder; for a root of class folders, the root itself under None."""
    folders = _folders(root)
    found = [(split, folder) for folder in folders if (split := SPLIT_NAMES.get(folder.name.lower()))]
    if not found:
        return {None: root}
    names = _names(folder.name for folder in folders)
    if len(found) < len(folders):
        raise DataError(f"{root}: {_LAYOUT}; found folders of both kinds: {names}; move or rename some")
    splits: dict[str | None, Path] = dict(found)
    if len(splits) < len(found):
        raise DataError(f"{root}: expected one folder for each split, found {names}; join those of one split")
    if "train" not in splits:
        raise DataError(f"{root}: expected a folder 'train', found only {names}; add it, or give class folders alone")
    _refuse_loose_images(root)
    return {split: splits[split] for split in ("train", "val", "test") if split in splits}


def _class_folders(folder: Path) -> dict[str, Path]:
    """Each class's folder, every one of which holds an image."""
    _refuse_loose_images(folder)
    folders = _folders(folder)
    if not folders:
        raise DataError(f"{folder}: {_LAYOUT}; found no images and no class folders; check the path")
    for each in folders:
        inner = [sub.name for sub in _folders(each)]
        if inner and all(name.lower() in SPLIT_NAMES for name in inner):
            raise DataError(
                f"{each}: {_LAYOUT}; found {_names(inner)} below a folder that should be a class's; "
                f"if {each.name!r} is a class, put the split above it; else give {each} as the root"
            )
    for each in folders:
        images, others = _sorted_files(each)
        if not images:
            found = f"{len(others)} files of other kinds, such as {others[0].name}" if others else "none"
            raise DataError(f"{each}: expected images of the class {each.name!r}, found {found}; add some or remove it")
    return {each.name: each for each in folders}


def _refuse_loose_images(folder: Path) -> None:
    loose = [path for path in _entries(folder) if path.is_file() and _is_image(path)]
    if loose:
        raise DataError(
            f"{folder}: {_LAYOUT}; found {len(loose)} images directly in it, such as {loose[0].name}; "
            f"put each into the folder of its class"
        )


def _refuse_unknown(folder: Path, unknown: set[str], classes: tuple[str, ...]) -> None:
    if unknown:
        raise DataError(
            f"{folder}: expected the classes of train ({_names(classes)}), found also {_names(sorted(unknown))}; "
            f"add training images for them, or remove them"
        )


def _hint(folder: Path) -> str:
    inner = [sub.name for sub in _folders(folder)]
    return f"did you mean {folder}, which holds {_names(inner)}?" if inner else "add another class"


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.is_dir()]


def _sorted_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The images and the other files at any depth."""
    files = list(_files(folder))
    return [path for path in files if _is_image(path)], [path for path in files if not _is_image(path)]


def _files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Every file at any depth, once for each chain of folders: a link that leads back up ends there."""
    here = folder.resolve()
    if here in above:
        return
    for entry in _entries(folder):
        if entry.is_dir():
            yield from _files(entry, (*above, here))
        elif entry.is_file() or entry.is_symlink():
            yield entry


def _entries(folder: Path) -> list[Path]:
    visible = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted(entry for entry in visible if entry.name.lower() not in _CLUTTER)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in image_suffixes()


def _names(names: Iterable[str]) -> str:
    """The first few, quoted."""
    quoted = [repr(name) for name in names]
    return ", ".join(quoted[:5]) + (f" and {len(quoted) - 5} more" if len(quoted) > 5 else "")
