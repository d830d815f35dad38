"""ONNX Runtime on CPUs; int8 by its own static quantisation, which is the fast one there."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fit50.runtimes.base import (
    Bundle,
    Calibration,
    Images,
    Probabilities,
    RuntimeName,
    Session,
    input_names,
    int8_calibration,
    optional,
    refuse,
    refuse_unpaired,
)
from fit50.spec.errors import BundleError, RuntimeRefusal
from fit50.spec.machine import has_int8_dot_product, physical_cores
from fit50.spec.network import Network
from fit50.spec.numerics import Precision
from fit50.spec.request import Device

if TYPE_CHECKING:
    from fit50.weights.checkpoint import Checkpoint


class OnnxSession:
    """An open ONNX model."""

    def __init__(self, ort: Any, model: bytes | str, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._inputs = [each.name for each in self._session.get_inputs()]

    def run(self, *images: Images) -> Probabilities:
        """Probabilities (N, classes) of uint8 images (N, H, W, C), one array for each input. Raises DataError."""
        refuse_unpaired(images, len(self._inputs))
        (probabilities,) = self._session.run(None, dict(zip(self._inputs, images, strict=True)))
        return np.asarray(probabilities, np.float32)


class OnnxRuntime:
    """Float32 and int8 on CPUs. Needs the extra ``onnxruntime`` to run, ``train`` to export."""

    name: RuntimeName = "onnxruntime"

    def refusal(self, network: Network, device: Device, precision: Precision = "float32") -> str | None:
        """Every network that is built runs here, but not in half precision."""
        if precision in ("bf16", "fp16"):
            return f"onnxruntime: on CPUs it computes in float32 and int8 only, found {precision}; use openvino"
        return None

    def export(self, checkpoint: Checkpoint, folder: Path, calibration: Calibration | None = None) -> Bundle:
        """Writes ``model.onnx``. Raises RuntimeRefusal, StorageError."""
        from fit50.runtimes.graph import onnx_graph, write_bundle

        refuse(self, checkpoint)
        ort = optional("onnxruntime", needed_for="exporting to ONNX Runtime", extra="train")
        model = onnx_graph(checkpoint)
        if checkpoint.numerics.kind == "int8":
            model = _quantized(ort, model, input_names(checkpoint.network), int8_calibration(calibration, self.name))
        run = OnnxSession(ort, model, physical_cores()).run
        return write_bundle(checkpoint, folder, self.name, lambda f: (f / "model.onnx").write_bytes(model), run)

    def open(self, bundle: Bundle, threads: int) -> Session:
        """Opens a bundle. Raises BundleError, MissingExtraError."""
        ort = optional("onnxruntime", needed_for="running an ONNX bundle", extra="onnxruntime")
        try:
            return OnnxSession(ort, str(bundle.file(".onnx")), threads)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise BundleError(f"{bundle.folder}: ONNX Runtime cannot read the model: {error}") from None


class _Reader:
    """Calibration images, one at a time, as onnxruntime asks for them."""

    def __init__(self, names: tuple[str, ...], images: tuple[Images, ...]) -> None:
        self._names = names
        self._left: Iterator[tuple[Images, ...]] = zip(*(each[:, None] for each in images), strict=True)

    def get_next(self) -> dict[str, Images] | None:
        images = next(self._left, None)
        return None if images is None else dict(zip(self._names, images, strict=True))


def _quantized(ort: Any, model: bytes, names: tuple[str, ...], calibration: Calibration) -> bytes:
    """The model in int8, batch norms folded first; weights use 7 bits where 8-bit products saturate (no VNNI)."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        plain, prepared, quantized = (Path(name) / file for file in ("plain.onnx", "prepared.onnx", "quantized.onnx"))
        plain.write_bytes(model)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantized,
            _Reader(names, calibration.images),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=not has_int8_dot_product(),
        )
        result = quantized.read_bytes()
    threads = physical_cores()
    floating = calibration.accuracy(OnnxSession(ort, model, threads).run)
    found = calibration.accuracy(OnnxSession(ort, result, threads).run)
    if floating - found > calibration.max_drop:
        raise RuntimeRefusal(
            f"onnxruntime: int8 loses {floating - found:.1f} points of validation accuracy "
            f"({floating:.1f} to {found:.1f} %), more than the {calibration.max_drop} allowed"
        )
    return result
