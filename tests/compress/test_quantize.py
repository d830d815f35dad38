"""Eight bits as a property of a checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fit50.compress import qat
from fit50.compress.quantize import calibration, quantize
from fit50.data.dataset import Dataset
from fit50.runtimes.base import Calibration
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.network import Network
from fit50.spec.numerics import Half, Int8
from fit50.spec.recipe import Quantize
from fit50.weights.checkpoint import Checkpoint

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]


@pytest.mark.parametrize(("asked", "given"), [(20, 20), (10_000, 160)])
def test_numerics_name_the_calibration(
    asked: int, given: int, narrow: Narrow, lived_in: LivedIn, digits: Dataset
) -> None:
    before = lived_in(narrow((1,)))
    after = quantize(before, Quantize(samples=asked, max_drop=0.5), digits)
    assert after.numerics == Int8(dataset=digits.identity, samples=given, max_drop=0.5)
    assert after.tensors is before.tensors
    assert after.network == before.network
    found = calibration(after, digits, seed=1)
    assert found is not None
    assert np.array_equal(found.images[0], digits.split("train").take(given, 1).pixels[0])
    assert calibration(before, digits, seed=1) is None


def test_training_through_the_rounding_keeps_weights_and_ranges(
    narrow: Narrow, lived_in: LivedIn, digits: Dataset, tmp_path: Path
) -> None:
    before = lived_in(narrow((1,), width=8), classes=digits.classes)
    step = Quantize(method="qat", epochs=1, batch=32, max_drop=2)
    after = quantize(before, step, digits, seed=1, saved=tmp_path / "state")
    after.save(tmp_path / "model.safetensors")
    again = Checkpoint.load(tmp_path / "model.safetensors")
    assert again.numerics == after.numerics
    assert isinstance(again.numerics, Int8)
    assert again.numerics.learned is not None
    assert all(least < largest for least, largest in again.numerics.learned.ranges.values())
    assert again.tensors.keys() == before.tensors.keys()
    assert not torch.equal(again.tensors["conv1.weight"], before.tensors["conv1.weight"])
    assert again.module()(torch.zeros(1, 3, 16, 16)).isfinite().all()
    judges = calibration(again, digits, seed=1)
    assert judges is not None
    assert judges.images == (), "the ranges are known, and the training split may be large"
    assert len(judges.labels) == len(digits.split("val"))


@pytest.mark.parametrize("saturates", [False, True])
def test_training_rounds_as_the_processor_asks_for(
    saturates: bool,
    narrow: Narrow,
    lived_in: LivedIn,
    digits: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(checkpoint: Checkpoint, saturates: bool) -> None:
        raise RuntimeRefusal(str(saturates))

    monkeypatch.setattr(qat, "Rounding", refused)
    step = Quantize(method="qat", epochs=1, saturates=saturates)
    with pytest.raises(RuntimeRefusal, match=f"^{saturates}$"):
        quantize(lived_in(narrow((1,)), classes=digits.classes), step, digits, saved=tmp_path / "state")


def test_training_is_judged_by_validation_images_and_reads_no_others_for_that(
    narrow: Narrow, lived_in: LivedIn, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Calibration] = []
    module = sys.modules[quantize.__module__]  # its name in the package is the function's
    monkeypatch.setattr(module, "trained_to_round", lambda *a, **k: given.append(a[3]))
    quantize(lived_in(narrow((1,)), classes=digits.classes), Quantize(method="qat"), digits, saved=tmp_path / "state")
    (judges,) = given
    assert judges.images == ()
    assert np.array_equal(judges.labels, digits.split("val").labels)


def test_half_precision_needs_no_images(narrow: Narrow, lived_in: LivedIn, digits: Dataset) -> None:
    after = quantize(lived_in(narrow((1,))), Quantize(to="bf16"), digits)
    assert after.numerics == Half(kind="bf16")
    assert calibration(after, digits, seed=0) is None
