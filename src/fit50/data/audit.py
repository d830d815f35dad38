"""What was found in the data, for a person to check before the work starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
        sizes: before they were fitted to the network's input.
        set_aside: (relative path, reason) of each file that is not used.
        duplicates: images of val and test that are, byte for byte, also in an earlier split. Only a split that the
            user made can have them.
    """

    counts: Mapping[str, Mapping[str, int]]
    sizes: Sizes
    set_aside: tuple[tuple[str, str], ...]
    duplicates: int

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
        if self.set_aside:
            lines.append(f"{len(self.set_aside):,} files set aside:")
            lines += [f"  {path}: {reason}" for path, reason in self.set_aside[:3]]
            lines += [f"  and {len(self.set_aside) - 3:,} more"] if len(self.set_aside) > 3 else []
        return "\n".join(lines)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]:,} x {size[1]:,}"
