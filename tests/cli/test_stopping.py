"""A training that is asked to stop keeps its state, says so, and goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.cli.conftest import Fit50

from fit50.cli.stopping import stopped_by_sigterm
from fit50.train.stopping import stop_requests
from fit50.weights.checkpoint import Checkpoint

OPTIONS = ("--network", "resnet18", "--image-size", "16", "--batch", "16", "--train.epochs", "4")


def training(data: Path, folder: Path) -> subprocess.Popen[str]:
    words = ("train", str(data), *OPTIONS, "--out", str(folder / "runs"), "--output", str(folder / "model.safetensors"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "fit50", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def epochs(folder: Path) -> list[str]:
    files = list(folder.glob("runs/steps/*/metrics.csv"))
    return [line.split(",")[0] for line in files[0].read_text(encoding="utf-8").splitlines()[1:]] if files else []


@pytest.mark.parametrize(
    ("asked", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_training_that_is_asked_to_stop_goes_on_later(
    digits_folder: Path, tmp_path: Path, asked: signal.Signals, code: int
) -> None:
    process = training(digits_folder, tmp_path)
    while not epochs(tmp_path) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(asked)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "is kept: run the same command again to go on" in said
    assert list(tmp_path.glob("runs/steps/*/training.safetensors"))
    done = epochs(tmp_path)
    assert len(done) < 4

    process = training(digits_folder, tmp_path)
    printed, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "validation accuracy" in printed
    assert epochs(tmp_path) == [str(epoch) for epoch in range(1, 5)]
    assert Checkpoint.load(tmp_path / "model.safetensors").classes == ("digit0", "digit1", "digit2", "digit3")


def swallowed() -> None:
    """Asks this process to stop, in the middle of work that lets no Exception out."""
    with suppress(Exception):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    raise AssertionError("the work went on")


def test_a_job_is_stopped_whatever_it_is_doing(fit50: Fit50, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("fit50.optimize.optimize", lambda *given: swallowed())
    ended = fit50("optimize", "--config", config)
    assert ended.code == 143
    assert "stopped by SIGTERM; what optimize" in ended.err
    assert "run the same command again to go on" in ended.err
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_training_takes_the_signal_first() -> None:
    with stopped_by_sigterm(), stop_requests() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
    assert asked.signal == signal.SIGTERM, "it ends its step, and keeps its state"
