"""Pairs of images for a network of two inputs: two folders, matched by path."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray

from fit50.data.sources.base import Item, shuffled
from fit50.data.sources.folder import FolderSource
from fit50.spec.errors import DataError


@dataclass(frozen=True)
class PairedSource:
    """Two folders: ``rgb/cat/1.jpg`` belongs to ``thermal/cat/1.png``.

    Attributes:
        folders: the first input's, which names the pairs, and the second's.
        items: the pairs, sorted as the first folder's images are.
        others: the other files of both, and the images without a partner.
        places: for each pair its indices into the items of both folders.
    """

    folders: tuple[FolderSource, FolderSource]
    items: tuple[Item, ...]
    others: tuple[tuple[str, str], ...]
    places: tuple[tuple[int, int], ...]

    @classmethod
    def open(cls, first: Path, second: Path) -> PairedSource:
        """Lists the images below two folders that have the same relative path, apart from the extension.

        Raises:
            DataError: a folder is none of images, their classes differ, or no image of one has a partner in the other.
        """
        folders = FolderSource.open(first), FolderSource.open(second)
        if folders[0].classes != folders[1].classes:
            raise DataError(
                f"{second}: expected the classes of {first} ({', '.join(folders[0].classes)}), "
                f"found {', '.join(folders[1].classes)}; pair folders of the same classes"
            )
        return _source(folders)

    @property
    def location(self) -> str:
        """Both folders."""
        return " + ".join(folder.location for folder in self.folders)

    @property
    def inputs(self) -> int:
        """Two."""
        return 2

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the class folders, sorted."""
        return self.folders[0].classes

    def read(self, index: int, input: int = 0) -> bytes:
        """The file's content. Raises DataError."""
        return self.folders[input].read(self.places[index][input])

    def stamp(self, index: int) -> tuple[int, ...]:
        """Each file's size in bytes and time of change in nanoseconds."""
        stamps = (folder.stamp(place) for folder, place in zip(self.folders, self.places[index], strict=True))
        return tuple(number for stamp in stamps for number in stamp)

    def order(self, indices: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
        """Shuffled."""
        return shuffled(indices, generator)


def _source(folders: tuple[FolderSource, FolderSource]) -> PairedSource:
    first, second = map(_by_path, folders)
    places = {
        path: (mine[0], theirs[0])
        for path, mine in first.items()
        if len(mine) == len(theirs := second.get(path, [])) == 1
    }
    if not places:
        raise DataError(
            f"{folders[1].root}: expected images at the paths of {folders[0].root}, such as {next(iter(first))}.*, "
            f"found others, such as {next(iter(second))}.*; give both folders the same layout"
        )
    items = tuple(folders[0].items[place] for place, _ in places.values())
    others = [*folders[0].others, *_alone(folders[0], first, second, folders[1].root)]
    for name, reason in (*folders[1].others, *_alone(folders[1], second, first, folders[0].root)):
        others.append((str(folders[1].root / name), reason))
    return PairedSource(folders, items, tuple(others), tuple(places.values()))


def _by_path(folder: FolderSource) -> dict[str, list[int]]:
    """The indices of a folder's items by their path without extension."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(folder.items):
        places[PurePosixPath(item.name).with_suffix("").as_posix()].append(place)
    return dict(places)


def _alone(
    folder: FolderSource, mine: Mapping[str, list[int]], theirs: Mapping[str, list[int]], other: Path
) -> Iterator[tuple[str, str]]:
    """The images of a folder that make no pair, and why."""
    for path, places in mine.items():
        partners = theirs.get(path, [])
        if not len(places) == len(partners) == 1:
            reason = (
                f"expected one image {path}.* here and one below {other}, found {len(places)} and {len(partners)}; "
                "add, rename or remove images"
            )
            yield from ((folder.items[place].name, reason) for place in places)
