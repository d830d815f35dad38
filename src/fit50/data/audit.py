"""What was found in the data, for a person to check before the work starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fit50.spec.inspection import Twin


@dataclass(frozen=True)
class Sizes:
    """(height, width) in pixels of the images as they lie on disk, each side taken on its own."""

    median: tuple[int, int]
    smallest: tuple[int, int]
    largest: tuple[int, int]


@dataclass(frozen=True)
class Audit:
    """The facts of a data set.

    Attributes:
        counts: images by split and class name.
        sizes: before they were fitted to the network's input; with two inputs, those of the first.
        set_aside: (name, reason) of each image and other file that is not used.
        duplicates: examples of val and test of which an image is, byte for byte, also in an earlier split. Only splits
            that the user made can have these and what follows, or a class whose images are all copies or look alike.
        near_duplicates: (name, name) of each image of val and test that is no such copy and looks like one of an
            earlier split, and of that one.
        leaks: images of val and test that are neither, and whose group is also in an earlier split.
        twins: every image that is a copy of another or looks like it, in the same split or an earlier one.
    """

    counts: Mapping[str, Mapping[str, int]]
    sizes: Sizes
    set_aside: tuple[tuple[str, str], ...]
    duplicates: int
    near_duplicates: tuple[tuple[str, str], ...] = ()
    leaks: int = 0
    twins: tuple[Twin, ...] = ()

    def summary(self) -> str:
        """A few lines for the terminal."""
        totals = {split: sum(counts.values()) for split, counts in self.counts.items()}
        train = self.counts["train"]
        low, high = min(train, key=lambda name: train[name]), max(train, key=lambda name: train[name])
        parts = ", ".join(f"{split} {total:,}" for split, total in totals.items())
        lines = [
            f"{sum(totals.values()):,} images of {len(train)} classes: {parts}",
            f"training images for each class: {train[low]:,} ({low}) to {train[high]:,} ({high})",
            f"height x width: median {_by(self.sizes.median)}, "
            f"from {_by(self.sizes.smallest)} to {_by(self.sizes.largest)}",
        ]
        if self.duplicates:
            lines.append(
                f"{self.duplicates:,} images of val and test are also in an earlier split, byte for byte: "
                f"accuracy on them says nothing about new images"
            )
        if self.near_duplicates:
            lines.append(f"{len(self.near_duplicates):,} images of val and test look like one of an earlier split:")
            lines += _first(f"{name} like {other}" for name, other in self.near_duplicates)
        if self.leaks:
            lines.append(f"{self.leaks:,} images of val and test are of a group that is also in an earlier split")
        if self.set_aside:
            lines.append(f"{len(self.set_aside):,} files set aside:")
            lines += _first(f"{name}: {reason}" for name, reason in self.set_aside)
        return "\n".join(lines)


def _first(texts: Iterable[str], count: int = 3) -> list[str]:
    lines = [f"  {text}" for text in texts]
    return lines if len(lines) <= count else [*lines[:count], f"  and {len(lines) - count:,} more"]


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]:,} x {size[1]:,}"
