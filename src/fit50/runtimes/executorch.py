"""ExecuTorch on CPUs, by XNNPACK: the runtime of phones and small boards; int8 by torchao's quantisation in PT2E."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

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
)
from fit50.runtimes.reference import TorchSession
from fit50.spec.errors import BundleError, RuntimeRefusal
from fit50.spec.machine import physical_cores
from fit50.spec.network import Network
from fit50.spec.numerics import Precision
from fit50.spec.request import Device
from fit50.spec.runtimes import RuntimeName

if TYPE_CHECKING:
    from fit50.weights.checkpoint import Checkpoint

BATCH = 8
"""Images in a call at most: ExecuTorch plans the memory for so many when the file is made."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what ExecuTorch, torchao and torch say of their own experiments and deprecations off the terminal."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


class ExecuTorchSession:
    """An open program. More than ``BATCH`` images are run piece by piece.

    XNNPACK's threads belong to the process: to change their number, every open program is let go, and read again when
    it is next asked.
    """

    _open: WeakSet[ExecuTorchSession] = WeakSet()

    def __init__(self, program: bytes | Path, inputs: int, threads: int) -> None:
        for package in ("executorch", "torch"):
            optional(package, needed_for="running ExecuTorch", extra="executorch")
        with quiet():
            import torch
            from executorch.extension.pybindings import portable_lib
            from executorch.runtime import Runtime

        self._torch, self._library, self._runtime = torch, portable_lib, Runtime.get()
        self._program, self._inputs, self._threads = program, inputs, threads
        self._method: Any = None
        self._load()

    def _load(self) -> Any:
        """The program's method, read anew where the number of threads was another."""
        if self._library._threadpool_get_thread_count() != self._threads:
            for session in list(self._open):
                session._method = None
            self._library._unsafe_reset_threadpool(self._threads)
        if self._method is None:
            self._method = self._runtime.load_program(self._program).load_method("forward")
            self._open.add(self)
        return self._method

    def run(self, *images: Images) -> Probabilities:
        """Probabilities (N, classes) of uint8 images (N, H, W, C), one array for each input. Raises DataError."""
        refuse_unpaired(images, self._inputs)
        method, given = self._load(), [self._torch.from_numpy(np.ascontiguousarray(array)) for array in images]
        starts = range(0, len(images[0]), BATCH)
        pieces = [method.execute([each[start : start + BATCH] for each in given])[0].numpy() for start in starts]
        return np.concatenate(pieces)


class ExecuTorch:
    """Float32 and int8 on CPUs. Needs the extra ``executorch``, and ``train`` to export."""

    name: RuntimeName = "executorch"

    def refusal(
        self, network: Network, device: Device, precision: Precision = "float32", *, learned: bool = False
    ) -> str | None:
        """Every network that is built runs here in float32 and in int8 by PTQ, none in half precision."""
        if precision in ("bf16", "fp16"):
            return f"executorch: XNNPACK computes in float32 and int8 only here, found {precision}; use openvino"
        if learned:
            return "executorch: int8 by QAT is not built yet; use ptq, or openvino or onnxruntime"
        return None

    def export(self, checkpoint: Checkpoint, folder: Path, calibration: Calibration | None = None) -> Bundle:
        """Writes ``model.pte``. Raises RuntimeRefusal, StorageError."""
        from fit50.runtimes.graph import said, write_bundle

        refuse(self, checkpoint)
        given = None
        if checkpoint.numerics.kind == "int8":
            given = int8_calibration(calibration, self.name)
        with quiet():
            optional("executorch.exir", needed_for="exporting to ExecuTorch", extra="executorch")
            from fit50.runtimes.executorch_program import floating, lowered, quantized

            made = checkpoint
            if given is None:
                graph = floating(checkpoint)
            else:
                graph, layers = quantized(checkpoint, given.images)
                made = replace(checkpoint, provenance={**(checkpoint.provenance or {}), "int8": layers})
            program = lowered(graph, said(made))
        try:
            run = ExecuTorchSession(program, len(checkpoint.network.inputs), physical_cores()).run
        except RuntimeError as error:
            raise RuntimeRefusal(
                f"executorch: XNNPACK cannot run this network in {checkpoint.numerics.kind} ({error}); "
                "ExecuTorch's own lines above name the operator; use openvino or onnxruntime"
            ) from None
        if given is not None:
            _refuse_loss(checkpoint, given, run)
        return write_bundle(made, folder, self.name, lambda f: (f / "model.pte").write_bytes(program), run)

    def open(self, bundle: Bundle, threads: int) -> Session:
        """Opens a bundle. Raises BundleError, MissingExtraError."""
        try:
            return ExecuTorchSession(bundle.file(".pte"), len(bundle.manifest.network.inputs), threads)
        except RuntimeError as error:
            raise BundleError(f"{bundle.folder}: ExecuTorch cannot read the model: {error}") from None


def _refuse_loss(checkpoint: Checkpoint, calibration: Calibration, run: Callable[..., Probabilities]) -> None:
    """Raises RuntimeRefusal where the program loses more than is allowed."""
    import torch

    before = calibration.accuracy(TorchSession(torch, checkpoint, None).run)
    after = calibration.accuracy(run)
    if before - after > calibration.max_drop:
        raise RuntimeRefusal(
            f"executorch: int8 loses {before - after:.1f} points on validation ({before:.1f} to {after:.1f} %), more "
            f"than the {calibration.max_drop} allowed; it has no accuracy control, so use openvino or onnxruntime"
        )
