"""TensorRT on NVIDIA GPUs, as the documentation of TensorRT 10 has it: this was never run on a GPU."""

from __future__ import annotations

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
    optional,
    refuse,
    refuse_unpaired,
)
from fit50.spec.errors import BundleError, RuntimeRefusal
from fit50.spec.network import Network
from fit50.spec.numerics import Precision
from fit50.spec.request import Device
from fit50.spec.runtimes import RuntimeName

if TYPE_CHECKING:
    from fit50.weights.checkpoint import Checkpoint

_BATCH = 64  # images that an engine takes at most; more are run piece by piece
_TUNED = 16  # images that it is made fastest for


class TensorRtSession:
    """An engine on the GPU; torch holds the arrays there."""

    def __init__(self, trt: Any, torch: Any, engine: bytes, inputs: tuple[str, ...]) -> None:
        self._torch, self._inputs = torch, inputs
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            raise RuntimeError("an engine runs only with the TensorRT and the kind of GPU that it was made for")
        self._context = self._engine.create_execution_context()
        self._stream = torch.cuda.Stream()

    def run(self, *images: Images) -> Probabilities:
        """Probabilities (N, classes) of uint8 images (N, H, W, C), one array for each input. Raises DataError."""
        refuse_unpaired(images, len(self._inputs))
        starts = range(0, len(images[0]), _BATCH)
        return np.concatenate([self._few([each[start : start + _BATCH] for each in images]) for start in starts])

    def _few(self, images: list[Images]) -> Probabilities:
        with self._torch.cuda.stream(self._stream):
            given = [self._torch.from_numpy(np.ascontiguousarray(each)).cuda() for each in images]
            classes = self._engine.get_tensor_shape("probabilities")[1]
            answer = self._torch.empty((len(images[0]), classes), device="cuda")
            for name, each in zip(self._inputs, given, strict=True):
                self._context.set_input_shape(name, tuple(each.shape))
                self._context.set_tensor_address(name, each.data_ptr())
            self._context.set_tensor_address("probabilities", answer.data_ptr())
            if not self._context.execute_async_v3(self._stream.cuda_stream):
                raise RuntimeError("TensorRT could not run the engine")
        self._stream.synchronize()
        return np.asarray(answer.cpu().numpy(), np.float32)


class TensorRt:
    """Float32 and half precision on NVIDIA GPUs. Needs the extra ``tensorrt``, and ``train`` to export."""

    name: RuntimeName = "tensorrt"

    def refusal(
        self, network: Network, device: Device, precision: Precision = "float32", *, learned: bool = False
    ) -> str | None:
        """What TensorRT's parser reads runs here, where there is a GPU."""
        if precision == "int8":
            return "tensorrt: int8 is not built yet; use fp16, or openvino or onnxruntime"
        torch = optional("torch", needed_for="finding a GPU", extra="tensorrt")
        if not torch.cuda.is_available():
            return "tensorrt: expected an NVIDIA GPU, found none; use openvino or onnxruntime"
        return None

    def export(self, checkpoint: Checkpoint, folder: Path, calibration: Calibration | None = None) -> Bundle:
        """Writes ``model.engine``, for this machine's kind of GPU. Raises RuntimeRefusal, StorageError."""
        from fit50.runtimes.graph import onnx_graph, write_bundle

        trt, torch = _packages("exporting to TensorRT")
        refuse(self, checkpoint)
        engine = _engine(trt, onnx_graph(checkpoint), checkpoint.network, checkpoint.numerics.kind)
        run = TensorRtSession(trt, torch, engine, input_names(checkpoint.network)).run
        return write_bundle(checkpoint, folder, self.name, lambda f: (f / "model.engine").write_bytes(engine), run)

    def open(self, bundle: Bundle, threads: int) -> Session:
        """Opens a bundle. Raises BundleError, MissingExtraError."""
        trt, torch = _packages("running a TensorRT bundle")
        manifest = bundle.manifest
        if refusal := self.refusal(manifest.network, Device(), manifest.precision):
            raise BundleError(f"{bundle.folder}: {refusal}")
        engine = bundle.file(".engine").read_bytes()
        try:
            return TensorRtSession(trt, torch, engine, input_names(manifest.network))
        except RuntimeError as error:
            raise BundleError(f"{bundle.folder}: TensorRT cannot read the model: {error}") from None


def _packages(needed_for: str) -> tuple[Any, Any]:
    """The packages tensorrt and torch. Raises MissingExtraError."""
    return (
        optional("tensorrt", needed_for=needed_for, extra="tensorrt"),
        optional("torch", needed_for=needed_for, extra="tensorrt"),
    )


def _engine(trt: Any, graph: bytes, network: Network, precision: Precision) -> bytes:
    """The engine of an ONNX graph in float32, for 1 to ``_BATCH`` images. Raises RuntimeRefusal."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    definition, settings = builder.create_network(0), builder.create_builder_config()
    parser = trt.OnnxParser(definition, logger)
    if not parser.parse(graph):
        reasons = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise RuntimeRefusal(f"tensorrt: its parser cannot read this network: {reasons}")
    settings.clear_flag(trt.BuilderFlag.TF32)  # which would round float32 to 10 bits
    if precision != "float32":
        settings.set_flag({"fp16": trt.BuilderFlag.FP16, "bf16": trt.BuilderFlag.BF16}[precision])
    profile = builder.create_optimization_profile()
    for name, image in zip(input_names(network), network.inputs, strict=True):
        shapes = [(count, image.height, image.width, image.channels) for count in (1, _TUNED, _BATCH)]
        profile.set_shape(name, *shapes)
    settings.add_optimization_profile(profile)
    engine = builder.build_serialized_network(definition, settings)
    if engine is None:
        raise RuntimeRefusal(f"tensorrt: it found no way to run this network in {precision}; use float32 or openvino")
    return bytes(engine)
