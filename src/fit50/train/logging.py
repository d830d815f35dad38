"""Where the figures of a training go besides ``log.jsonl``: ``metrics.csv``, and trackers through Fabric's loggers."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from lightning_fabric.loggers.logger import Logger

from fit50.spec.errors import MissingExtraError, SpecError
from fit50.spec.files import storage_errors, write_text
from fit50.spec.monitor import Monitor
from fit50.spec.value import suggestion

PROJECT = "fit50"
"""The name of the experiment or project in MLflow and W&B."""


class CSVFile(Logger):
    """``metrics.csv``, a row an epoch. Fabric's own CSVLogger deletes the file of a run that is continued."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "metrics.csv"

    @property
    def name(self) -> str:
        """The name of the file."""
        return self._path.name

    @property
    def version(self) -> None:
        """None: a run has one file."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Puts a row in the place of those that an interrupted run wrote from this epoch on. Raises StorageError."""
        rows: list[dict[str, Any]] = []
        if self._path.exists():
            with storage_errors(self._path), self._path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if int(row["epoch"]) < (step or 0)]
        rows.append({"epoch": step, **metrics})
        text = StringIO(newline="")
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self._path, text.getvalue())

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:  # type: ignore[override]
        """Not here: the run's ``recipe.yaml`` has them."""


class Logging(Monitor):
    """Gives the figures of each epoch to loggers, and passes everything on; a context, at whose end they are closed."""

    def __init__(self, loggers: Sequence[Logger], hyperparameters: Mapping[str, object], listener: Monitor) -> None:
        self._loggers, self._listener = loggers, listener
        for logger in loggers:
            logger.log_hyperparams(dict(hyperparameters))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for logger in self._loggers:
            logger.finalize("success" if kind is None else "failed")

    def progress(self, label: str, done: int, total: int) -> None:
        """Passed on."""
        self._listener.progress(label, done, total)

    def say(self, text: str) -> None:
        """Passed on."""
        self._listener.say(text)

    def record(self, event: str, facts: Mapping[str, object]) -> None:
        """The numbers of an ``epoch`` are logged; everything is passed on. Raises StorageError."""
        if event == "epoch":
            figures = {key: fact for key, fact in facts.items() if isinstance(fact, int | float)}
            epoch = int(figures.pop("epoch"))
            for logger in self._loggers:
                logger.log_metrics(figures, epoch)
                logger.save()
        self._listener.record(event, facts)


def loggers(names: Sequence[str], folder: Path) -> list[Logger]:
    """``metrics.csv`` in the folder of a run, and the trackers of these names.

    A run that is continued goes on in each of them: its folder's name is what they know it by.

    Args:
        names: any of ``tensorboard`` (event files in the folder), ``mlflow`` (at MLFLOW_TRACKING_URI, or else in
            ``mlflow.db`` beside the folder) and ``wandb`` (as its own environment variables say).
        folder: of the run.

    Raises:
        SpecError: an unknown name.
        MissingExtraError: a tracker's package is not installed.
    """
    refuse_missing(names)
    return [CSVFile(folder), *(TRACKERS[name].open(folder) for name in names)]


def refuse_missing(names: Sequence[str]) -> None:
    """Raises SpecError for a name that is no tracker's, MissingExtraError where a package of it is not installed."""
    for name in names:
        if name not in TRACKERS:
            raise SpecError(f"logger {name!r}: unknown{suggestion(name, TRACKERS)}")
        for package in TRACKERS[name].packages:
            if find_spec(package) is None:
                raise MissingExtraError(f"the logger {name!r}", package, name)


def _tensorboard(folder: Path) -> Logger:
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    return TensorBoardLogger(folder, name="", version="tensorboard")


def _mlflow(folder: Path) -> Logger:
    from mlflow.tracking import MlflowClient
    from pytorch_lightning.loggers import MLFlowLogger

    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.resolve().parent / 'mlflow.db'}"
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(PROJECT)
    known = f"tags.`mlflow.runName` = '{folder.name}'"
    runs = client.search_runs([experiment.experiment_id], known) if experiment else []
    return MLFlowLogger(PROJECT, folder.name, uri, run_id=runs[0].info.run_id if runs else None)


def _wandb(folder: Path) -> Logger:
    from pytorch_lightning.loggers import WandbLogger

    class Finishing(WandbLogger):  # type: ignore[misc]
        """Lightning leaves a run open, and the process's next run would go on in it."""

        def finalize(self, status: str) -> None:
            super().finalize(status)
            self.experiment.finish(exit_code=int(status != "success"))

    project = os.environ.get("WANDB_PROJECT", PROJECT)
    return Finishing(folder.name, folder, folder.name, project=project)


class Tracker(NamedTuple):
    """What opens a logger for the folder of a run, and the packages that it needs."""

    open: Callable[[Path], Logger]
    packages: tuple[str, ...]


TRACKERS = {
    "tensorboard": Tracker(_tensorboard, ("tensorboard",)),
    "mlflow": Tracker(_mlflow, ("mlflow", "pytorch_lightning")),
    "wandb": Tracker(_wandb, ("wandb", "pytorch_lightning")),
}
