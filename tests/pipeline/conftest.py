"""A tiny data set in memory, and recipes for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from fit50.data.audit import Audit, Sizes
from fit50.data.dataset import Dataset
from fit50.data.images import Images
from fit50.pipeline.store import Store
from fit50.spec.network import Input, Stem
from fit50.spec.presets import resnet
from fit50.spec.recipe import Load, Recipe
from fit50.spec.training import SGD, Augment, Train

COUNTS: Mapping[str, int] = {"train": 24, "val": 9, "test": 9}


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """Three classes of noise, each of its own brightness, 16 x 16 pixels."""
    random = np.random.default_rng(0)
    splits = {}
    for name, count in COUNTS.items():
        labels = np.arange(count) % 3
        pixels = random.integers(0, 60, (count, 16, 16, 3)) + 80 * labels[:, None, None, None]
        splits[name] = Images((pixels.astype(np.uint8),), labels.astype(np.int64), tuple(map(str, range(count))))
    sizes = Sizes((16, 16), (16, 16), (16, 16))
    return Dataset(("a", "b", "c"), splits, Audit({}, sizes, (), 0), "identity-of-noise")


@pytest.fixture
def recipe() -> Recipe:
    """A narrow network, trained for three epochs."""
    network = resnet((1, 1), widths=(8, 8), expansion=2, stem=Stem(kind="low-resolution", out=8))
    network = network.model_copy(update={"inputs": (Input(height=16, width=16, resize="stretch"),)})
    step = Train(epochs=3, batch=8, optimizer=SGD(lr=0.05), augment=Augment(shift=1), precision="float32")
    return Recipe(steps=(Load(network=network), step), seed=3)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "steps")
