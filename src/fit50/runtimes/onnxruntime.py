"""ONNX Runtime on CPUs and on CUDA; int8 by its own static quantisation, which is the fast one there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fit50.runtimes.base import (
    Bundle,
    Calibration,
    Images,
    Probabilities,
    Session,
    input_names,
    int8_calibration,
    optional,
    refuse,
    refuse_unpaired,
    saturates,
)
from fit50.spec.errors import BundleError, RuntimeRefusal
from fit50.spec.machine import isa, physical_cores
from fit50.spec.network import Network
from fit50.spec.numerics import Precision
from fit50.spec.request import Device
from fit50.spec.runtimes import RuntimeName

if TYPE_CHECKING:
    from fit50.weights.checkpoint import Checkpoint


_SETTINGS = {"CUDAExecutionProvider": {"use_tf32": 0}}  # which would round float32 to 10 bits


class OnnxSession:
    """An open ONNX model; ``provider`` is what onnxruntime calls the device."""

    def __init__(self, ort: Any, model: bytes | str, threads: int, provider: str = "CPUExecutionProvider") -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = ort.InferenceSession(model, options, providers=[(provider, _SETTINGS.get(provider, {}))])
        if provider not in (found := self._session.get_providers()):  # onnxruntime would go on without it
            raise RuntimeRefusal(f"expected {provider}, found only {', '.join(found)}")
        self._inputs = [each.name for each in self._session.get_inputs()]

    def run(self, *images: Images) -> Probabilities:
        """Probabilities (N, classes) of uint8 images (N, H, W, C), one array for each input. Raises DataError."""
        refuse_unpaired(images, len(self._inputs))
        (probabilities,) = self._session.run(None, dict(zip(self._inputs, images, strict=True)))
        return np.asarray(probabilities, np.float32)


class OnnxRuntime:
    """Float32 and int8 on CPUs. Needs the extra ``onnxruntime`` to run, ``train`` to export.

    ``flags`` are the instruction sets of the processor that files are made for; by default this one's.
    """

    name: RuntimeName = "onnxruntime"
    provider = "CPUExecutionProvider"

    def __init__(self, flags: tuple[str, ...] | None = None) -> None:
        self._flags = isa() if flags is None else flags

    def refusal(
        self, network: Network, device: Device, precision: Precision = "float32", *, learned: bool = False
    ) -> str | None:
        """Every network that is built runs here, but not in half precision."""
        if precision in ("bf16", "fp16"):
            return f"onnxruntime: on CPUs it computes in float32 and int8 only, found {precision}; use openvino"
        return None

    def export(self, checkpoint: Checkpoint, folder: Path, calibration: Calibration | None = None) -> Bundle:
        """Writes ``model.onnx``. Raises RuntimeRefusal, StorageError."""
        from fit50.runtimes.graph import layer_names, onnx_file, onnx_graph, onnx_parameters, write_bundle

        refuse(self, checkpoint)
        ort = optional("onnxruntime", needed_for="exporting to ONNX Runtime", extra="train")
        if checkpoint.numerics.kind == "int8":
            given, inputs = int8_calibration(calibration, self.name), input_names(checkpoint.network)
            if checkpoint.numerics.learned is not None:
                from fit50.runtimes.qat import int8_graph, within

                model = int8_graph(checkpoint, checkpoint.numerics, saturates(self._flags))
                found = given.accuracy(OnnxSession(ort, model, physical_cores(), self.provider).run)
                layers = within(model, checkpoint.numerics, found, self.name)
            else:
                from fit50.runtimes.onnxruntime_int8 import quantized

                model = onnx_graph(checkpoint)
                model, layers = quantized(ort, model, inputs, given, layer_names(model), saturates(self._flags))
            checkpoint = replace(checkpoint, provenance={**(checkpoint.provenance or {}), "int8": layers})
        else:
            model = onnx_graph(checkpoint)
        model = onnx_file(model, checkpoint)
        return write_bundle(
            checkpoint,
            folder,
            self.name,
            lambda target: (target / "model.onnx").write_bytes(model),
            OnnxSession(ort, model, physical_cores(), self.provider).run,
            lambda target: onnx_parameters(target / "model.onnx"),
        )

    def open(self, bundle: Bundle, threads: int) -> Session:
        """Opens a bundle. Raises BundleError, MissingExtraError."""
        ort = optional("onnxruntime", needed_for="running an ONNX bundle", extra="onnxruntime")
        try:
            return OnnxSession(ort, str(bundle.file(".onnx")), threads, self.provider)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise BundleError(f"{bundle.folder}: ONNX Runtime cannot read the model: {error}") from None


class OnnxCuda(OnnxRuntime):
    """Float32 on NVIDIA GPUs. Needs the package onnxruntime-gpu in the place of onnxruntime."""

    name: RuntimeName = "onnxruntime-cuda"
    provider = "CUDAExecutionProvider"

    def refusal(
        self, network: Network, device: Device, precision: Precision = "float32", *, learned: bool = False
    ) -> str | None:
        """Every network that is built runs here, in float32, where onnxruntime finds a GPU."""
        if precision != "float32":
            return f"onnxruntime-cuda: it computes in float32 only, found {precision}; use tensorrt"
        ort = optional("onnxruntime", needed_for="running an ONNX bundle", extra="onnxruntime")
        if self.provider not in (found := ort.get_available_providers()):
            return (
                f"onnxruntime-cuda: expected an onnxruntime with CUDA, found one with {', '.join(found)}; "
                "install onnxruntime-gpu, or use openvino or onnxruntime"
            )
        return None

    def open(self, bundle: Bundle, threads: int) -> Session:
        """Opens a bundle. Raises BundleError, MissingExtraError."""
        if refusal := self.refusal(bundle.manifest.network, Device(), bundle.manifest.precision):
            raise BundleError(f"{bundle.folder}: {refusal}")
        return super().open(bundle, threads)
