"""Run folders and their log."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fit50.pipeline.store import RunLog, Store
from fit50.spec.errors import StorageError
from fit50.spec.monitor import Monitor
from fit50.spec.recipe import Recipe


def test_a_run_is_found_again_and_left_alone(recipe: Recipe, store: Store) -> None:
    run = store.run(recipe, "data")
    before = (run.folder / "environment.json").stat().st_mtime_ns
    assert store.run(recipe, "data") == run
    assert (run.folder / "environment.json").stat().st_mtime_ns == before


def test_a_place_that_cannot_be_written_is_named(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/steps.*cannot be written"):
        Store(tmp_path / "file" / "steps").run(recipe, "data")


def test_a_line_that_does_not_fit_is_taken_back(recipe: Recipe, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.run(recipe, "data")
    log = RunLog(run, Monitor())
    log.record("epoch", {"epoch": 1})
    opened = Path.open

    class Full:
        """A disk with room for five more bytes."""

        def __init__(self, path: Path) -> None:
            self._file = opened(path, "ab", buffering=0)

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *given: object) -> None:
            self._file.close()

        def tell(self) -> int:
            return self._file.tell()

        def truncate(self, size: int) -> int:
            return os.truncate(self._file.fileno(), size) or size

        def write(self, data: bytes) -> int:
            return self._file.write(data[:5])

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, *given, **named: Full(path))
        with pytest.raises(StorageError, match=r"log\.jsonl: the disk is full"):
            log.record("epoch", {"epoch": 2})
    log.record("epoch", {"epoch": 3})
    lines = (run.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 3]
