"""Which images a step sees depends on the seed and its number alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from fit50.data.images import Images
from fit50.spec.errors import DataError
from fit50.spec.training import Train
from fit50.train.feed import Feed, drawn


def images(n: int, rare: int = 0) -> Images:
    """``n`` images of one pixel that is their index; the first ``rare`` are of class 1."""
    labels = (np.arange(n) < rare).astype(np.int64)
    return Images((np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1),), labels, tuple(map(str, range(n))))


def seen(feed: Feed, done: int = 0) -> list[tuple[int, list[int]]]:
    steps = []
    for number, chosen, batch in feed.after(done):
        assert batch.images[0].flatten().tolist() == chosen.tolist()
        assert torch.equal(batch.labels, torch.from_numpy(feed.images.labels[chosen]))
        steps.append((number, chosen.tolist()))
    return steps


def test_an_epoch_shows_each_image_once_and_leaves_over_what_fills_no_batch() -> None:
    feed = Feed.of(images(11), Train(epochs=2, batch=4), seed=0)
    assert (feed.steps, feed.total) == (2, 4)
    steps = seen(feed)
    assert [number for number, _ in steps] == [0, 1, 2, 3]
    for epoch in (steps[:2], steps[2:]):
        shown = [index for _, chosen in epoch for index in chosen]
        assert len(set(shown)) == len(shown) == 8
    assert steps[0] != steps[2]


@pytest.mark.parametrize("done", range(5))
def test_what_is_left_is_what_would_have_come(done: int) -> None:
    feed = Feed.of(images(11), Train(epochs=2, batch=4), seed=0)
    assert seen(feed, done) == seen(feed)[done:]


def test_processes_share_each_batch() -> None:
    step = Train(epochs=1, batch=8)
    alone = seen(Feed.of(images(17), step, seed=0))
    parts = [seen(Feed.of(images(17), step, seed=0, rank=rank, world=2)) for rank in (0, 1)]
    assert [(number, first + second) for (number, first), (_, second) in zip(*parts, strict=True)] == alone


def test_a_batch_repeats_its_images() -> None:
    feed = Feed.of(images(24), Train(epochs=1, batch=8, repeats=3), seed=0)
    steps = [chosen for _, chosen in seen(feed)]
    assert [len(chosen) for chosen in steps] == [8, 8, 8]
    assert [len(set(chosen)) for chosen in steps] == [3, 3, 3]
    assert len({index for chosen in steps for index in chosen}) == 9
    assert all(first != second for chosen in steps for first, second in pairwise(chosen))


def test_rare_classes_are_drawn_as_often_as_others() -> None:
    feed = Feed.of(images(200, rare=10), Train(epochs=5, batch=100, balance="sampling"), seed=0)
    shown = np.array([index for _, chosen in seen(feed) for index in chosen])
    assert np.mean(shown < 10) == pytest.approx(0.5, abs=0.06)
    assert len(set(shown[shown >= 10])) > 150


def test_draws_differ_by_seed_kind_and_number() -> None:
    seeds = [drawn(*key).initial_seed() for key in ((0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1))]
    assert len(set(seeds)) == 4
    assert drawn(0, "a", 0).initial_seed() == seeds[0]


def test_a_batch_that_processes_cannot_share_is_refused() -> None:
    with pytest.raises(DataError, match=r"expected a batch that gives each of 2 processes the same even number .* 6"):
        Feed.of(images(20), Train(batch=6), seed=0, world=2)
