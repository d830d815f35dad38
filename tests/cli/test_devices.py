"""Several processes from the command line: one writes and speaks, all learn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fit50.weights.checkpoint import Checkpoint

OPTIONS = ("--network", "resnet18", "--image-size", "32", "--batch", "16", "--train.epochs", "1", "--seed", "0")
PLAIN = ("--train.precision", "float32", "--train.optimizer", "{kind: sgd, lr: 0.01}")


def trained(data: Path, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = (
        "train",
        str(data),
        *OPTIONS,
        *PLAIN,
        *more,
        "--out",
        str(folder / "runs"),
        "--output",
        str(folder / "model"),
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "fit50", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)


@pytest.mark.slow
def test_two_processes_make_one_file(digits_folder: Path, tmp_path: Path) -> None:
    files = []
    for count in ("1", "2"):
        folder = tmp_path / count
        done = trained(digits_folder, folder, "--devices", count)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("validation accuracy") == 1
        assert "GLOBAL_RANK" not in done.stderr
        assert "UserWarning" not in done.stderr
        assert len(list(folder.glob("runs/steps/*/metrics.csv"))) == 1
        files.append(Checkpoint.load(folder / "model").tensors)
    for key, tensor in files[0].items():
        assert torch.allclose(tensor.float(), files[1][key].float(), atol=1e-3), key


@pytest.mark.slow
def test_what_is_wrong_is_said_once(digits_folder: Path, tmp_path: Path) -> None:
    done = trained(digits_folder, tmp_path, "--devices", "2", "--train.batch", "6")
    assert done.returncode == 2
    assert "expected a batch that gives each of 2 processes the same even number" in done.stderr
    assert "a fault of fit50" not in done.stderr
