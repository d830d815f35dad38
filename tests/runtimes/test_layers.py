"""Single convolutions are made and timed as a network has them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from fit50.runtimes import layers
from fit50.runtimes.layers import Layer, layer_times

POINTWISE = Layer(16, 32, 1, 1, 8, 8)
STRIDED = Layer(8, 16, 3, 2, 9, 7)
GROUPED = Layer(16, 16, 3, 1, 4, 4, groups=4)


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_every_layer_has_a_time_and_is_measured_once(runtime: str, precision: str, tmp_path: Path) -> None:
    kept = tmp_path / "table.json"
    asked = [POINTWISE, STRIDED, GROUPED, POINTWISE]
    times = layer_times(asked, runtime, precision, 1, kept=kept)  # type: ignore[arg-type]
    assert set(times) == {POINTWISE, STRIDED, GROUPED}
    assert all(0 <= time < 1000 for time in times.values())
    assert json.loads(kept.read_text()) == {str(layer): time for layer, time in times.items()}
    kept.write_text(json.dumps({"16x32x1x1x8x8x1": 7.5}))
    again = layer_times([POINTWISE, STRIDED], runtime, precision, 1, kept=kept)  # type: ignore[arg-type]
    assert again[POINTWISE] == 7.5
    assert len(json.loads(kept.read_text())) == 2


@pytest.mark.parametrize("layer", [POINTWISE, STRIDED, GROUPED])
@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_the_graph_is_the_layer_so_many_times(layer: Layer, int8: bool, runtime: str) -> None:
    graph = layers._graph(layer, 3, int8, rounds_sums=True)
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model)
    assert sum(node.op_type == "Conv" for node in model.graph.node) == 3
    weights = [each for each in model.graph.initializer if len(each.dims) == 4]
    assert len({each.raw_data for each in weights}) == 3, "else a runtime might compute one for all"
    session = layers._opened(graph, runtime, "int8" if int8 else "float32", 1)
    answer = session.run(np.full((1, layer.height, layer.width, layer.inputs), 9, np.uint8))
    assert answer.shape == (1, layer.outputs)
    assert np.isfinite(answer).all() and answer.any()
