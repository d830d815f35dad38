"""How long single convolutions take in a runtime, of which the latency of networks not yet made is foreseen."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fit50.runtimes.base import Session, optional
from fit50.runtimes.measure import in_turns, timed
from fit50.runtimes.onnxruntime import OnnxSession
from fit50.runtimes.openvino import OpenVinoSession
from fit50.spec.files import write_text
from fit50.spec.monitor import Monitor
from fit50.spec.numerics import Precision

_FEW, _MANY = 1, 5  # copies in the two graphs of which the difference is taken
_ROUNDS, _CALLS = 3, 6
_TOGETHER = 16  # layers measured in turns


class Layer(NamedTuple):
    """A convolution of ``kernel`` x ``kernel`` with its ReLU, for one image.

    Attributes:
        inputs, outputs: channels.
        kernel, stride: in both directions.
        height, width: of the map that it takes, in pixels.
        groups: of a grouped convolution.
    """

    inputs: int
    outputs: int
    kernel: int
    stride: int
    height: int
    width: int
    groups: int = 1

    def __str__(self) -> str:
        return "x".join(str(number) for number in self)


def layer_times(
    layers: Collection[Layer],
    runtime: str,
    precision: Precision,
    threads: int,
    *,
    kept: Path | None = None,
    monitor: Monitor | None = None,
) -> dict[Layer, float]:
    """The milliseconds of each layer, in the middle of a network: without what a call costs beside.

    It is the difference of two graphs, one with a single copy of the layer and one with several, whose outputs add up
    as in a residual stream, divided by the copies more. Each time is the least of several rounds in turns, for other
    work only ever adds. What was measured before is taken from ``kept``, and what was not is added there.
    """
    known = json.loads(kept.read_text(encoding="utf-8")) if kept is not None and kept.is_file() else {}
    missing = [layer for layer in dict.fromkeys(layers) if str(layer) not in known]
    for start in range(0, len(missing), _TOGETHER):
        if monitor:
            monitor.progress("layers", start, len(missing))
        part = missing[start : start + _TOGETHER]
        known |= {str(layer): time for layer, time in _measured(part, runtime, precision, threads).items()}
        if kept is not None:
            write_text(kept, json.dumps(known))
    if monitor and missing:
        monitor.progress("layers", len(missing), len(missing))
    return {layer: known[str(layer)] for layer in layers}


def _measured(layers: list[Layer], runtime: str, precision: Precision, threads: int) -> dict[Layer, float]:
    turns = {}
    for layer in layers:
        image = np.zeros((1, layer.height, layer.width, layer.inputs), np.uint8)
        for copies in (_FEW, _MANY):
            graph = _graph(layer, copies, precision == "int8", runtime == "onnxruntime")
            session = _opened(graph, runtime, precision, threads)
            turns[layer, copies] = partial(timed, session, (image,), _CALLS, warm=1)
    found = list(islice(in_turns(turns), _ROUNDS))

    def fastest(layer: Layer, copies: int) -> float:
        return min(min(each[layer, copies]) for each in found)

    return {layer: max(0.0, (fastest(layer, _MANY) - fastest(layer, _FEW)) / (_MANY - _FEW)) for layer in layers}


def _opened(graph: bytes, runtime: str, precision: Precision, threads: int) -> Session:
    core: Any
    match runtime:
        case "openvino":
            core = optional("openvino", needed_for="timing layers in OpenVINO", extra="train").Core()
            return OpenVinoSession(core, core.read_model(graph), threads, precision)
        case "onnxruntime":
            core = optional("onnxruntime", needed_for="timing layers in ONNX Runtime", extra="train")
            return OnnxSession(core, graph, threads)
        case _:
            raise AssertionError(runtime)


def _graph(layer: Layer, copies: int, int8: bool, rounds_sums: bool) -> bytes:
    """Uint8 images (N, H, W, C) to so many convolutions of the same map, added one after the other, to their means.

    ``rounds_sums`` is whether both sides of a sum are rounded to int8, as ONNX Runtime's quantisation has it.
    """
    graph = _Graph(int8)
    map_ = graph.add("Transpose", [graph.add("Cast", ["images"], to=TensorProto.FLOAT)], perm=[0, 3, 1, 2])
    map_, total = graph.rounded(map_), ""
    shape = (layer.outputs, layer.inputs // layer.groups, layer.kernel, layer.kernel)
    settings: dict[str, Any] = {"kernel_shape": shape[2:], "strides": [layer.stride] * 2, "group": layer.groups}
    settings["pads"] = [layer.kernel // 2] * 4
    for seed in range(copies):
        made = graph.add("Conv", [map_, graph.weights(shape, seed), graph.bias(layer.outputs)], **settings)
        if total:
            made = graph.add("Add", [graph.rounded(made) if rounds_sums else made, total])
        total = graph.rounded(graph.add("Relu", [made]))
    graph.add("Flatten", [graph.add("GlobalAveragePool", [total])], name="probabilities")
    batch = ["batch", layer.height, layer.width, layer.inputs]
    value = helper.make_graph(
        graph.nodes,
        "layer",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, batch)],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", layer.outputs])],
        graph.constants,
    )
    model = helper.make_model(value, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    serialised: bytes = model.SerializeToString()
    return serialised


class _Graph:
    """Nodes and constants of an ONNX graph that grows; in int8, rounded where runtimes look for it."""

    def __init__(self, int8: bool) -> None:
        self.int8 = int8
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: list[str], name: str | None = None, **settings: Any) -> str:
        """A node; gives the name of its output."""
        output = name or f"{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **settings))
        return output

    def constant(self, value: NDArray[Any]) -> str:
        """A constant; gives its name."""
        name = f"constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def rounded(self, map_: str) -> str:
        """The map, in int8 as eight bits and back."""
        if not self.int8:
            return map_
        scale, zero = self.constant(np.array(0.05, np.float32)), self.constant(np.array(0, np.uint8))
        return self.add("DequantizeLinear", [self.add("QuantizeLinear", [map_, scale, zero]), scale, zero])

    def weights(self, shape: tuple[int, ...], seed: int) -> str:
        """Random weights, in int8 as constants of eight bits with a scale for each output."""
        values = np.random.default_rng(seed).integers(-127, 128, shape, np.int8)
        if not self.int8:
            return self.constant(values.astype(np.float32) / 1e4)
        scales, zeros = self.constant(np.full(shape[0], 1e-4, np.float32)), self.constant(np.zeros(shape[0], np.int8))
        return self.add("DequantizeLinear", [self.constant(values), scales, zeros], axis=0)

    def bias(self, width: int) -> str:
        """A bias for each output."""
        return self.constant(np.full(width, 0.01, np.float32))
