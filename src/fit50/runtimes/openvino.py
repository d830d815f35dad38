"""OpenVINO on CPUs; int8 by nncf."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache
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
    int8_calibration,
    optional,
    refuse_unpaired,
)
from fit50.runtimes.signals import same_signal_stack
from fit50.spec.errors import BundleError, RuntimeRefusal, StorageError
from fit50.spec.machine import has_int8_dot_product, physical_cores
from fit50.spec.network import Network
from fit50.spec.request import Device

if TYPE_CHECKING:
    from fit50.weights.checkpoint import Checkpoint


class OpenVinoSession:
    """Compiles the model anew for each batch size, since static shapes are faster; the last two are kept."""

    def __init__(self, core: Any, model: Any, threads: int) -> None:
        self._core, self._model, self._threads = core, model, threads
        self._compiled = lru_cache(maxsize=2)(self._compile)

    def _compile(self, batch: int) -> Any:
        model = self._model.clone()
        shapes = {port: port.get_partial_shape() for port in model.inputs}
        for shape in shapes.values():
            shape[0] = batch
        model.reshape(shapes)
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # some processors would compute in bf16 unasked
            "INFERENCE_NUM_THREADS": str(self._threads),
            "NUM_STREAMS": "1",
        }
        with same_signal_stack():
            return self._core.compile_model(model, "CPU", settings).create_infer_request()

    def run(self, *images: Images) -> Probabilities:
        """Probabilities (N, classes) of uint8 images (N, H, W, C), one array for each input. Raises DataError."""
        refuse_unpaired(images, len(self._model.inputs))
        request = self._compiled(len(images[0]))
        request.infer([np.ascontiguousarray(array) for array in images], share_inputs=True)
        return np.array(request.get_output_tensor(0).data, np.float32)


class OpenVino:
    """Float32 and int8 on CPUs. Needs the extra ``openvino`` to run, ``train`` to export."""

    name: RuntimeName = "openvino"

    def refusal(self, network: Network, device: Device) -> str | None:
        """None: every network that is built runs here."""
        return None

    def export(self, checkpoint: Checkpoint, folder: Path, calibration: Calibration | None = None) -> Bundle:
        """Writes ``model.xml`` and ``model.bin``. Raises RuntimeRefusal, StorageError."""
        from fit50.runtimes.graph import onnx_graph, write_bundle

        ov = optional("openvino", needed_for="exporting to OpenVINO", extra="train")
        core = ov.Core()
        model = core.read_model(onnx_graph(checkpoint))
        if checkpoint.numerics.kind == "int8":
            model = _quantized(core, model, int8_calibration(calibration, checkpoint.network, self.name))
        run = OpenVinoSession(core, model, physical_cores()).run

        def save(target: Path) -> None:
            try:
                ov.save_model(model, target / "model.xml", compress_to_fp16=False)
            except RuntimeError as error:  # OpenVINO does not tell why a file cannot be written
                raise StorageError(
                    f"{folder}: OpenVINO cannot write the model ({error}), most likely because the disk is full; "
                    "free some space and run the same command again"
                ) from error

        return write_bundle(checkpoint, folder, self.name, save, run)

    def open(self, bundle: Bundle, threads: int) -> Session:
        """Opens a bundle. Raises BundleError, MissingExtraError."""
        ov = optional("openvino", needed_for="running an OpenVINO bundle", extra="openvino")
        core = ov.Core()
        try:
            return OpenVinoSession(core, core.read_model(bundle.file(".xml")), threads)
        except RuntimeError as error:
            raise BundleError(f"{bundle.folder}: OpenVINO cannot read the model: {error}") from None


def _quantized(core: Any, model: Any, calibration: Calibration) -> Any:
    """The model in int8; where that loses too much, with the layers that lose it left in float.

    Where 8-bit products saturate (no VNNI or the like), weights use 7 bits.
    """
    with _quiet(), same_signal_stack():
        import nncf

        return _within(core, model, calibration, nncf)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps nncf's progress bars, and what torch warns of when nncf imports it, off the terminal."""
    logger = logging.getLogger("torch.utils.cpp_extension")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _within(core: Any, model: Any, calibration: Calibration, nncf: Any) -> Any:
    nncf.set_log_level(logging.ERROR)
    threads = physical_cores()
    images = nncf.Dataset([image[None] for image in calibration.images])
    advanced = nncf.AdvancedQuantizationParameters(
        overflow_fix=nncf.OverflowFix.DISABLE if has_int8_dot_product() else nncf.OverflowFix.ENABLE
    )
    subset = len(calibration.images)
    preset = nncf.QuantizationPreset.MIXED
    floating = calibration.accuracy(OpenVinoSession(core, model, threads).run)
    quantized = nncf.quantize(model, images, preset=preset, subset_size=subset, advanced_parameters=advanced)
    found = calibration.accuracy(OpenVinoSession(core, quantized, threads).run)
    if floating - found > calibration.max_drop:
        pixels, labels = calibration.validation
        quantized = nncf.quantize_with_accuracy_control(
            model,
            images,
            nncf.Dataset(list(zip(pixels[:, None], labels, strict=True))),
            _validate,
            max_drop=calibration.max_drop / 100,
            preset=preset,
            subset_size=subset,
            advanced_quantization_parameters=advanced,
        )
        found = calibration.accuracy(OpenVinoSession(core, quantized, threads).run)
    if floating - found > calibration.max_drop:
        raise RuntimeRefusal(
            f"openvino: int8 loses {floating - found:.1f} points on validation ({floating:.1f} to {found:.1f} %)"
            f", more than the {calibration.max_drop} allowed, with accuracy control too"
        )
    return quantized


def _validate(model: Any, samples: Any) -> tuple[float, list[float]]:
    """Accuracy of a compiled model, and each sample's, as nncf asks for them."""
    hits = [float(model(image)[0].argmax() == label) for image, label in samples]
    return float(np.mean(hits)), hits
