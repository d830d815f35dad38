"""Batch statistics are those of images, not of what a network once was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.compress.zoo import EVERY, dataset
from torch import Tensor

from fit50.data.dataset import Dataset
from fit50.nn.deployed import Normalize
from fit50.spec.monitor import Monitor
from fit50.spec.network import Network
from fit50.spec.training import AdamW, Train
from fit50.train import learner, train
from fit50.train.statistics import recalibrated
from fit50.weights.checkpoint import Checkpoint

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]
SHORT = Train(epochs=1, batch=16, optimizer=AdamW(lr=1e-3), precision="float32")


def test_new_statistics_are_the_images_own(narrow: Narrow, lived_in: LivedIn, digits: Dataset) -> None:
    checkpoint = lived_in(narrow((1, 1), dropout=0.5))
    images = digits.split("train").take(33, 0)
    after = recalibrated(checkpoint, images, batch=16)
    maps: list[Tensor] = []
    module = checkpoint.module()
    module.conv1.register_forward_hook(lambda *call: maps.append(call[2]))
    order = np.random.default_rng(0).permutation(33)
    for (pixels,), _ in images.read(np.split(order, 3)):
        module(Normalize(checkpoint.network.inputs[0])(pixels))
    means = torch.stack([found.mean((0, 2, 3)) for found in maps]).mean(0)
    variances = torch.stack([found.var((0, 2, 3)) for found in maps]).mean(0)
    torch.testing.assert_close(after.tensors["bn1.running_mean"], means, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after.tensors["bn1.running_var"], variances, rtol=1e-4, atol=1e-5)
    counts = {tensor.item() for key, tensor in after.tensors.items() if key.endswith("num_batches_tracked")}
    assert counts == {3}, "batches of 11 images, not of 16, 16 and 1"
    for key, tensor in checkpoint.tensors.items():
        changed = key.rsplit(".", 1)[1] in ("running_mean", "running_var", "num_batches_tracked")
        assert torch.equal(after.tensors[key], tensor) != changed, key


def test_both_inputs_have_statistics_and_none_is_hidden(lived_in: LivedIn) -> None:
    checkpoint = lived_in(EVERY["two inputs, gated early, either may be missing"])
    pairs = dataset(checkpoint.network, 16).split("train")
    first, again = (recalibrated(checkpoint, pairs).tensors for _ in range(2))
    assert all(torch.equal(first[key], tensor) for key, tensor in again.items())
    batch, _ = next(pairs.batches(16))
    module = checkpoint.module()
    for conv, norm, image, pixels in (
        (module.conv1, "bn1", checkpoint.network.inputs[0], batch[0]),
        (module.get_submodule("second.conv1"), "second.bn1", checkpoint.network.inputs[1], batch[1]),
    ):
        mean = conv(Normalize(image)(pixels)).mean((0, 2, 3))
        torch.testing.assert_close(first[f"{norm}.running_mean"], mean, rtol=1e-4, atol=1e-5)


def trained(start: Checkpoint, step: Train, data: Dataset, folder: Path) -> Checkpoint:
    return train(start, step, data, seed=0, saved=folder / "saved", monitor=Monitor())


def alike(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether both have the same batch statistics."""
    keys = [key for key in one.tensors if ".running_" in key]
    return all(torch.equal(one.tensors[key], other.tensors[key]) for key in keys)


@pytest.mark.parametrize("ema", [None, 0.99])
def test_a_short_training_ends_with_the_statistics_of_its_weights(
    ema: float | None, narrow: Narrow, lived_in: LivedIn, digits: Dataset, tmp_path: Path
) -> None:
    start = lived_in(narrow((1, 1)), classes=digits.classes)
    after = trained(start, SHORT.model_copy(update={"ema": ema}), digits, tmp_path)
    assert alike(after, recalibrated(after, digits.split("train").take(1024, 0)))
    assert not alike(after, start)


def test_a_long_one_keeps_its_running_averages(
    narrow: Narrow, lived_in: LivedIn, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = lived_in(narrow((1, 1)), classes=digits.classes)
    monkeypatch.setattr(learner, "SETTLED", 10)
    after = trained(start, SHORT, digits, tmp_path)
    assert not alike(after, recalibrated(after, digits.split("train").take(1024, 0)))
    assert not alike(after, start)


def test_what_is_frozen_keeps_them(narrow: Narrow, lived_in: LivedIn, digits: Dataset, tmp_path: Path) -> None:
    """The head has learned from what they make of the images."""
    start = lived_in(narrow((1, 1)), classes=digits.classes)
    assert alike(trained(start, SHORT.model_copy(update={"frozen": 1.0}), digits, tmp_path), start)
