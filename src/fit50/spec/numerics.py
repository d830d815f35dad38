"""In which numbers a deployed file computes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from fit50.spec.value import Value


class Float32(Value):
    """Single precision throughout, as trained."""

    kind: Literal["float32"] = "float32"


class Int8(Value):
    """Eight-bit weights and activations, their ranges taken from ``samples`` images of ``dataset`` (its identity)."""

    kind: Literal["int8"] = "int8"
    dataset: str
    samples: PositiveInt
    max_drop: NonNegativeFloat


Numerics = Annotated[Float32 | Int8, Field(discriminator="kind")]
