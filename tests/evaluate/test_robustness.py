"""Corrupted and missing images, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fit50.data.images import Images
from fit50.evaluate.metrics import correct
from fit50.evaluate.robustness import missing_inputs, robustness
from fit50.evaluate.views import Corrupted, View, WithoutInput
from fit50.spec.monitor import Monitor

N = 40


class Count(Monitor):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def progress(self, label: str, done: int, total: int) -> None:
        self.told.append((done, total))


@pytest.fixture
def pairs() -> Images:
    """Dark and bright grey images, a class each, with a second input that is the same."""
    labels = np.arange(N) % 2
    pixels = np.where(labels, 150, 100).astype(np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 1), np.uint8)
    return Images((pixels, pixels.copy()), labels, tuple(map(str, range(N))))


def right(view: View) -> np.ndarray:
    """Whether the first input's corner is bright exactly where the label says so."""
    return correct(lambda first, _: torch.stack([125 - first[:, 0, 0, 0].float(), first[:, 0, 0, 0] - 125.0], 1), view)


def test_every_pass_is_corrupted_alike(pairs: Images) -> None:
    view = Corrupted(pairs, "gaussian-noise", 5)
    once, again = ([batch.images for batch in view.batches(size)] for size in (7, 40))
    for place in range(2):
        assert torch.equal(torch.cat([images[place] for images in once]), again[0][place])
    assert not torch.equal(again[0][0], again[0][1]), "each input has noise of its own"
    other = next(Corrupted(pairs, "gaussian-noise", 5, seed=1).batches(40)).images[0]
    assert not torch.equal(again[0][0], other)
    assert np.array_equal(view.labels, pairs.labels)


def test_the_split_itself_stays(pairs: Images) -> None:
    before = [pixels.copy() for pixels in pairs.pixels]
    for view in (Corrupted(pairs, "impulse-noise", 5), WithoutInput(pairs, 0)):
        list(view.batches(16))
    assert all(np.array_equal(*each) for each in zip(before, pairs.pixels, strict=True))


def test_without_an_input(pairs: Images) -> None:
    images = next(WithoutInput(pairs, 0).batches(N)).images
    assert int(images[0].max()) == 0
    assert torch.equal(images[1], torch.from_numpy(pairs.pixels[1]))
    first, second = missing_inputs(right, pairs, right(pairs), ("rgb", "thermal"))
    assert (first.input, first.accuracy.percent, first.difference.points) == ("rgb", 50, -50)
    assert first.difference.significant
    assert (second.input, second.accuracy.percent, second.difference.points) == ("thermal", 100, 0)


def test_accuracy_under_corruptions(pairs: Images) -> None:
    clean, monitor = right(pairs), Count()
    found = robustness(right, pairs, clean, ("impulse-noise", "brightness"), monitor)
    assert [each.corruption for each in found.corruptions] == ["impulse-noise", "brightness"]
    assert monitor.told == [(done, 10) for done in range(1, 11)]
    impulse, bright = found.corruptions
    assert bright.severities == (100, 50, 50, 50, 50), "100 + 0.1 * 255 is bright"
    assert impulse.mean.value == pytest.approx(np.mean(impulse.severities), abs=1e-3)
    assert found.mean.value == pytest.approx((impulse.mean.value + 60) / 2, abs=1e-3)
    assert found.relative_drop is not None
    assert found.relative_drop.value == pytest.approx(100 - found.mean.value, abs=1e-3)
    for each in (impulse.mean, bright.mean, found.mean, found.relative_drop):
        assert each.low < each.value < each.high


def test_what_nothing_can_spoil_is_not_certain(pairs: Images) -> None:
    every = np.ones(N, np.bool_)
    found = robustness(lambda view: every, pairs, every, ("fog",), Monitor())
    assert (found.mean.value, found.mean.high) == (100, 100)
    assert 85 < found.mean.low < 99


def test_where_nothing_is_right_nothing_drops(pairs: Images) -> None:
    none = np.zeros(N, np.bool_)
    found = robustness(lambda view: none, pairs, none, ("fog",), Monitor())
    assert found.mean.value == 0
    assert found.relative_drop is None
