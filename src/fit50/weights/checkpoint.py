"""One safetensors file that says what it is: the tensors, and beside them the values as JSON in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fit50.nn.compose import check, compose, shapes
from fit50.nn.resnet import ResNet
from fit50.spec.errors import CheckpointError, SpecError
from fit50.spec.files import write_atomically
from fit50.spec.network import Network
from fit50.spec.numerics import Float32, Numerics
from fit50.spec.value import Value

_KEY = "fit50"


class Header(Value):
    """What stands beside the tensors: the network, its numerics, its class names, and the recipe's digest."""

    network: Network
    numerics: Numerics = Float32()
    classes: tuple[str, ...] = ()
    provenance: dict[str, str] = {}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network with its weights.

    Attributes:
        network: what the tensors belong to.
        tensors: the state dict of ``compose(network)``; torchvision's keys where torchvision has the part.
        classes: the name of each class, in the classifier's order.
        numerics: in which numbers a deployed file shall compute.
        provenance: how it came about: the recipe's digest and what a step has to report.
    """

    network: Network
    tensors: Mapping[str, Tensor]
    classes: tuple[str, ...] = ()
    numerics: Numerics = Float32()
    provenance: Mapping[str, str] | None = None

    def module(self) -> ResNet:
        """A new module with a copy of the tensors, in evaluation mode."""
        return compose(self.network, self.tensors).eval()

    def with_(self, *, network: Network | None = None, tensors: Mapping[str, Tensor] | None = None) -> Checkpoint:
        """A copy with another network, other tensors, or both."""
        return replace(self, network=network or self.network, tensors=self.tensors if tensors is None else tensors)

    def save(self, path: Path) -> None:
        """Writes the file atomically. Raises StorageError."""
        header = Header(
            network=self.network,
            numerics=self.numerics,
            classes=self.classes,
            provenance=dict(self.provenance or {}),
        )
        metadata = {_KEY: json.dumps(header.canonical(), sort_keys=True)}
        write_tensors(path, self.tensors, metadata)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Reads a file that ``save`` wrote. Raises CheckpointError; no code in the file can run."""
        try:
            with safe_open(path, framework="pt") as file:
                text = (file.metadata() or {}).get(_KEY)
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path}: expected a safetensors file, found: {error}") from None
        if text is None:
            raise CheckpointError(f"{path}: expected a header that fit50 wrote, found none; start from it with --start")
        try:
            header = Header.parse(json.loads(text), str(path))
        except (json.JSONDecodeError, SpecError) as error:
            raise CheckpointError(f"{path}: the header cannot be read: {error}") from None
        checkpoint = cls(header.network, tensors, header.classes, header.numerics, header.provenance)
        check(tensors, shapes(header.network), str(path))
        return checkpoint


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes a safetensors file atomically. Raises StorageError, which safetensors' own writer could not."""
    contiguous = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    write_atomically(path, lambda temporary: temporary.write_bytes(save(contiguous, metadata)))
