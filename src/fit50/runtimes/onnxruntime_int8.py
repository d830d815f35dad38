"""Int8 for ONNX Runtime, by its static quantisation, with accuracy control where plain int8 loses too much."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from fit50.runtimes.base import Calibration, Images, Probabilities
from fit50.runtimes.onnxruntime import OnnxSession
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.machine import physical_cores

_LAYERS = ("Conv", "Gemm", "MatMul")
_ROUNDED = (*_LAYERS, "Add", "Mul")
_FEW = 16  # images by which layers are ranked


def quantized(
    ort: Any,
    graph: bytes,
    inputs: tuple[str, ...],
    calibration: Calibration,
    names: Mapping[str, str],
    saturates: bool,
) -> tuple[bytes, str]:
    """The graph in int8, and which of its layers compute so; where that loses too much, some are left in float.

    The layers are ranked by what each costs alone, in int8 among floats: how far the probabilities move. Of the worst
    as few as needed are left in float, at most half, found by bisection with an accuracy for each of its steps.

    Args:
        ort: onnxruntime.
        graph: in float, as ONNX.
        inputs: their names in the graph.
        calibration: what the ranges are taken from, and what the loss is judged by.
        names: of the layers, by their nodes in the graph.
        saturates: whether 8-bit products do (no VNNI or the like): weights then use 7 bits.

    Raises:
        RuntimeRefusal: it loses more than is allowed, with accuracy control too.
    """
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        from onnxruntime.quantization.shape_inference import quant_pre_process

        plain, prepared = Path(folder) / "plain.onnx", Path(folder) / "prepared.onnx"
        plain.write_bytes(graph)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        parts: dict[str, list[str]] = {}
        for node in onnx.load(prepared).graph.node:
            if node.op_type in _ROUNDED:
                parts.setdefault(names.get(node.name, node.name), []).append(node.name)
        return _within(_Quantizer(ort, prepared, inputs, saturates, parts), graph, calibration)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps onnxruntime's advice to prepare the model, as was done, off the terminal."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@dataclass(frozen=True)
class _Quantizer:
    """Makes int8 of some parts of a graph; ``parts`` are the nodes of each layer of the network."""

    ort: Any
    prepared: Path
    inputs: tuple[str, ...]
    saturates: bool
    parts: Mapping[str, list[str]]

    def session(self, model: bytes) -> OnnxSession:
        return OnnxSession(self.ort, model, physical_cores())

    def __call__(
        self, images: tuple[Images, ...], *, only: str | None = None, without: list[str] | None = None
    ) -> bytes:
        """In int8 are all parts, only one, or all without some."""
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        made = self.prepared.with_name("quantized.onnx")
        quantize_static(
            self.prepared,
            made,
            _Reader(self.inputs, images),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=self.saturates,
            nodes_to_quantize=None if only is None else self.parts[only],
            nodes_to_exclude=[node for part in without or () for node in self.parts[part]],
        )
        return made.read_bytes()


class _Reader:
    """Calibration images, one at a time, as onnxruntime asks for them."""

    def __init__(self, names: tuple[str, ...], images: tuple[Images, ...]) -> None:
        self._names = names
        self._left: Iterator[tuple[Images, ...]] = zip(*(each[:, None] for each in images), strict=True)

    def get_next(self) -> dict[str, Images] | None:
        images = next(self._left, None)
        return None if images is None else dict(zip(self._names, images, strict=True))


def _within(quantizer: _Quantizer, graph: bytes, calibration: Calibration) -> tuple[bytes, str]:
    floating = calibration.accuracy(quantizer.session(graph).run)
    made = quantizer(calibration.images)
    found = plain = calibration.accuracy(quantizer.session(made).run)
    if floating - plain <= calibration.max_drop:
        return made, _counted(made)
    ranked = _ranked(quantizer, graph, calibration.images)
    kept: tuple[bytes, float, list[str]] | None = None
    least, most = 1, len(ranked) // 2
    count = most
    while least <= most:
        made = quantizer(calibration.images, without=ranked[:count])
        found = calibration.accuracy(quantizer.session(made).run)
        if floating - found <= calibration.max_drop:
            kept, most = (made, found, ranked[:count]), count - 1
        elif kept is None:
            break
        else:
            least = count + 1
        count = (least + most) // 2
    if kept is None:
        raise RuntimeRefusal(
            f"onnxruntime: int8 loses {floating - found:.1f} points on validation ({floating:.1f} to {found:.1f} %)"
            f", more than the {calibration.max_drop} allowed, with accuracy control too"
        )
    made, found, left = kept
    return made, (
        f"{_counted(made)}; accuracy control left in float, as they cost the most accuracy: {', '.join(left)} "
        f"({floating - plain:.1f} points lost without it, {floating - found:.1f} with it)"
    )


def _ranked(quantizer: _Quantizer, graph: bytes, images: tuple[Images, ...]) -> list[str]:
    """The parts that cost most first; those without effect are left out."""
    few = tuple(each[:_FEW] for each in images)
    expected = quantizer.session(graph).run(*few)

    def moved(part: str) -> float:
        answers: Probabilities = quantizer.session(quantizer(few, only=part)).run(*few)
        return float(np.abs(answers - expected).mean())

    costs = {part: moved(part) for part in quantizer.parts}
    return sorted((part for part in costs if costs[part] > 0), key=lambda part: -costs[part])


def _counted(model: bytes) -> str:
    """How many of the layers have weights of 8 bits."""
    graph = onnx.load_from_string(model).graph
    rounded = {each.output[0] for each in graph.node if each.op_type == "DequantizeLinear"}
    layers = [node for node in graph.node if node.op_type in _LAYERS]
    return f"{sum(node.input[1] in rounded for node in layers)} of {len(layers)} layers"
