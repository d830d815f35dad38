"""Floors from given rates, and that the rates can be measured."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from fit50.runtimes.base import Bundle, Manifest
from fit50.runtimes.floor import Rates, bandwidth, floor, measured_rates, multiple, multiply_rate, traffic
from fit50.runtimes.onnxruntime import OnnxRuntime
from fit50.spec.benchmark import Load
from fit50.spec.errors import DeviceError
from fit50.spec.numerics import Precision
from fit50.weights.checkpoint import Checkpoint


def bundle(monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint, **fields: object) -> Bundle:
    """A bundle of two megabytes."""
    manifest = Manifest(
        runtime="openvino", precision="int8", files={}, classes=(), network=checkpoint.network, tolerance=0.1
    )
    monkeypatch.setattr(Bundle, "size", 2.0)
    return Bundle(Path("it"), manifest.model_copy(update={"gmacs": 4.0, "activations": 1000} | fields))


def test_bytes_are_the_file_for_a_stream_and_the_activations_for_an_image(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = bundle(monkeypatch, checkpoint)
    assert traffic(small, Load(threads=4)) == 2_001_000
    assert traffic(small, Load(threads=4, streams=2, batch=3)) == 4_006_000
    half = bundle(monkeypatch, checkpoint, precision="bf16")
    assert traffic(half, Load(threads=4, batch=3)) == 2_006_000


def test_the_floor_is_the_longer_of_moving_and_computing(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Load(threads=2, streams=2, batch=8)
    file = bundle(monkeypatch, checkpoint)
    moved = traffic(file, load)
    found = floor(file, load, Rates(100, {moved: 20}), ("avx512_vnni",))
    assert found is not None
    assert (found.bound, found.gmacs, found.rate, found.multiple) == ("arithmetic", 64, 400, 4)
    assert found.milliseconds == pytest.approx(1e3 * 64 / 400)
    found = floor(file, load, Rates(100, {moved: 0.02}), ("avx512_vnni",))
    assert found is not None
    assert found.bound == "memory"
    assert found.milliseconds == pytest.approx(moved / 0.02e9 * 1e3)


def test_a_bundle_of_an_older_version_has_no_floor(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    old = bundle(monkeypatch, checkpoint, gmacs=None, activations=None)
    assert floor(old, Load(threads=1), Rates(1, {2_000_000: 1}), ()) is None


@pytest.mark.parametrize(
    ("precision", "isa", "expected"),
    [
        ("float32", ("avx512f", "amx_bf16"), 1),
        ("int8", ("avx2", "avx512f", "avx512_vnni"), 4),
        ("int8", ("avx512_vnni", "amx_int8"), 32),
        ("int8", ("avx2",), 4 / 3),
        ("int8", ("asimd", "asimddp", "i8mm"), 8),
        ("bf16", ("avx512f", "avx512_bf16"), 2),
        ("bf16", ("avx2",), 1),
        ("fp16", ("asimdhp",), 2),
    ],
)
def test_rates_of_other_precisions_are_assumed_from_the_instruction_sets(
    precision: Precision, isa: tuple[str, ...], expected: float
) -> None:
    assert multiple(precision, isa) == expected


def test_every_precision_has_a_rate_without_instruction_sets() -> None:
    assert {multiple(precision, ()) for precision in get_args(Precision)} == {1}


def test_rates_are_measured_in_a_fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured_rates(1, [3_000_000, 5_000_000])
    assert list(found.bandwidths) == [3_000_000, 5_000_000]
    assert found.gmacs > 0.01
    assert min(found.bandwidths.values()) > 0.01


def test_threads_that_wait_for_each_other_multiply_no_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    processor, product = threading.Lock(), 0.002

    def multiply(*given: object, **named: object) -> None:
        with processor:
            time.sleep(product)

    monkeypatch.setattr("fit50.runtimes.floor._SPENT", 0.0)
    monkeypatch.setattr(np, "matmul", multiply)
    assert multiply_rate(8, side=8) <= 8**3 / 1e9 / product


def test_what_no_cache_holds_is_not_moved_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def full(shape: int, *given: object) -> NDArray[np.uint8]:
        asked.append(shape)
        return np.full(8, 1, np.uint8)

    monkeypatch.setattr("fit50.runtimes.floor._SPENT", 0.0)
    monkeypatch.setattr(np, "zeros", full)
    monkeypatch.setattr(np, "ones", full)
    assert bandwidth(10**15, 2) > 0
    assert sum(asked) == 1 << 30


def test_rates_that_cannot_be_measured_are_the_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fit50.runtimes.floor.sys.executable", "false")
    with pytest.raises(DeviceError, match="multiply and copy in 3 threads, found: exit code 1"):
        measured_rates(3, [1])


def test_threads_copy_and_multiply_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fit50.runtimes.floor._SPENT", 0.0)
    assert multiply_rate(2, side=8) > 0
    assert bandwidth(1 << 20, 2, timed=1 << 21) > 0


def test_an_export_says_what_it_computes(checkpoint: Checkpoint, tmp_path: Path) -> None:
    manifest = OnnxRuntime().export(checkpoint, tmp_path / "bundle").manifest
    assert manifest.gmacs is not None
    assert 1e-4 < manifest.gmacs < 1
    assert manifest.activations is not None
    image = checkpoint.network.inputs[0]
    assert manifest.activations > image.height * image.width * image.channels
