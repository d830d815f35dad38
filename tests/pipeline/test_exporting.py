"""What a run's bundles are, and why there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from fit50.data.dataset import Dataset
from fit50.pipeline import exporting
from fit50.pipeline.exporting import exported
from fit50.pipeline.realise import load
from fit50.pipeline.store import Run, Store
from fit50.runtimes.base import Bundle
from fit50.runtimes.onnxruntime import OnnxRuntime
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.machine import environment, isa
from fit50.spec.recipe import Load, Recipe
from fit50.weights.checkpoint import Checkpoint


@pytest.fixture
def checkpoint(recipe: Recipe) -> Checkpoint:
    first = recipe.steps[0]
    assert isinstance(first, Load)
    return load(first, ("a", "b", "c"), seed=0)


@pytest.fixture
def run(recipe: Recipe, dataset: Dataset, store: Store) -> Run:
    return store.run(recipe, dataset.identity)


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders of the exports that were tried: all are refused."""
    tried: list[Path] = []

    def refused(self: OnnxRuntime, checkpoint: Checkpoint, folder: Path, calibration: object) -> Bundle:
        tried.append(folder)
        raise RuntimeRefusal("it loses too much")

    monkeypatch.setattr(OnnxRuntime, "export", refused)
    return tried


def attempt(run: Run, checkpoint: Checkpoint) -> str:
    with pytest.raises(RuntimeRefusal) as refusal:
        exported(run, checkpoint, "onnxruntime", isa(), lambda: None)
    return str(refusal.value)


def test_a_file_is_made_once(run: Run, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    first = exported(run, checkpoint, "onnxruntime", isa(), lambda: None)
    monkeypatch.delattr(OnnxRuntime, "export")
    assert exported(run, checkpoint, "onnxruntime", isa(), lambda: None) == first


def test_what_was_refused_is_not_tried_again(run: Run, checkpoint: Checkpoint, exports: list[Path]) -> None:
    assert [attempt(run, checkpoint) for _ in range(2)] == ["it loses too much"] * 2
    assert len(exports) == 1


def test_with_other_software_it_is_tried_again(
    run: Run, checkpoint: Checkpoint, exports: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt(run, checkpoint)
    newer = environment().model_copy(update={"versions": {"onnxruntime": "99"}})
    monkeypatch.setattr(exporting, "environment", lambda: newer)
    attempt(run, checkpoint)
    assert len(exports) == 2


def test_what_the_runtime_cannot_do_here_is_not_remembered(
    run: Run, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(OnnxRuntime, "refusal", lambda *given, **named: "no GPU")
        assert attempt(run, checkpoint) == "no GPU"
    assert exported(run, checkpoint, "onnxruntime", isa(), lambda: None).manifest.precision == "float32"
