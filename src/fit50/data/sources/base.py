"""What every source of images gives: a list of examples, and the bytes of their images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True)
class Item:
    """An example: an image for each input, and what is known of them before they are read.

    Attributes:
        name: unique in its source, such as a relative path; the same on every machine.
        label: the index of its class.
        split: ``train``, ``val`` or ``test`` where the user said it.
        group: examples of one group (a patient, a day, a voice) never lie in two splits that fit50 makes.
    """

    name: str
    label: int
    split: str | None = None
    group: str | None = None


class Source(Protocol):
    """Examples that lie somewhere, in an order that depends on names only."""

    @property
    def location(self) -> str:
        """What errors call the source, and what facts about its files are remembered by: a path or an address."""

    @property
    def inputs(self) -> int:
        """Images in each example."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names, sorted."""

    @property
    def items(self) -> tuple[Item, ...]:
        """All examples."""

    @property
    def others(self) -> tuple[tuple[str, str], ...]:
        """(name, reason) of what lies there and is not used."""

    def read(self, index: int, input: int = 0) -> bytes:
        """The encoded image of ``items[index]`` for an input. Thread-safe.

        Raises:
            MissingImage: there is none, so that the example is set aside.
            DataError: it cannot be read now, so that nothing is known of it.
        """

    def stamp(self, index: int) -> tuple[int, ...]:
        """Whole numbers that change whenever the example's images may have changed (sizes, times); not read for it."""

    def order(self, indices: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
        """These examples shuffled, such that ``read`` is fast when called about in that order."""


@runtime_checkable
class Bundled(Protocol):
    """A source whose examples lie many in a file, which one that reads most of them had better fetch whole."""

    def passing(self, indices: NDArray[np.int64]) -> Source:
        """The source as it reads fastest where a pass over most of it goes through these in this order."""


def passing(source: Source, indices: NDArray[np.int64]) -> Source:
    """The source for a pass over most of it, some of which goes through these examples in this order."""
    return source.passing(indices) if isinstance(source, Bundled) else source


def shuffled(indices: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
    """The indices in any order: what ``order`` is where every example is as quickly read as another."""
    return indices[torch.randperm(len(indices), generator=generator, device=generator.device).cpu().numpy()]


def shuffled_places(source: Source, indices: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
    """``source.order`` of distinct examples, as places in ``indices``."""
    places = np.argsort(indices)
    return places[np.searchsorted(indices, source.order(indices, generator), sorter=places)]
