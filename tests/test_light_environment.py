"""What a device installs: the base package and one runtime, without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.photos import COLOURS

from fit50.nn.compose import compose
from fit50.runtimes import runtime
from fit50.spec.network import Network
from fit50.weights.checkpoint import Checkpoint

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("extra", ["openvino", "onnxruntime"])
def test_a_device_needs_no_torch(extra: str, narrow: type[Network], tmp_path: Path) -> None:
    network = narrow(classes=len(COLOURS))
    checkpoint = Checkpoint(network, compose(network).state_dict(), tuple(COLOURS))
    bundle = runtime(extra).export(checkpoint, tmp_path / "bundle").folder
    Image.fromarray(np.full((30, 30, 3), 100, np.uint8)).save(tmp_path / "photo.png")

    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            [str(word) for word in command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", f"{ROOT}[{extra}]")
    installed = {each["name"].lower() for each in json.loads(run(python, "-m", "pip", "list", "--format", "json"))}
    assert {"fit50", extra} <= installed
    assert not {"torch", "safetensors", "lightning-fabric", "scipy", "nncf"} & installed

    fit50 = tmp_path / "venv" / "bin" / "fit50"
    assert json.loads(run(fit50, "verify", bundle, "--json"))["same_answers"] == 4
    (answer,) = json.loads(run(fit50, "predict", bundle, "photo.png", "--json"))["images"]
    assert {found["name"] for found in answer["classes"]} == set(COLOURS)
    found = json.loads(run(fit50, "benchmark", bundle, "--rounds", "2", "--json"))
    (file,) = found["files"].values()
    assert [each["latency"]["n"] for each in found["measured"]] == [20, 4]
    assert 20 < file["memory"] < 400
    refused = subprocess.run(
        [fit50, "optimize", "fashion-mini"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "pip install 'fit50[train]'" in refused.stderr
