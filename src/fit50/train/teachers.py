"""Who teaches: networks of fit50's, timm's or in ONNX files, each of which is shown images in its own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fit50.data.split import Split
from fit50.nn.deployed import Normalize
from fit50.spec.digest import scalar
from fit50.spec.errors import CheckpointError, MissingExtraError
from fit50.spec.network import Input
from fit50.spec.training import Teacher
from fit50.weights.checkpoint import Checkpoint
from fit50.weights.foreign import load_weights, refuse_other_classes
from fit50.weights.origin import local_file
from fit50.weights.reading import state_dict


class Teaching(Protocol):
    """A teacher, which prepares for itself what it is shown."""

    @property
    def module(self) -> nn.Module | None:
        """The network whose inner maps can be matched, in evaluation mode; None where they cannot be seen."""

    def to(self, device: torch.device) -> Teaching:
        """Itself, from now on for images on this device."""

    def logits(self, *images: Tensor) -> Tensor:
        """Float32 logits (N, classes), without gradients.

        Args:
            images: for each input, augmented as the student sees them but not normalised: uint8, or float from 0 to
                255, (N, H, W, C), red first. Images of another size than the teacher's are resized (bilinearly).
        """


class _Prepare(Normalize):
    """Images as the student is shown them (N, H, W, C), normalised and of the teacher's size: (N, C, H, W)."""

    def __init__(self, image: Input) -> None:
        super().__init__(image)
        self.size = (image.height, image.width)

    def forward(self, images: Tensor) -> Tensor:
        x = super().forward(images)
        return x if x.shape[2:] == self.size else F.interpolate(x, self.size, mode="bilinear", antialias=True)


class ModuleTeacher:
    """A torch module that takes normalised images."""

    def __init__(self, module: nn.Module, inputs: Sequence[Input]) -> None:
        self.module = module.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self._prepare = nn.ModuleList(map(_Prepare, inputs))

    def to(self, device: torch.device) -> Self:
        self.module.to(device)
        self._prepare.to(device)
        return self

    @torch.no_grad()
    def logits(self, *images: Tensor) -> Tensor:
        answers: Tensor = self.module(*(prepare(x) for prepare, x in zip(self._prepare, images, strict=True)))
        return answers.float()


class OnnxTeacher:
    """An ONNX file: one that fit50 deploys, uint8 (N, H, W, C) to probabilities, or another's, float32 (N, C, H, W).

    Others' files get images with the student's mean and standard deviation, unless ``mean``, ``std`` or ``order`` stand
    in their metadata, as in ``Input``; their answers are logits, unless they sum to one.
    """

    module = None

    def __init__(self, file: Path, student: Sequence[Input], classes: int) -> None:
        """Opens a file. Raises CheckpointError, MissingExtraError, SpecError."""
        self._file = file
        self.to(torch.device("cpu"))
        nodes, answers = self._session.get_inputs(), self._session.get_outputs()
        if len(nodes) != len(student) or len(answers) != 1:
            raise CheckpointError(
                f"{file}: expected {len(student)} input(s) and one output, found {len(nodes)} and {len(answers)}"
            )
        said = self._session.get_modelmeta().custom_metadata_map
        self._ports = [_Port.of(node, image, said, file) for node, image in zip(nodes, student, strict=True)]
        grey = [torch.full((1, image.height, image.width, image.channels), 127.0) for image in student]
        found = self._answers(*grey)
        if found.shape != (1, classes):
            raise CheckpointError(f"{file}: expected {classes} answers, one for each class, found {list(found.shape)}")
        sums_to_one = bool((found >= 0).all()) and abs(float(found.sum()) - 1) < 1e-3
        self._probabilities = sums_to_one or any(port.raw for port in self._ports)

    def to(self, device: torch.device) -> Self:
        """Itself, on a GPU where onnxruntime can use one."""
        ort = _package("onnxruntime", str(self._file))
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        gpu = device.type == "cuda" and "CUDAExecutionProvider" in ort.get_available_providers()
        cuda = [("CUDAExecutionProvider", {"device_id": str(device.index or 0)})] if gpu else []
        try:
            self._session = ort.InferenceSession(str(self._file), options, providers=[*cuda, "CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise CheckpointError(f"{self._file}: expected an ONNX file, found: {error}") from None
        return self

    def logits(self, *images: Tensor) -> Tensor:
        answers = self._answers(*images)
        return (_logarithm(answers) if self._probabilities else answers).to(images[0].device)

    def _answers(self, *images: Tensor) -> Tensor:
        """What the file says, float32 (N, classes), on the CPU."""
        given = {port.name: port.array(x) for port, x in zip(self._ports, images, strict=True)}
        (answers,) = self._session.run(None, given)
        return torch.from_numpy(np.asarray(answers, np.float32))


@dataclass(frozen=True)
class _Port:
    """An input of an ONNX graph; ``raw`` where it takes bytes (N, H, W, C)."""

    name: str
    raw: bool
    prepare: _Prepare

    @classmethod
    def of(cls, node: Any, student: Input, said: Mapping[str, str], file: Path) -> _Port:
        """An input of onnxruntime's. Raises CheckpointError, SpecError."""
        raw, shape = node.type == "tensor(uint8)", list(node.shape)
        if node.type not in ("tensor(uint8)", "tensor(float)") or len(shape) != 4 or isinstance(shape[0], int):
            raise CheckpointError(
                f"{file}: expected images for any N, uint8 (N, H, W, C) or float32 (N, C, H, W), found {node.type} "
                f"{shape}; export it with a dynamic batch"
            )
        channels = shape[3] if raw else shape[1]
        if isinstance(channels, int) and channels != student.channels:
            raise CheckpointError(f"{file}: expected images of {student.channels} channels, found {shape}")
        sides = zip(("height", "width"), shape[1:3] if raw else shape[2:], strict=True)
        known: dict[str, object] = {name: side for name, side in sides if isinstance(side, int)}
        if raw:
            known |= {"mean": (0,) * student.channels, "std": (1 / 255,) * student.channels, "order": "rgb"}
        else:
            known |= {key: scalar(said[key]) for key in ("mean", "std", "order") if key in said}
        return cls(node.name, raw, _Prepare(Input.parse(student.model_dump() | known, f"{file}: metadata")))

    def array(self, images: Tensor) -> NDArray[Any]:
        """Images (N, H, W, C) as the graph takes them."""
        x = self.prepare(images.cpu())
        return (x.permute(0, 2, 3, 1).round().byte() if self.raw else x).contiguous().numpy()


class Average:
    """Several teachers at one: the arithmetic mean of their softened probabilities (Hinton et al. 2015)."""

    module = None

    def __init__(self, teachers: Sequence[Teaching], temperature: float) -> None:
        self._teachers, self._temperature = teachers, temperature

    def to(self, device: torch.device) -> Self:
        for teacher in self._teachers:
            teacher.to(device)
        return self

    def logits(self, *images: Tensor) -> Tensor:
        """Logits that, divided by the temperature, have the mean as their softmax."""
        each = [teacher.logits(*images) / self._temperature for teacher in self._teachers]
        return _logarithm(torch.stack([logits.softmax(1) for logits in each]).mean(0)) * self._temperature


def teaching(
    teacher: Teacher, after: Checkpoint | None, student: Sequence[Input], classes: tuple[str, ...]
) -> Teaching:
    """The teacher of a training, on the CPU.

    Args:
        teacher: names files, or places of weights: fit50's checkpoints and what it can load (see ``load_weights``),
            ``.onnx`` files, and any image classifier of timm's: ``timm:<model>`` from the Hub, which gets images of the
            size that it was trained on, or ``timm:<model>:<file>``, which gets the student's unless it takes only one.
        after: the checkpoint that ``teacher.after`` says.
        student: the student's inputs.
        classes: the data's.

    Raises:
        CheckpointError: other classes or other inputs than the student's, or no such file.
        MissingExtraError: the teacher needs a package that is not installed.
    """
    first = [_ours(after, student, f"the checkpoint after {teacher.after} steps")] if after is not None else []
    teachers = [*first, *(_loaded(each.weights, student, classes) for each in teacher.files)]
    return teachers[0] if len(teachers) == 1 else Average(teachers, teacher.temperature)


def cached(teacher: Teaching, split: Split, device: torch.device, batch: int = 128) -> Tensor:
    """The logits of a whole split, float32 (N, classes) on the CPU in its order, by images that nothing augments."""
    batches = split.batches(batch)
    return torch.cat([teacher.logits(*(image.to(device) for image in images)).cpu() for images, _ in batches])


def _loaded(weights: str, student: Sequence[Input], classes: tuple[str, ...]) -> Teaching:
    if weights.endswith(".onnx"):
        return OnnxTeacher(local_file(weights), student, len(classes))
    if weights.startswith("timm:"):
        return _timm(weights, student, len(classes))
    checkpoint = load_weights(weights)
    refuse_other_classes(checkpoint, classes, weights)
    return _ours(checkpoint, student, weights)


def _ours(checkpoint: Checkpoint, student: Sequence[Input], source: str) -> ModuleTeacher:
    ours, found = [[image.channels for image in inputs] for inputs in (student, checkpoint.network.inputs)]
    if found != ours:
        raise CheckpointError(f"{source}: expected inputs of {ours} channels, as the student's, found {found}")
    return ModuleTeacher(checkpoint.module(), checkpoint.network.inputs)


def _timm(weights: str, student: Sequence[Input], classes: int) -> ModuleTeacher:
    """A model of timm's with the weights of the Hub or of a file, and with the images that it learned from."""
    _, name, *file = weights.split(":", 2)
    timm = _package("timm", weights)
    if len(student) > 1:
        raise CheckpointError(f"{weights}: expected a teacher of {len(student)} inputs, found timm's, of one")
    try:
        module = timm.create_model(name, num_classes=classes, in_chans=student[0].channels)
    except RuntimeError as error:
        raise CheckpointError(f"{weights}: expected a model of timm's, found: {error}") from None
    try:
        module.load_state_dict(state_dict(local_file(weights)))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{weights}: expected tensors of {name} for {classes} classes, found: {reason}") from None
    learned = timm.data.resolve_model_data_config(module)
    known = {"mean": learned["mean"], "std": learned["std"], "order": "rgb"}
    if not file or module.pretrained_cfg.get("fixed_input_size"):
        _, known["height"], known["width"] = learned["input_size"]
    return ModuleTeacher(module, (Input.parse(student[0].model_dump() | known, weights),))


def _package(name: str, weights: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            raise MissingExtraError(f"the teacher {weights}", name, "train") from None
        raise


def _logarithm(probabilities: Tensor) -> Tensor:
    return probabilities.clamp_min(torch.finfo(torch.float32).tiny).log()
