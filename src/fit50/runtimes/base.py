"""What a runtime is, and what it makes: a bundle, the folder that a user deploys."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal, Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt

from fit50.spec.errors import BundleError, DataError, MissingExtraError, RuntimeRefusal, SpecError
from fit50.spec.files import write_folder, write_text
from fit50.spec.machine import has_int8_dot_product
from fit50.spec.network import Network
from fit50.spec.numerics import Precision
from fit50.spec.outcome import Environment, Score
from fit50.spec.request import Device
from fit50.spec.runtimes import RuntimeName
from fit50.spec.value import Value

if TYPE_CHECKING:
    from fit50.weights.checkpoint import Checkpoint

Images = NDArray[np.uint8]
Probabilities = NDArray[np.float32]


class Manifest(Value):
    """``bundle.json``: all that is needed to run the model file and to know what it is.

    ``files`` maps the model's files to their SHA-256. ``network.inputs`` says which images the model takes, in their
    order. ``tolerance`` is how far a probability may lie from the golden one on another device. For one image the
    network computes ``gmacs`` (billions of multiply-accumulates), and its largest layer reads and writes
    ``activations`` (elements); ``parameters`` were counted in the file, where its format tells. Bundles of older
    versions do not say.
    """

    version: Literal[1] = 1
    runtime: RuntimeName
    precision: Precision
    files: dict[str, str]
    classes: tuple[str, ...]
    network: Network
    provenance: dict[str, str] = {}
    tolerance: float
    gmacs: PositiveFloat | None = None
    activations: PositiveInt | None = None
    parameters: int | None = None
    score: Score = Score()
    environment: Environment | None = None


@dataclass(frozen=True)
class Bundle:
    """A folder with a model file, ``bundle.json``, ``golden.npz`` and a model card."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> Bundle:
        """Reads a bundle's manifest. Raises BundleError."""
        path = folder / "bundle.json"
        if not path.is_file():
            raise BundleError(
                f"{folder}: expected a bundle (a folder with bundle.json), found none; fit50 export makes one"
            )
        try:
            return cls(folder, Manifest.read(path))
        except SpecError as error:
            raise BundleError(str(error)) from None

    def file(self, suffix: str) -> Path:
        """The path of the model file with this suffix. Raises BundleError."""
        for name in self.manifest.files:
            if name.endswith(suffix):
                return self.folder / name
        raise BundleError(f"{self.folder}: expected a {suffix} file, found {', '.join(self.manifest.files)}")

    @property
    def size(self) -> float:
        """Megabytes (10^6 bytes) of the model's files."""
        return sum((self.folder / name).stat().st_size for name in self.manifest.files) / 1e6

    def golden(self) -> tuple[tuple[Images, ...], Probabilities]:
        """A few images and the probabilities (N, classes) that this file gave them where it was made.

        Images are one array (N, H, W, C) for each input: ``arr_0``, ``arr_1`` in the file. Raises BundleError.
        """
        path = self.folder / "golden.npz"
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                images = tuple(data[f"arr_{index}"] for index in range(len(self.manifest.network.inputs)))
                return images, data["probabilities"]
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise BundleError(f"{path}: expected golden images and probabilities, found: {error}") from None

    def copy(self, folder: Path) -> Bundle:
        """The same bundle at another place, where it replaces whatever is there. Raises StorageError."""

        def fill(target: Path) -> None:
            for file in self.folder.iterdir():
                shutil.copyfile(file, target / file.name)

        write_folder(folder, fill)
        return Bundle.open(folder)

    def with_score(self, score: Score, environment: Environment) -> Bundle:
        """Writes what was measured into the manifest."""
        manifest = self.manifest.model_copy(update={"score": score, "environment": environment})
        write_text(self.folder / "bundle.json", manifest.model_dump_json(indent=1))
        return Bundle(self.folder, manifest)


class Session(Protocol):
    """An open model file."""

    def run(self, *images: Images) -> Probabilities:
        """Probabilities (N, classes) of uint8 images (N, H, W, C), RGB or grey, one array for each input.

        Raises DataError where there are more or fewer arrays than inputs, or the arrays differ in length.
        """
        ...


@dataclass(frozen=True)
class Calibration:
    """What int8 is made from, and judged by.

    Attributes:
        images: training images for the ranges of the activations, for each input (N, H, W, C); none where the ranges
            were learned.
        validation: images by which the int8 file is compared with the float one, for each input (N, H, W, C).
        labels: theirs (N,).
        max_drop: points of validation accuracy that it may lose.
    """

    images: tuple[Images, ...]
    validation: tuple[Images, ...]
    labels: NDArray[np.int64]
    max_drop: float

    def accuracy(self, run: Callable[..., Probabilities], batch: int = 50) -> float:
        """Percent of the validation images that ``run``, which takes one array for each input, answers correctly."""
        places = range(0, len(self.labels), batch)
        answers = [run(*(each[i : i + batch] for each in self.validation)).argmax(1) for i in places]
        return 100 * float((np.concatenate(answers) == self.labels).mean())


class Runtime(Protocol):
    """A way to run networks on a device."""

    name: RuntimeName

    def refusal(
        self, network: Network, device: Device, precision: Precision = "float32", *, learned: bool = False
    ) -> str | None:
        """Why this runtime cannot run the network on the device in this precision; None where it can.

        ``learned`` asks for an int8 file of weights that were trained through the rounding.
        """
        ...

    def export(self, checkpoint: Checkpoint, folder: Path, calibration: Calibration | None = None) -> Bundle:
        """Writes a bundle into a new folder, in the checkpoint's numerics.

        Raises:
            RuntimeRefusal: the network or the precision is refused, or int8 is: without calibration, or where the
                file would lose more than ``calibration.max_drop``.
        """
        ...

    def open(self, bundle: Bundle, threads: int) -> Session:
        """Opens a bundle's model file. Raises BundleError, MissingExtraError."""
        ...


def input_names(network: Network) -> tuple[str, ...]:
    """What the inputs of a model file are called."""
    return ("images",) if len(network.inputs) == 1 else tuple(image.name for image in network.inputs)


def refuse_unpaired(images: Sequence[Images], inputs: int) -> None:
    """Raises DataError unless there is one array of images for each input, all of them equally long."""
    lengths = [len(array) for array in images]
    if len(lengths) != inputs or len(set(lengths)) > 1:
        raise DataError(
            f"expected images for {inputs} input{'s' * (inputs > 1)} of the network, one array for each and all of one "
            f"length, found {len(lengths)} of lengths {lengths}"
        )


def refuse(chosen: Runtime, checkpoint: Checkpoint) -> None:
    """Raises RuntimeRefusal where a runtime cannot run a checkpoint in its numerics on the device."""
    numerics = checkpoint.numerics
    learned = numerics.kind == "int8" and numerics.learned is not None
    if refusal := chosen.refusal(checkpoint.network, Device(), numerics.kind, learned=learned):
        raise RuntimeRefusal(refusal)


def int8_calibration(given: Calibration | None, name: RuntimeName) -> Calibration:
    """What a runtime makes int8 from. Raises RuntimeRefusal where nothing is given."""
    if given is None:
        raise RuntimeRefusal(f"{name}: int8 needs calibration images, found none; give the data set to export")
    return given


def saturates(flags: Collection[str]) -> bool:
    """Whether 8-bit products saturate on a processor of these instruction sets, or here, where the loss is judged."""
    return not (has_int8_dot_product(flags) and has_int8_dot_product())


def weight_bits(flags: Collection[str]) -> Literal[7, 8]:
    """How many bits the weights of an int8 file use on such a processor."""
    return 7 if saturates(flags) else 8


def optional(module: str, *, needed_for: str, extra: str) -> ModuleType:
    """Imports an optional dependency, or says which extra brings it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and module.startswith(error.name):
            raise MissingExtraError(needed_for, module, extra) from None
        raise


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
