"""A device needs no torch: what opens, checks and measures bundles runs without the training packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle
from fit50.weights.checkpoint import Checkpoint

_HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "safetensors", "lightning_fabric", "scipy", "nncf", "onnx", "onnxscript"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process, and of those it starts, that find no training package."""
    folder = tmp_path_factory.mktemp("light")
    (folder / "sitecustomize.py").write_text(_HIDE, encoding="utf-8")
    return os.environ | {"PYTHONPATH": str(folder)}


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def bundle(request: pytest.FixtureRequest, checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return runtime(request.param).export(checkpoint, tmp_path_factory.mktemp("bundles") / request.param)


def fit50(*words: str | Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fit50", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_the_packages_are_hidden(light: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import torch"], env=light, capture_output=True, text=True, check=False
    )
    assert "No module named 'torch'" in done.stderr


def test_verify(bundle: Bundle, light: dict[str, str]) -> None:
    done = fit50("verify", bundle.folder, "--json", environment=light)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["same_answers"] == 4


def test_predict(bundle: Bundle, light: dict[str, str], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    done = fit50("predict", bundle.folder, tmp_path / "photo.png", "--json", environment=light)
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)["images"]
    assert {found["name"] for found in answer["classes"]} <= set(bundle.manifest.classes)


def test_benchmark(bundle: Bundle, light: dict[str, str]) -> None:
    done = fit50("benchmark", bundle.folder, "--rounds", "1", "--json", environment=light)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (file,) = found["files"].values()
    assert [each["latency"]["n"] for each in found["measured"]] == [10, 2]
    assert 20 < file["memory"] < 400


def test_optimize_says_what_to_install(light: dict[str, str], tmp_path: Path) -> None:
    done = fit50("optimize", "fashion-mini", "--out", tmp_path / "runs", environment=light)
    assert done.returncode == 2
    assert "pip install 'fit50[train]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
