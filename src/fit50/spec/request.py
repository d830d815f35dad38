"""What a person asks for: data, a device, a budget."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from fit50.spec.recipe import Edit
from fit50.spec.training import Train
from fit50.spec.value import Value


def _number_in(units: dict[str, float], base: str) -> BeforeValidator:
    def convert(data: Any) -> Any:
        match = re.fullmatch(r"\s*([0-9.eE+-]+)\s*([a-zA-Zµ]*)\s*", data) if isinstance(data, str) else None
        if match is None:
            return data
        number, unit = match.groups()
        if unit and unit.lower() not in units:
            raise ValueError(f"expected a number with a unit of {', '.join(units)}, found {data!r}")
        try:
            return float(number) * units[unit.lower() or base]
        except ValueError:
            raise ValueError(f"expected a number such as 5{base}, found {data!r}") from None

    return BeforeValidator(convert)


Milliseconds = Annotated[PositiveFloat, _number_in({"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}, "ms")]
Megabytes = Annotated[PositiveFloat, _number_in({"kb": 1e-3, "mb": 1.0, "gb": 1e3}, "mb")]


class Device(Value):
    """Where the file will run. ``threads`` by default is the number of physical cores."""

    name: Literal["cpu"] = "cpu"
    threads: PositiveInt | None = None


class Budget(Value):
    """What the file may cost, measured on the device.

    Attributes:
        latency: median milliseconds for one image.
        size: megabytes (10^6 bytes) of the files that are deployed.
        memory: megabytes at the peak of a fresh process that opens the file and predicts.
        max_drop: points of validation accuracy below the best float file that was measured; null for any.
        min_accuracy: percent of the validation images.
    """

    latency: Milliseconds | None = None
    size: Megabytes | None = None
    memory: Megabytes | None = None
    max_drop: NonNegativeFloat | None = 1.0
    min_accuracy: float | None = Field(None, ge=0, le=100)


Technique = Literal["se", "cbam", "eca", "deeper", "wider", "swish"]


class Effort(Value):
    """How much is tried, and with how much training.

    Attributes:
        train: the baseline's training. grow: of each grown candidate and of the control. recover: after each pruning.
        keeps: the fractions of GMACs that are tried.
    """

    train: Train
    grow: Train
    recover: Train
    techniques: tuple[Technique, ...] = ("se", "deeper", "swish")
    keeps: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.5, 0.25)

    @model_validator(mode="after")
    def _teachers_come_from_files(self) -> Effort:
        if self.recover.teacher is not None:
            raise ValueError("recover.teacher: expected none, for the unpruned network teaches")
        for name, step in (("train", self.train), ("grow", self.grow)):
            if step.teacher is not None and step.teacher.after is not None:
                raise ValueError(f"{name}.teacher.after: expected a teacher from a file (weights and sha256)")
        return self


class Request(Value):
    """The main job: fit a ResNet-50 to these images and this device, under this budget.

    ``pair`` is a second root of images, for a network of two inputs.
    """

    data: str
    pair: str | None = None
    start: str | None = None
    network: str = "resnet50"
    edits: tuple[Edit, ...] = ()
    image_size: PositiveInt | None = None
    device: Device = Device()
    budget: Budget = Budget()
    runtimes: tuple[Literal["openvino", "onnxruntime"], ...] = Field(("openvino", "onnxruntime"), min_length=1)
    effort: Effort
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _start_is_one_network(self) -> Request:
        if self.start is not None and self.network != "resnet50":
            raise ValueError(f"start and network: expected one of them, found both; {self.start} says its own network")
        return self
