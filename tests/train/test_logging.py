"""What is recorded arrives in the file, in TensorBoard, MLflow and W&B, once for each epoch, also after a kill."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from fit50.spec.errors import MissingExtraError, SpecError
from fit50.spec.monitor import Monitor
from fit50.spec.training import Train
from fit50.train.logging import Logging, loggers


class Listener(Monitor):
    """Keeps what is passed on."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def progress(self, label: str, done: int, total: int) -> None:
        self.heard.append((label, done, total))

    def say(self, text: str) -> None:
        self.heard.append(text)

    def record(self, event: str, facts: Mapping[str, object]) -> None:
        self.heard.append((event, facts))


def log(folder: Path, epochs: Sequence[int], names: Sequence[str] = (), **more: object) -> Listener:
    listener = Listener()
    with Logging(loggers(names, folder), Train().model_dump(), listener) as monitor:
        for epoch in epochs:
            monitor.record("epoch", {"epoch": epoch, "loss": 1 / epoch, "val": epoch / 10, "note": "text", **more})
    return listener


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text("seed: 0\n")
    return folder


def test_a_row_an_epoch(run: Path) -> None:
    log(run, (1, 2))
    assert (run / "metrics.csv").read_text() == "epoch,loss,val\n1,1.0,0.1\n2,0.5,0.2\n"
    assert sorted(path.name for path in run.iterdir()) == ["metrics.csv", "recipe.yaml"]


def test_a_continued_run_goes_over_the_rows_it_repeats(run: Path) -> None:
    log(run, (1, 2, 3, 4))
    log(run, (3,), speed=7.0)
    assert [(row["epoch"], row["val"], row["speed"]) for row in rows(run)] == [
        ("1", "0.1", ""),
        ("2", "0.2", ""),
        ("3", "0.3", "7.0"),
    ]
    log(run, (4,))
    assert [row["epoch"] for row in rows(run)] == ["1", "2", "3", "4"]


def test_everything_is_passed_on(run: Path) -> None:
    listener = Listener()
    with Logging(loggers((), run), {}, listener) as monitor:
        monitor.say("hello")
        monitor.progress("train", 1, 2)
        monitor.record("resumed", {"epoch": 3})
        monitor.record("epoch", {"epoch": 4, "loss": 0.5})
    expected = ["hello", ("train", 1, 2), ("resumed", {"epoch": 3}), ("epoch", {"epoch": 4, "loss": 0.5})]
    assert listener.heard == expected
    assert [row["epoch"] for row in rows(run)] == ["4"]


def test_an_unknown_logger_is_named(run: Path) -> None:
    with pytest.raises(SpecError, match="logger 'tensorbord': unknown; did you mean 'tensorboard'"):
        loggers(("tensorbord",), run)


@pytest.mark.parametrize(
    ("name", "package"),
    [("tensorboard", "tensorboard"), ("mlflow", "mlflow"), ("wandb", "wandb"), ("wandb", "pytorch_lightning")],
)
def test_a_missing_package_names_its_extra(name: str, package: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fit50.train.logging.find_spec", lambda asked: None if asked == package else asked)
    with pytest.raises(MissingExtraError, match=rf"{package}.*fit50\[{name}\]"):
        loggers((name,), run)


def test_tensorboard_reads_what_was_logged(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log(run, (1, 2), ("tensorboard",))
    log(run, (3,), ("tensorboard",))
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("val")] == [
        (epoch, pytest.approx(epoch / 10)) for epoch in (1, 2, 3)
    ]
    assert "note" not in events.Tags()["scalars"]
    assert "_hparams_/session_start_info" in events.summary_metadata


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its database layer
def test_mlflow_goes_on_in_the_same_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="the extra mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(run)
    log(run, (1, 2), ("mlflow",))
    log(run, (3,), ("mlflow",))
    client = tracking.MlflowClient(f"sqlite:///{run.parent / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("fit50").experiment_id])
    assert (found.info.run_name, found.info.status) == (run.name, "FINISHED")
    assert found.data.params["optimizer/lr"] == "0.1"
    history = client.get_metric_history(found.info.run_id, "val")
    assert sorted((point.step, point.value) for point in history) == [(1, 0.1), (2, 0.2), (3, 0.3)]


@pytest.mark.slow
def test_wandb_closes_each_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="the extra wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    log(run, (1, 2), ("wandb",))
    assert wandb.run is None
    other = run.with_name("fedcba9876543210")
    other.mkdir()
    log(other, (1,), ("wandb",))
    for folder in (run, other):
        (written,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
        assert written.name == f"run-{folder.name}.wandb" and written.stat().st_size > 0
