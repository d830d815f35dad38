"""torch, eager and in float32: what every other runtime is compared with."""

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
    optional,
    refuse,
    refuse_unpaired,
)
from fit50.spec.errors import BundleError, CheckpointError
from fit50.spec.network import Network
from fit50.spec.numerics import Precision
from fit50.spec.request import Device
from fit50.spec.runtimes import RuntimeName

if TYPE_CHECKING:
    from fit50.weights.checkpoint import Checkpoint


class TorchSession:
    """A module in evaluation mode, its weights channels last as its maps are, which is faster.

    ``threads`` of None leaves torch's setting alone.
    """

    def __init__(self, torch: Any, checkpoint: Checkpoint, threads: int | None) -> None:
        from fit50.nn.deployed import Deployed

        self._torch, self._threads, self._inputs = torch, threads, len(checkpoint.network.inputs)
        self._module = Deployed(checkpoint.module()).eval().to(memory_format=torch.channels_last)

    def run(self, *images: Images) -> Probabilities:
        """Probabilities (N, classes) of uint8 images (N, H, W, C), one array for each input. Raises DataError."""
        refuse_unpaired(images, self._inputs)
        if self._threads is not None and self._torch.get_num_threads() != self._threads:
            self._torch.set_num_threads(self._threads)
        with self._torch.inference_mode():
            answer = self._module(*(self._torch.from_numpy(np.ascontiguousarray(array)) for array in images))
        return np.asarray(answer.numpy(), np.float32)


class TorchReference:
    """Float32 only: the trained network as most people run it."""

    name: RuntimeName = "torch"

    def refusal(
        self, network: Network, device: Device, precision: Precision = "float32", *, learned: bool = False
    ) -> str | None:
        """What composes runs, in float32."""
        return None if precision == "float32" else f"torch: the reference runs float32 only, found {precision}"

    def export(self, checkpoint: Checkpoint, folder: Path, calibration: Calibration | None = None) -> Bundle:
        """Writes ``model.safetensors``. Raises RuntimeRefusal, StorageError."""
        from fit50.runtimes.graph import write_bundle

        refuse(self, checkpoint)
        torch = optional("torch", needed_for="the reference runtime", extra="train")
        run = TorchSession(torch, checkpoint, None).run
        return write_bundle(
            checkpoint,
            folder,
            self.name,
            lambda target: checkpoint.save(target / "model.safetensors"),
            run,
            _parameters,
        )

    def open(self, bundle: Bundle, threads: int) -> Session:
        """Opens a bundle. Raises BundleError, MissingExtraError."""
        torch = optional("torch", needed_for="running a torch bundle", extra="train")
        from fit50.weights.checkpoint import Checkpoint

        try:
            return TorchSession(torch, Checkpoint.load(bundle.file(".safetensors")), threads)
        except CheckpointError as error:
            raise BundleError(f"{bundle.folder}: torch cannot read the model: {error}") from None


def _parameters(folder: Path) -> int:
    from fit50.weights.checkpoint import Checkpoint

    return sum(tensor.numel() for tensor in Checkpoint.load(folder / "model.safetensors").tensors.values())
