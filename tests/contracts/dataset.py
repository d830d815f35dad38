"""What every data set must do, whatever source it comes from."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fit50.data.dataset import Dataset
from fit50.spec.errors import DataError
from fit50.spec.network import Input

SPLITS = ("train", "val", "test")


class DatasetContract(ABC):
    """Inherit, and give ``open``: a data set of at least two classes and ten images, the same for the same seed."""

    input = Input(height=8, width=6, resize="stretch")

    @abstractmethod
    @pytest.fixture
    def open(self, tmp_path: Path) -> Callable[[int], Dataset]:
        """Opens the data set under a seed."""

    @pytest.fixture
    def dataset(self, open: Callable[[int], Dataset]) -> Dataset:
        return open(0)

    def test_classes_are_sorted_and_distinct(self, dataset: Dataset) -> None:
        assert len(dataset.classes) >= 2
        assert list(dataset.classes) == sorted(set(dataset.classes))

    @pytest.mark.parametrize("split", SPLITS)
    def test_images_fit_the_input(self, dataset: Dataset, split: str) -> None:
        images = dataset.split(split)
        assert images.images.dtype == np.uint8
        assert images.images.shape == (len(images), self.input.height, self.input.width, self.input.channels)
        assert images.labels.dtype == np.int64
        assert len(images.paths) == len(images)

    @pytest.mark.parametrize("split", SPLITS)
    def test_every_class_is_in_every_split(self, dataset: Dataset, split: str) -> None:
        assert set(dataset.split(split).labels) == set(range(len(dataset.classes)))

    def test_no_file_is_in_two_splits(self, dataset: Dataset) -> None:
        paths = [path for split in SPLITS for path in dataset.split(split).paths]
        assert len(set(paths)) == len(paths)

    def test_an_unknown_split_is_refused(self, dataset: Dataset) -> None:
        with pytest.raises(DataError, match=r"unknown split 'vall'; did you mean 'val'\?"):
            dataset.split("vall")

    def test_the_audit_counts_what_is_there(self, dataset: Dataset) -> None:
        for split in SPLITS:
            images = dataset.split(split)
            counted = {name: int((images.labels == label).sum()) for label, name in enumerate(dataset.classes)}
            assert dataset.audit.counts[split] == counted

    def test_the_identity_is_a_digest_that_repeats(self, open: Callable[[int], Dataset]) -> None:
        first, second = open(0), open(0)
        assert re.fullmatch(r"[0-9a-f]{64}", first.identity)
        assert first.identity == second.identity
        for split in SPLITS:
            assert np.array_equal(first.split(split).images, second.split(split).images)
            assert first.split(split).paths == second.split(split).paths

    def test_batches_in_order_are_the_split(self, dataset: Dataset) -> None:
        images = dataset.split("train")
        batches = list(images.batches(3))
        assert torch.equal(torch.cat([batch.images for batch in batches]), torch.tensor(np.array(images.images)))
        assert torch.equal(torch.cat([batch.labels for batch in batches]), torch.tensor(images.labels))
        assert all(len(labels) == 3 for _, labels in batches[:-1])

    def test_shuffled_batches_hold_every_image_once(self, dataset: Dataset) -> None:
        images = dataset.split("train")
        batches = list(images.batches(3, torch.Generator().manual_seed(5)))
        again = list(images.batches(3, torch.Generator().manual_seed(5)))
        assert all(torch.equal(a.images, b.images) for a, b in zip(batches, again, strict=True))
        shuffled = torch.cat([batch.images for batch in batches]).flatten(1)
        assert sorted(shuffled.tolist()) == sorted(images.images.reshape(len(images), -1).tolist())

    def test_drop_last_leaves_whole_batches(self, dataset: Dataset) -> None:
        images = dataset.split("train")
        size = len(images) - 1
        assert [len(labels) for _, labels in images.batches(size, drop_last=True)] == [size]

    def test_a_batch_may_be_changed_without_changing_the_data(self, dataset: Dataset) -> None:
        images = dataset.split("train")
        before = np.array(images.images)
        for batch in images.batches(len(images)):
            batch.images.zero_()
            batch.labels.zero_()
        assert np.array_equal(images.images, before)
        assert images.labels.any()

    def test_a_sample_is_stratified_and_repeats(self, dataset: Dataset) -> None:
        images = dataset.split("train")
        sample, again = images.take(len(dataset.classes), 3), images.take(len(dataset.classes), 3)
        assert sorted(sample.labels) == list(range(len(dataset.classes)))
        assert sample.paths == again.paths
        assert len(images.take(10**6, 3)) == len(images)
        assert images.take(10**6, 3).paths[: len(sample)] == sample.paths
