"""In which numbers a deployed file computes."""

from __future__ import annotations

from typing import Annotated, Literal, assert_never

from pydantic import Field, NonNegativeFloat, PositiveInt

from fit50.spec.value import Value


class Float32(Value):
    """Single precision throughout, as trained."""

    kind: Literal["float32"] = "float32"


class Half(Value):
    """Sixteen-bit floats: ``bf16`` has float32's range and 8 bits of mantissa, ``fp16`` less range and 11 bits."""

    kind: Literal["bf16", "fp16"] = "bf16"


class Learned(Value):
    """What quantisation-aware training adds to the weights.

    Attributes:
        ranges: the least and the largest value of each activation, by the name of what rounds it.
        accuracy: percent of the validation images that the float network answered correctly before.
    """

    ranges: dict[str, tuple[float, float]]
    accuracy: float


class Int8(Value):
    """Eight-bit weights and activations, their ranges taken from ``samples`` images of ``dataset`` (its identity).

    Where they were learned, they stand in ``learned``.
    """

    kind: Literal["int8"] = "int8"
    dataset: str
    samples: PositiveInt
    max_drop: NonNegativeFloat
    learned: Learned | None = None


Numerics = Annotated[Float32 | Half | Int8, Field(discriminator="kind")]
Precision = Literal["float32", "bf16", "fp16", "int8"]
BYTES: dict[Precision, int] = {"float32": 4, "bf16": 2, "fp16": 2, "int8": 1}
"""What a number takes in a file."""


def uncalibrated(precision: Precision) -> Numerics:
    """The numerics of a file of which speed and size alone count; in int8 it may lose all accuracy."""
    match precision:
        case "float32":
            return Float32()
        case "bf16" | "fp16":
            return Half(kind=precision)
        case "int8":
            return Int8(dataset="none", samples=1, max_drop=100)
        case _:
            assert_never(precision)
