"""What a person asks for: data, a device, a budget."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import unquote

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from fit50.spec.recipe import Edit, Quantize
from fit50.spec.runtimes import Deployable
from fit50.spec.training import Train
from fit50.spec.value import Value

_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-zµ]*)\s*", re.ASCII | re.IGNORECASE)


def _number_in(units: dict[str, float], example: str) -> BeforeValidator:
    """Reads a number with one of the units; one without is in the unit whose factor is 1."""

    def convert(data: Any) -> Any:
        if not isinstance(data, str):
            return data
        match = _QUANTITY.fullmatch(data)
        if match is None:
            raise ValueError(f"expected a number such as {example}, found {data!r}")
        number, unit = match.groups()
        if unit and unit.lower() not in units:
            raise ValueError(f"expected a number with a unit of {', '.join(units)}, found {data!r}")
        if float(number) <= 0:
            raise ValueError(f"expected a number greater than 0, such as {example}, found {data!r}")
        return float(number) * units.get(unit.lower(), 1.0)

    return BeforeValidator(convert)


Milliseconds = Annotated[PositiveFloat, _number_in({"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}, "5ms")]
Megabytes = Annotated[PositiveFloat, _number_in({"kb": 1e-3, "mb": 1.0, "gb": 1e3}, "10MB")]


def _percent(found: float) -> float:
    if 0 < found <= 1:
        raise ValueError(f"expected percent, found {found:g}; did you mean {100 * found:g}?")
    return found


_SSH = re.compile(
    r"""ssh://(?P<destination>([\w.+][\w.+-]*@)?(\w[\w.-]*|\[[\da-f:.]+(%\w+)?\]))
    (:(?P<port>\d{1,5}))?/?
    (\?python=(?P<python>[^\s&\#]+))?""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)


class Ssh(NamedTuple):
    """A machine that the system's OpenSSH client reaches, and the Python there that has fit50."""

    destination: str
    port: str | None
    python: str

    @property
    def words(self) -> tuple[str, ...]:
        """What follows ``ssh`` on a command line; the address cannot be taken for an option."""
        return (*(("-p", self.port) if self.port else ()), self.destination)


def _known(name: str) -> str:
    if name != "cpu" and _SSH.fullmatch(name) is None:
        raise ValueError(f"expected cpu or ssh://user@host[:port][?python=/path/of/python], found {name!r}")
    return name


class Device(Value):
    """Where the file will run: on this machine's ``cpu``, or on that of ``ssh://user@host[:port][?python=PATH]``.

    ``threads`` by default is the number of the device's physical cores.
    """

    name: Annotated[str, AfterValidator(_known)] = "cpu"
    threads: PositiveInt | None = None

    @property
    def ssh(self) -> Ssh | None:
        """How the device is reached; None where it is this machine."""
        match = _SSH.fullmatch(self.name)
        if match is None:
            return None
        destination = match["destination"].replace("[", "").replace("]", "")
        return Ssh(destination, match["port"], unquote(match["python"] or "python3"))


class Budget(Value):
    """What the file may cost, measured on the device.

    Attributes:
        latency: median milliseconds for one image.
        size: megabytes (10^6 bytes) of the files that are deployed.
        memory: megabytes at the peak of a fresh process that opens the file and predicts.
        max_drop: points of validation accuracy below the best float file that was measured; null for any.
        min_accuracy: percent of the validation images; not a fraction, so nothing above 0 up to 1.
    """

    latency: Milliseconds | None = None
    size: Megabytes | None = None
    memory: Megabytes | None = None
    max_drop: NonNegativeFloat | None = 1.0
    min_accuracy: Annotated[float, Field(ge=0, le=100), AfterValidator(_percent)] | None = None

    def __str__(self) -> str:
        """Every limit with its unit."""
        limits = (
            (self.latency, "latency at most {:g} ms"),
            (self.size, "size at most {:g} MB"),
            (self.memory, "memory at most {:g} MB"),
            (self.max_drop, "at most {:g} points of accuracy below the best float file"),
            (self.min_accuracy, "at least {:g} % of validation right"),
        )
        return ", ".join(words.format(limit) for limit, words in limits if limit is not None) or "no limits"


Technique = Literal["se", "cbam", "eca", "deeper", "wider", "swish"]


class Effort(Value):
    """How much is tried, and with how much training.

    Attributes:
        train: the baseline's training. grow: of each grown candidate and of the control. recover: after each pruning.
        keeps: the fractions of GMACs that are tried.
        rounds: prunings in which each fraction is reached, each with its recovery.
        sizes: pixels of smaller square images that are tried too, with the whole network and with every fraction.
        int8: the ways in which int8 files are made; ``qat`` trains each network that files are made of once more.
    """

    train: Train
    grow: Train
    recover: Train
    techniques: tuple[Technique, ...] = ("se", "deeper", "swish")
    keeps: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.5, 0.25)
    rounds: PositiveInt = 1
    sizes: tuple[PositiveInt, ...] = ()
    int8: tuple[Quantize, ...] = Field((Quantize(),), min_length=1)

    @property
    def only_qat(self) -> bool:
        """Whether every int8 file is made by training."""
        return all(step.trains for step in self.int8)

    @model_validator(mode="after")
    def _int8_ways_differ_in_method(self) -> Effort:
        methods = [step.method for step in self.int8]
        if len({*methods}) < len(methods):
            raise ValueError(f"int8: expected each method once, found {', '.join(methods)}")
        for step in self.int8:
            if step.to != "int8":
                raise ValueError(f"int8: expected int8, found {step.to}, which is tried wherever the device has it")
            if "max_drop" in step.canonical():
                raise ValueError("int8: expected no max_drop, for the budget's counts; give --max-drop")
            if step.saturates:
                raise ValueError("int8: expected no saturates, which the device's processor decides; give --device")
        return self

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
    runtimes: tuple[Deployable, ...] = Field(("openvino", "onnxruntime"), min_length=1)
    effort: Effort
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _start_is_one_network(self) -> Request:
        if self.start is not None and self.network != "resnet50":
            raise ValueError(f"start and network: expected one of them, found both; {self.start} says its own network")
        return self
