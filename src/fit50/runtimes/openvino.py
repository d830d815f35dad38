"""OpenVINO on CPUs; int8 by nncf."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fit50.runtimes.base import (
    Bundle,
    Calibration,
    Images,
    Probabilities,
    Session,
    int8_calibration,
    optional,
    refuse,
    refuse_unpaired,
    saturates,
)
from fit50.runtimes.signals import same_signal_stack
from fit50.spec.errors import BundleError, RuntimeRefusal, StorageError
from fit50.spec.machine import has_bf16, has_fp16, isa, physical_cores
from fit50.spec.network import Network
from fit50.spec.numerics import Precision
from fit50.spec.request import Device
from fit50.spec.runtimes import RuntimeName

if TYPE_CHECKING:
    from fit50.weights.checkpoint import Checkpoint


HINTS: dict[Precision, str] = {"float32": "f32", "int8": "f32", "bf16": "bf16", "fp16": "f16"}
"""What OpenVINO is told to compute in where it does not in int8: unasked, some processors would take bf16."""


class OpenVinoSession:
    """Compiles the model anew for each batch size, since static shapes are faster; the last two are kept."""

    def __init__(self, core: Any, model: Any, threads: int, precision: Precision = "float32") -> None:
        self._core, self._model, self._threads, self._precision = core, model, threads, precision
        self._compiled = lru_cache(maxsize=2)(self._compile)

    def _compile(self, batch: int) -> Any:
        model = self._model.clone()
        shapes = {port: port.get_partial_shape() for port in model.inputs}
        for shape in shapes.values():
            shape[0] = batch
        model.reshape(shapes)
        settings = {
            "INFERENCE_PRECISION_HINT": HINTS[self._precision],
            "INFERENCE_NUM_THREADS": str(self._threads),
            "NUM_STREAMS": "1",
        }
        with same_signal_stack():
            compiled = self._core.compile_model(model, "CPU", settings)
            found = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
            if found != HINTS[self._precision]:  # OpenVINO takes it for a hint, and says nothing
                raise RuntimeRefusal(
                    f"openvino: expected to compute in {HINTS[self._precision]}, found that it takes {found} for it on "
                    "this processor; use float32"
                )
            return compiled.create_infer_request()

    def run(self, *images: Images) -> Probabilities:
        """Probabilities (N, classes) of uint8 images (N, H, W, C), one array for each input.

        Raises DataError, and RuntimeRefusal where this processor does not compute in the precision that was asked for.
        """
        refuse_unpaired(images, len(self._model.inputs))
        request = self._compiled(len(images[0]))
        request.infer([np.ascontiguousarray(array) for array in images], share_inputs=True)
        return np.array(request.get_output_tensor(0).data, np.float32)


class OpenVino:
    """Float32, int8, and half precision where the processor has it.

    Needs the extra ``openvino`` to run, ``train`` to export. ``flags`` are the instruction sets of the processor that
    files are made for; by default this one's.
    """

    name: RuntimeName = "openvino"

    def __init__(self, flags: tuple[str, ...] | None = None) -> None:
        self._flags = isa() if flags is None else flags

    def refusal(
        self, network: Network, device: Device, precision: Precision = "float32", *, learned: bool = False
    ) -> str | None:
        """Every network that is built runs here, in half precision where the processor computes in it.

        On Arm OpenVINO takes bf16 for another precision, whatever the processor has (its documentation, "CPU Device").
        """
        arm = "asimd" in self._flags
        missing = {"bf16": arm or not has_bf16(self._flags), "fp16": not has_fp16(self._flags)}
        if missing.get(precision):
            return (
                f"openvino: it does not compute in {precision} on the processor ({', '.join(self._flags)}); use float32"
            )
        return None

    def export(self, checkpoint: Checkpoint, folder: Path, calibration: Calibration | None = None) -> Bundle:
        """Writes ``model.xml`` and ``model.bin``. Raises RuntimeRefusal, StorageError."""
        from fit50.runtimes.graph import layer_names, onnx_graph, said, write_bundle

        refuse(self, checkpoint)
        ov = optional("openvino", needed_for="exporting to OpenVINO", extra="train")
        core = ov.Core()
        if checkpoint.numerics.kind == "int8":
            given = int8_calibration(calibration, self.name)
            if checkpoint.numerics.learned is not None:
                from fit50.runtimes.qat import int8_graph, within

                graph = int8_graph(checkpoint, checkpoint.numerics, saturates(self._flags))
                model = core.read_model(graph)
                found = given.accuracy(OpenVinoSession(core, model, physical_cores()).run)
                layers = within(graph, checkpoint.numerics, found, self.name)
            else:
                from fit50.runtimes.openvino_int8 import quantized

                graph = onnx_graph(checkpoint)
                model, layers = quantized(
                    core, core.read_model(graph), given, layer_names(graph), saturates(self._flags)
                )
            checkpoint = replace(checkpoint, provenance={**(checkpoint.provenance or {}), "int8": layers})
        else:
            model = core.read_model(onnx_graph(checkpoint))
        for key, text in said(checkpoint).items():
            model.set_rt_info(text, ["fit50", key])
        precision = checkpoint.numerics.kind
        here = "float32" if OpenVino().refusal(checkpoint.network, Device(), precision) else precision

        def save(target: Path) -> None:
            nonlocal model
            try:
                ov.save_model(model, target / "model.xml", compress_to_fp16=precision in ("bf16", "fp16"))
            except RuntimeError as error:  # OpenVINO does not tell why a file cannot be written
                raise StorageError(
                    f"{folder}: OpenVINO cannot write the model ({error}), most likely because the disk is full; "
                    "free some space and run the same command again"
                ) from error
            model = core.read_model(target / "model.xml")  # half precision rounds the weights

        def run(*images: Images) -> Probabilities:
            return OpenVinoSession(core, model, physical_cores(), here).run(*images)

        def parameters(target: Path) -> int:
            nodes = core.read_model(target / "model.xml").get_ops()
            return sum(math.prod(node.output(0).get_shape()) for node in nodes if node.get_type_name() == "Constant")

        return write_bundle(checkpoint, folder, self.name, save, run, parameters)

    def open(self, bundle: Bundle, threads: int) -> Session:
        """Opens a bundle. Raises BundleError, MissingExtraError."""
        ov = optional("openvino", needed_for="running an OpenVINO bundle", extra="openvino")
        manifest, core = bundle.manifest, ov.Core()
        if refusal := self.refusal(manifest.network, Device(), manifest.precision):
            raise BundleError(f"{bundle.folder}: {refusal}")
        try:
            return OpenVinoSession(core, core.read_model(bundle.file(".xml")), threads, manifest.precision)
        except RuntimeError as error:  # whose message has several lines
            found = " ".join(str(error).split())
            raise BundleError(f"{bundle.folder}: OpenVINO cannot read the model: {found}") from None
