from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from itertools import cycle, islice

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from fit50.data.decode import decode_image, fit_image
from fit50.data.images import Images
from fit50.data.sources.base import Item, Source, shuffled
from fit50.data.split import Batch, Split
from fit50.data.stream import Stream
from fit50.spec.errors import DataError
from fit50.spec.network import Input

SMALL = Input(height=8, width=6, resize="stretch")
GREY = Input(name="grey", height=4, width=5, channels=1, mean=(0.5,), std=(0.5,))


def encoded(seed: int, form: str = "PNG", size: tuple[int, int] = (9, 7)) -> bytes:
    """An image of smooth noise."""
    file = BytesIO()
    noise = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8))
    noise.resize(size[::-1], Image.Resampling.BICUBIC).save(file, form)
    return file.getvalue()


@dataclass(frozen=True)
class Listed:
    """A source in memory, of three classes; ``hook`` is called with the index before each reading."""

    images: tuple[bytes, ...]
    inputs: int = 1
    hook: Callable[[int], object] = lambda index: None
    location: str = "memory"
    classes: tuple[str, ...] = ("a", "b", "c")
    others: tuple[tuple[str, str], ...] = ()
    reads: list[int] = field(default_factory=list)

    @property
    def items(self) -> tuple[Item, ...]:
        return tuple(Item(f"image {i}", i % 3) for i in range(len(self.images)))

    def read(self, index: int, input: int = 0) -> bytes:
        self.hook(index)
        self.reads.append(index)
        return self.images[(index + input) % len(self.images)]

    def stamp(self, index: int) -> tuple[int, ...]:
        return ()

    def order(self, indices: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
        return shuffled(indices, generator)


IMAGES = tuple(encoded(seed) for seed in range(30))


def stream(source: Source, indices: NDArray[np.int64] | None = None, **options: bool) -> Stream:
    indices = np.arange(len(source.items)) if indices is None else indices
    return Stream(source, indices, (SMALL, GREY)[: source.inputs], **options)


def resident(split: Stream) -> Images:
    """The same examples, decoded one by one by the rule of evaluation."""
    return Images(
        tuple(
            np.stack([fit_image(decode_image(split.source.read(i, number), ""), input) for i in split.indices])
            for number, input in enumerate(split.inputs)
        ),
        split.labels,
        split.names,
    )


def same(first: Iterator[Batch], second: Iterator[Batch]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(
        torch.equal(a.labels, b.labels) and all(map(torch.equal, a.images, b.images)) and len(a.images) == len(b.images)
        for a, b in pairs
    )


@pytest.fixture(autouse=True)
def four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same number on every machine, and none left over."""
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    yield
    assert not working()


def working() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("fit50-decode")]


def test_a_stream_is_a_split() -> None:
    split: Split = stream(Listed(IMAGES), np.array([4, 2, 9]))
    assert len(split) == 3
    assert split.labels.tolist() == [1, 2, 0]
    assert split.labels.dtype == np.int64
    assert split.names == ("image 4", "image 2", "image 9")


@pytest.mark.parametrize("inputs", [1, 2])
@pytest.mark.parametrize("size", [1, 4, 30, 31])
def test_batches_are_those_of_resident_images(inputs: int, size: int) -> None:
    split = stream(Listed(IMAGES, inputs))
    assert same(split.batches(size), resident(split).batches(size))


def test_a_size_below_1_is_refused() -> None:
    with pytest.raises(DataError, match="expected a size of at least 1, found 0"):
        next(stream(Listed(IMAGES)).batches(0))


def test_the_order_is_of_the_splits_own_indices() -> None:
    split = stream(Listed(IMAGES), np.array([21, 3, 8, 15, 4]))
    order, again = (split.order(torch.Generator().manual_seed(1)) for _ in range(2))
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert np.array_equal(order, again)
    assert np.array_equal(split.indices[order], split.source.order(split.indices, torch.Generator().manual_seed(1)))


def test_chunks_are_read_in_their_order_and_a_slice_resumes() -> None:
    split = stream(Listed(IMAGES, 2))
    order = split.order(torch.Generator().manual_seed(1))
    chunks = np.array_split(order, 7)
    assert same(split.read(chunks), resident(split).read(chunks))
    assert same(islice(split.read(chunks), 3, None), split.read(chunks[3:]))


def test_later_batches_are_decoded_while_the_first_is_awaited() -> None:
    later = threading.Event()

    def hook(index: int) -> None:
        if index == 0:
            assert later.wait(60)
        elif index == 7:
            later.set()

    split = stream(Listed(IMAGES, hook=hook))
    first = next(reading := split.batches(2))
    assert torch.equal(first.images[0], torch.from_numpy(resident(stream(Listed(IMAGES[:2]))).pixels[0]))
    reading.close()


def test_only_a_few_batches_are_ahead() -> None:
    source = Listed(IMAGES)
    reading = stream(source).read(iter(cycle([np.array([1, 2, 3])])))
    for _ in range(5):
        next(reading)
    asked = len(source.reads)
    reading.close()
    assert 15 <= asked <= len(source.reads) <= 15 + 4 * 3


def test_nothing_is_read_before_the_first_batch_is_asked_for() -> None:
    source = Listed(IMAGES)
    stream(source).batches(3)
    assert source.reads == []


@pytest.mark.parametrize("end", ["close", "forget", "raise"])
def test_a_consumer_may_stop_early(end: str) -> None:
    def consume() -> None:
        reading = stream(Listed(IMAGES)).read(cycle([np.arange(10)]))
        next(reading)
        assert working()
        if end == "close":
            reading.close()
        elif end == "raise":
            raise KeyboardInterrupt

    try:
        consume()
    except KeyboardInterrupt as error:
        error.__traceback__ = None
    gc.collect()
    assert not working()


@pytest.mark.parametrize("error", [DataError("the shard is gone"), RuntimeError("a bug")])
def test_what_a_thread_raises_reaches_the_consumer(error: Exception) -> None:
    def hook(index: int) -> None:
        if index == 8:
            raise error

    reading = stream(Listed(IMAGES, hook=hook)).batches(3)
    assert [len(next(reading).labels) for _ in range(2)] == [3, 3]
    with pytest.raises(type(error), match=str(error)):
        next(reading)
    assert list(reading) == []


def test_an_image_that_was_damaged_since_is_named() -> None:
    damaged = (*IMAGES[:4], IMAGES[4][:-30], *IMAGES[5:])
    with pytest.raises(DataError, match=r"^memory/image 4: expected a whole image, .*; it was whole when"):
        list(stream(Listed(damaged)).batches(3))


def test_what_the_source_of_chunks_raises_reaches_the_consumer() -> None:
    def chunks() -> Iterator[NDArray[np.int64]]:
        yield np.arange(3)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        list(stream(Listed(IMAGES)).read(chunks()))


@pytest.mark.parametrize("n", [0, 3, 7, 100])
def test_a_sample_is_that_of_resident_images(n: int) -> None:
    split = stream(Listed(IMAGES, 2), np.arange(3, 25))
    sample, expected = split.take(n, 5), resident(split).take(n, 5)
    assert sample.names == expected.names
    assert np.array_equal(sample.labels, expected.labels)
    assert all(map(np.array_equal, sample.pixels, expected.pixels))


def test_a_batch_may_be_changed() -> None:
    split = stream(Listed(IMAGES))
    for batch in split.batches(30):
        batch.images[0].zero_()
        batch.labels.fill_(7)
    assert split.labels.tolist() == [0, 1, 2] * 10
    assert same(split.batches(7), resident(split).batches(7))


def test_only_scaled_reading_takes_the_decoders_short_cut() -> None:
    large = tuple(encoded(seed, "JPEG", (128, 96)) for seed in range(3))
    exact, scaled = stream(Listed(large)), stream(Listed(large), scaled=True)
    assert same(scaled.batches(3), exact.batches(3))
    assert np.array_equal(scaled.take(3, 0).pixels[0], exact.take(3, 0).pixels[0])
    (whole,), (short,) = exact.read([np.arange(3)]), scaled.read([np.arange(3)])
    difference = (whole.images[0].int() - short.images[0].int()).abs()
    assert difference.any()
    assert difference.float().mean() < 8


def test_images_not_much_larger_than_the_input_are_the_same_scaled() -> None:
    images = (*(encoded(seed, "JPEG", (15, 11)) for seed in range(3)), *(encoded(3, size=(90, 100)),) * 3)
    split = stream(Listed(images), scaled=True)
    assert same(split.read([np.arange(6)]), resident(split).batches(6))
