"""Which images every step of a training sees: a function of the seed and the step's number alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fit50.data.split import Batch, Split
from fit50.spec.errors import DataError
from fit50.spec.training import Train

Indices = NDArray[np.int64]


def drawn(seed: int, what: str, number: int) -> torch.Generator:
    """A CPU generator of its own for the ``number``-th draw of some kind, whatever was drawn before."""
    digest = hashlib.sha256(f"{seed}:{what}:{number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


@dataclass(frozen=True)
class Feed:
    """The steps of a training, and the part of each batch that one of several processes takes.

    Since no step depends on what was drawn in another, a training is taken up at any step; since all processes draw the
    same for the whole batch, they see together what one alone would see.

    Attributes:
        images: the training split.
        seed: of the training.
        balanced: draws classes equally often, their images with replacement.
        repeats: how often a batch shows each of its images.
        batch: images in a step, over all processes.
        steps: in an epoch; images left over are left out of that epoch.
        total: steps of all epochs.
        own: the rows of each batch that this process takes.
    """

    images: Split
    seed: int
    balanced: bool
    repeats: int
    batch: int
    steps: int
    total: int
    own: slice

    @classmethod
    def of(cls, images: Split, step: Train, seed: int, rank: int = 0, world: int = 1) -> Feed:
        """The steps of a training. Raises DataError where a process would get less than two images."""
        batch = min(step.batch, len(images))
        if batch < 2:
            raise DataError(
                f"train: expected at least 2 training images (batch statistics need them), found {len(images)}"
            )
        if batch % (2 * world) and world > 1:
            raise DataError(
                f"train: expected a batch that gives each of {world} processes the same even number of images, found "
                f"{batch}; use a multiple of {2 * world}"
            )
        share, steps = batch // world, len(images) // batch
        own = slice(rank * share, (rank + 1) * share)
        return cls(images, seed, step.balance == "sampling", step.repeats, batch, steps, steps * step.epochs, own)

    def after(self, done: int) -> Iterator[tuple[int, Indices, Batch]]:
        """The steps that follow the first ``done``: each one's number, the indices of its images, and these."""
        numbered = self._chunks(done)
        ahead: list[tuple[int, Indices]] = []

        def asked() -> Iterator[Indices]:
            for number, chunk in numbered:
                ahead.append((number, chunk))
                yield chunk

        for batch in self.images.read(asked()):
            number, chunk = ahead.pop(0)
            yield number, chunk, batch

    def _chunks(self, done: int) -> Iterator[tuple[int, Indices]]:
        different = -(-self.batch // self.repeats)
        for epoch in range(done // self.steps, self.total // self.steps):
            order = self._order(epoch)
            for number in range(max(done, epoch * self.steps), (epoch + 1) * self.steps):
                start = (number - epoch * self.steps) * different
                yield number, np.resize(order[start : start + different], self.batch)[self.own]

    def _order(self, epoch: int) -> Indices:
        generator = drawn(self.seed, "order", epoch)
        if not self.balanced:
            return self.images.order(generator)
        labels = torch.from_numpy(self.images.labels)
        chances = 1 / labels.bincount()[labels]
        order: Indices = torch.multinomial(chances, len(labels), replacement=True, generator=generator).numpy()
        return order
