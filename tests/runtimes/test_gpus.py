"""Runtimes on NVIDIA GPUs: refused clearly where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime as ort
import pytest
import torch
from tests.contracts.runtime import truth

from fit50.runtimes import base, runtime
from fit50.runtimes.base import Bundle, Images
from fit50.runtimes.onnxruntime import OnnxRuntime
from fit50.runtimes.verify import verify
from fit50.spec.errors import BundleError, MissingExtraError, RuntimeRefusal
from fit50.spec.numerics import Half, Precision
from fit50.spec.request import Device
from fit50.weights.checkpoint import Checkpoint

GPUS = ("onnxruntime-cuda", "tensorrt")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])


@pytest.fixture
def with_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the package were installed."""
    found = base.import_module
    monkeypatch.setattr(base, "import_module", lambda name: ModuleType(name) if name == "tensorrt" else found(name))


def renamed(bundle: Bundle, name: str) -> Bundle:
    """The bundle as if it were made for another runtime."""
    manifest = bundle.manifest.model_copy(update={"runtime": name})
    (bundle.folder / "bundle.json").write_text(manifest.model_dump_json(), encoding="utf-8")
    return Bundle.open(bundle.folder)


@pytest.mark.usefixtures("no_gpu", "with_tensorrt")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("onnxruntime-cuda", "expected an onnxruntime with CUDA, found one with CPUExecutionProvider; install"),
        ("tensorrt", "expected an NVIDIA GPU, found none; use openvino or onnxruntime"),
    ],
)
def test_without_a_gpu_all_is_refused(checkpoint: Checkpoint, tmp_path: Path, name: str, reason: str) -> None:
    chosen = runtime(name)
    refusal = chosen.refusal(checkpoint.network, Device())
    assert refusal is not None
    assert refusal.startswith(f"{name}: {reason}")
    with pytest.raises(RuntimeRefusal, match=reason):
        chosen.export(checkpoint, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []
    bundle = renamed(OnnxRuntime().export(checkpoint, tmp_path / "bundle"), name)
    with pytest.raises(BundleError, match=f"bundle: {name}: {reason}"):
        chosen.open(bundle, threads=1)


@pytest.mark.parametrize(
    ("name", "precision", "reason"),
    [
        ("onnxruntime-cuda", "fp16", "it computes in float32 only, found fp16; use tensorrt"),
        ("onnxruntime-cuda", "int8", "it computes in float32 only, found int8; use tensorrt"),
        ("tensorrt", "int8", "int8 is not built yet; use fp16, or openvino or onnxruntime"),
    ],
)
def test_other_precisions_are_refused(checkpoint: Checkpoint, name: str, precision: Precision, reason: str) -> None:
    assert runtime(name).refusal(checkpoint.network, Device(), precision) == f"{name}: {reason}"


def test_a_missing_package_names_the_extra(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(base, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"exporting to TensorRT.*pip install 'fit50\[tensorrt\]'"):
        runtime("tensorrt").export(checkpoint, tmp_path / "bundle")


def test_onnxruntime_that_goes_on_without_the_gpu_is_refused(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lists CUDA, and falls back to the processor where the driver or a library is missing."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])

    class Session:
        def __init__(self, *given: object, providers: list[tuple[str, dict[str, int]]]) -> None:
            assert providers == [("CUDAExecutionProvider", {"use_tf32": 0})]

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(ort, "InferenceSession", Session)
    with pytest.raises(RuntimeRefusal, match="expected CUDAExecutionProvider, found only CPUExecutionProvider"):
        runtime("onnxruntime-cuda").export(checkpoint, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("name", "precision"),
    [("onnxruntime-cuda", "float32"), ("tensorrt", "float32"), ("tensorrt", "fp16"), ("tensorrt", "bf16")],
)
def test_answers_on_the_gpu_agree_with_torch(
    checkpoint: Checkpoint, images: Images, tmp_path: Path, name: str, precision: str
) -> None:
    if name == "tensorrt":
        pytest.importorskip("tensorrt")
    form = checkpoint if precision == "float32" else replace(checkpoint, numerics=Half.parse({"kind": precision}))
    bundle = runtime(name).export(form, tmp_path / "bundle")
    session = runtime(name).open(bundle, threads=1)
    for count in (1, len(images)):
        difference = np.abs(session.run(images[:count]) - truth(checkpoint, images[:count])).max()
        assert difference < bundle.manifest.tolerance
    assert verify(bundle, threads=1).same_answers == 4
