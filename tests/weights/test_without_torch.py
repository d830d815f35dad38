"""A saved checkpoint is read without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from fit50.spec.network import Network
from fit50.weights.checkpoint import Checkpoint

CODE = """
import sys
sys.modules["torch"] = None  # import torch raises
import json
from safetensors import safe_open
from safetensors.numpy import load_file
from fit50.spec.network import Network
with safe_open(sys.argv[1], framework="numpy") as file:
    header = json.loads(file.metadata()["fit50"])
network = Network.parse(header["network"])
tensors = load_file(sys.argv[1])
print(json.dumps([network.canonical(), header["classes"], {key: float(t.sum()) for key, t in tensors.items()}]))
"""


def test_tensors_and_network_need_no_torch(
    narrow: Callable[..., Network], lived_in: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    checkpoint = lived_in(narrow((1, 2)), classes=("a", "b", "c", "d"))
    checkpoint.save(tmp_path / "model.safetensors")
    command = [sys.executable, "-c", CODE, str(tmp_path / "model.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    network, classes, sums = json.loads(done.stdout)
    assert Network.parse(network) == checkpoint.network
    assert classes == ["a", "b", "c", "d"]
    assert set(sums) == set(checkpoint.tensors)
    assert all(abs(sums[key] - float(t.double().sum())) < 1e-3 for key, t in checkpoint.tensors.items())
