"""What every source of images must do, and every data set that is made of one."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from fit50.data.dataset import Dataset, open_dataset
from fit50.data.opening import open_source
from fit50.data.sources.base import Source
from fit50.data.split import Batch
from fit50.spec.errors import DataError
from fit50.spec.network import Input

SPLITS = ("train", "val", "test")
IMAGE = Input(height=8, width=6, resize="stretch")


class DatasetContract(ABC):
    """Inherit, and give ``data`` (and ``pair``, ``inputs``): at least two classes and ten different images of each."""

    inputs: tuple[Input, ...] = (IMAGE,)
    memory_budget = 2**30
    disk_budget: int | None = None

    @abstractmethod
    @pytest.fixture
    def data(self, tmp_path: Path) -> str:
        """Makes the images; what ``open_dataset`` is given."""

    @pytest.fixture
    def pair(self, data: str) -> str | None:
        """The second folder, if there is one."""
        return None

    @pytest.fixture
    def source(self, data: str, pair: str | None, tmp_path: Path) -> Source:
        return open_source(data, cache=tmp_path / "cache", pair=pair)

    @pytest.fixture
    def open(self, data: str, pair: str | None, tmp_path: Path) -> Callable[[int], Dataset]:
        """Opens the data set under a seed."""
        return lambda seed: open_dataset(
            data,
            self.inputs,
            cache=tmp_path / "cache",
            pair=pair,
            seed=seed,
            memory_budget=self.memory_budget,
            disk_budget=self.disk_budget,
        )

    @pytest.fixture
    def dataset(self, open: Callable[[int], Dataset]) -> Dataset:
        return open(0)

    def test_a_source_lists_distinct_names_of_sorted_classes(self, source: Source) -> None:
        assert len(source.classes) >= 2
        assert list(source.classes) == sorted(set(source.classes))
        names = [item.name for item in source.items]
        assert len(set(names)) == len(names)
        assert {item.label for item in source.items} == set(range(len(source.classes)))
        assert {item.split for item in source.items} <= {*SPLITS, None}
        assert source.inputs == len(self.inputs)

    def test_a_source_is_the_same_again(self, source: Source, data: str, pair: str | None, tmp_path: Path) -> None:
        again = open_source(data, cache=tmp_path / "cache", pair=pair)
        assert (again.location, again.classes, again.items) == (source.location, source.classes, source.items)
        stamps = [source.stamp(index) for index in range(len(source.items))]
        assert stamps == [again.stamp(index) for index in range(len(again.items))]
        assert all(isinstance(number, int) for stamp in stamps for number in stamp)

    def test_a_source_is_read_from_threads(self, source: Source) -> None:
        places = [(index, input) for index in range(len(source.items)) for input in range(source.inputs)]
        one_by_one = [source.read(*place) for place in places]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda place: source.read(*place), places)) == one_by_one

    def test_a_source_shuffles_some_of_its_examples(self, source: Source) -> None:
        some = np.arange(1, len(source.items), 2)
        order = source.order(some, torch.Generator().manual_seed(1))
        assert order.dtype == np.int64
        assert order.tolist() != some.tolist()
        assert sorted(order) == some.tolist()
        assert np.array_equal(order, source.order(some, torch.Generator().manual_seed(1)))

    @pytest.mark.parametrize("split", SPLITS)
    def test_images_fit_the_inputs(self, dataset: Dataset, split: str) -> None:
        images = dataset.split(split)
        assert images.labels.dtype == np.int64
        assert len(images.names) == len(images.labels) == len(images)
        for batch in images.batches(7):
            assert [tuple(pixels.shape[1:]) for pixels in batch.images] == [
                (input.height, input.width, input.channels) for input in self.inputs
            ]
            assert all(pixels.dtype == torch.uint8 and len(pixels) == len(batch.labels) for pixels in batch.images)

    @pytest.mark.parametrize("split", SPLITS)
    def test_every_class_is_in_every_split(self, dataset: Dataset, split: str) -> None:
        assert set(dataset.split(split).labels) == set(range(len(dataset.classes)))

    def test_no_example_is_in_two_splits(self, dataset: Dataset) -> None:
        names = [name for split in SPLITS for name in dataset.split(split).names]
        assert len(set(names)) == len(names)

    def test_splits_that_are_given_are_kept(self, dataset: Dataset, source: Source) -> None:
        given = {item.name: item.split for item in source.items}
        for split in SPLITS:
            assert {given[name] for name in dataset.split(split).names} <= {split, "train", None}

    def test_an_unknown_split_is_refused(self, dataset: Dataset) -> None:
        with pytest.raises(DataError, match=r"unknown split 'vall'; did you mean 'val'\?"):
            dataset.split("vall")

    def test_the_audit_counts_what_is_there(self, dataset: Dataset) -> None:
        for split in SPLITS:
            labels = dataset.split(split).labels
            counted = {name: int((labels == label).sum()) for label, name in enumerate(dataset.classes)}
            assert dataset.audit.counts[split] == counted

    def test_the_identity_is_a_digest_that_repeats(self, open: Callable[[int], Dataset]) -> None:
        first, second = open(0), open(0)
        assert re.fullmatch(r"[0-9a-f]{64}", first.identity)
        assert first.identity == second.identity
        for split in SPLITS:
            assert first.split(split).names == second.split(split).names
            assert same(whole(first, split), whole(second, split))

    def test_batches_in_order_are_the_split(self, dataset: Dataset) -> None:
        images = dataset.split("train")
        batches = list(images.batches(3))
        assert torch.equal(torch.cat([batch.labels for batch in batches]), torch.tensor(images.labels))
        assert all(len(batch.labels) == 3 for batch in batches[:-1])
        for number, pixels in enumerate(whole(dataset, "train").images):
            assert torch.equal(torch.cat([batch.images[number] for batch in batches]), pixels)

    def test_an_order_holds_every_index_once(self, dataset: Dataset) -> None:
        images = dataset.split("train")
        order, again = (images.order(torch.Generator().manual_seed(5)) for _ in range(2))
        assert order.tolist() != list(range(len(images)))
        assert sorted(order) == list(range(len(images)))
        assert np.array_equal(order, again)

    def test_chunks_are_read_as_they_are_asked_for(self, dataset: Dataset) -> None:
        images, all_ = dataset.split("train"), whole(dataset, "train")
        chunks = [np.array([3, 1]), np.array([0]), np.array([5, 5, 2])]
        for chunk, batch in zip(chunks, images.read(iter(chunks)), strict=True):
            assert same(batch, Batch(tuple(pixels[chunk] for pixels in all_.images), all_.labels[chunk]))

    def test_a_batch_may_be_changed_without_changing_the_data(self, dataset: Dataset) -> None:
        images, before = dataset.split("train"), whole(dataset, "train")
        for batch in images.batches(len(images)):
            for tensor in (*batch.images, batch.labels):
                tensor.zero_()
        assert same(whole(dataset, "train"), before)
        assert images.labels.any()

    def test_a_batch_has_at_least_one_image(self, dataset: Dataset) -> None:
        with pytest.raises(DataError, match="expected a size of at least 1, found 0"):
            next(dataset.split("val").batches(0))

    def test_a_sample_is_stratified_and_repeats(self, dataset: Dataset) -> None:
        images, all_ = dataset.split("train"), whole(dataset, "train")
        sample, again = images.take(len(images) - 1, 3), images.take(len(images) - 1, 3)
        assert sorted(sample.labels[: len(dataset.classes)]) == list(range(len(dataset.classes)))
        assert sample.labels.tolist() != sorted(sample.labels)
        assert sample.labels.tolist() == [images.labels[images.names.index(name)] for name in sample.names]
        assert sample.names == again.names
        assert len(images.take(10**6, 3)) == len(images)
        assert images.take(10**6, 3).names[: len(sample)] == sample.names
        places = [images.names.index(name) for name in sample.names]
        expected = Batch(tuple(pixels[places] for pixels in all_.images), all_.labels[places])
        assert same(next(sample.batches(len(sample))), expected)


def whole(dataset: Dataset, split: str) -> Batch:
    """All of a split."""
    (batch,) = dataset.split(split).batches(10**6)
    return batch


def same(one: Batch, other: Batch) -> bool:
    """Whether images and labels are equal."""
    pairs = zip((*one.images, one.labels), (*other.images, other.labels), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
