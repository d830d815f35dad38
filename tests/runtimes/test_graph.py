"""A file that answers otherwise than its network is not written."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from fit50.nn.deployed import Deployed
from fit50.runtimes import graph
from fit50.runtimes.base import Images, Probabilities
from fit50.runtimes.graph import write_bundle
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.numerics import Int8
from fit50.weights.checkpoint import Checkpoint


def written(checkpoint: Checkpoint, folder: Path, off: float) -> None:
    """A bundle whose file's first probability is off."""
    module = Deployed(checkpoint.module()).eval()

    def run(*images: Images) -> Probabilities:
        with torch.inference_mode():
            found: Probabilities = module(*map(torch.from_numpy, images)).numpy()
        found[0, 0] += off
        return found

    write_bundle(checkpoint, folder, "onnxruntime", lambda target: (target / "model.onnx").write_bytes(b"made"), run)


@pytest.mark.parametrize("off", [0.002, -0.5, np.nan])
def test_a_float_file_that_answers_otherwise_is_refused(off: float, checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(RuntimeRefusal, match=r"onnxruntime: expected the network's own answers .* \(allowed 0.001\)"):
        written(checkpoint, tmp_path / "bundle", off)
    assert list(tmp_path.iterdir()) == []


def test_rounding_is_allowed(checkpoint: Checkpoint, tmp_path: Path) -> None:
    written(checkpoint, tmp_path / "float", 1e-5)
    written(replace(checkpoint, numerics=Int8(dataset="some", samples=1, max_drop=100)), tmp_path / "int8", 0.1)


def test_the_graph_of_the_same_weights_is_made_once(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often they are read, and in whichever numerics."""
    made: list[object] = []
    monkeypatch.setattr(graph, "deployed_graph", lambda module: made.append(module) or b"graph")
    checkpoint.save(tmp_path / "model.safetensors")
    again = Checkpoint.load(tmp_path / "model.safetensors")
    other = replace(again, tensors={**again.tensors, "fc.bias": again.tensors["fc.bias"] + 1})
    monkeypatch.setattr(graph, "_graph", lru_cache(maxsize=1)(graph._graph.__wrapped__))
    for each in (checkpoint, again, replace(again, numerics=Int8(dataset="some", samples=1, max_drop=100))):
        assert graph.onnx_graph(each) == b"graph"
    assert len(made) == 1
    graph.onnx_graph(other)
    assert len(made) == 2
