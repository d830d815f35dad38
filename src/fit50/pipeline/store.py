"""Where finished steps are kept: one folder for each recipe on each data set, named by their digest."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fit50.spec.digest import digest
from fit50.spec.files import storage_errors, write_text
from fit50.spec.machine import environment
from fit50.spec.monitor import Monitor
from fit50.spec.recipe import Recipe


@dataclass(frozen=True)
class Run:
    """The folder of one recipe on one data set.

    ``recipe.yaml`` and ``environment.json`` say what and where, ``log.jsonl`` what happened, ``model.safetensors`` is
    the result, ``training.safetensors`` an unfinished training, ``bundles/`` what was exported from it.
    """

    folder: Path

    @property
    def model(self) -> Path:
        """The finished checkpoint."""
        return self.folder / "model.safetensors"

    @property
    def training(self) -> Path:
        """The state of an unfinished training."""
        return self.folder / "training.safetensors"

    def bundle(self, runtime: str) -> Path:
        """The folder of the bundle for a runtime."""
        return self.folder / "bundles" / runtime


@dataclass(frozen=True)
class Store:
    """All runs below one folder; whatever ran once is found again by its digest.

    Of several processes that train together, one ``writes``.
    """

    folder: Path
    writes: bool = True

    def run(self, recipe: Recipe, dataset: str) -> Run:
        """The run of a recipe on the data set with this identity.

        Its folder exists afterwards, where this process writes. Raises StorageError.
        """
        name = hashlib.sha256(f"{digest(recipe)}:{dataset}".encode()).hexdigest()[:16]
        run = Run(self.folder / name)
        if not self.writes:
            return run
        with storage_errors(run.folder):
            run.folder.mkdir(parents=True, exist_ok=True)
        if not (run.folder / "recipe.yaml").exists():
            write_text(run.folder / "environment.json", environment().model_dump_json(indent=1))
            write_text(run.folder / "recipe.yaml", recipe.yaml())
        return run


class RunLog(Monitor):
    """Writes what is recorded to ``log.jsonl``, a line an event, and passes everything on."""

    def __init__(self, run: Run, listener: Monitor) -> None:
        self._path, self._listener = run.folder / "log.jsonl", listener

    def progress(self, label: str, done: int, total: int) -> None:
        """Passed on."""
        self._listener.progress(label, done, total)

    def say(self, text: str) -> None:
        """Passed on."""
        self._listener.say(text)

    def record(self, event: str, facts: Mapping[str, object]) -> None:
        """Appended to the log as a whole line or not at all, and passed on. Raises StorageError."""
        line = f"{json.dumps({'event': event, **facts})}\n".encode()
        with storage_errors(self._path), self._path.open("ab", buffering=0) as file:
            end = file.tell()
            if file.write(line) < len(line):
                file.truncate(end)
                raise OSError(errno.ENOSPC, "the line did not fit")
        self._listener.record(event, facts)
