"""How a checkpoint came about: a frozen list of steps."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from fit50.spec.network import Network
from fit50.spec.numerics import Precision
from fit50.spec.training import Augment, Train
from fit50.spec.value import Value


class Load(Value):
    """Where a recipe starts.

    With ``network`` alone, its weights are drawn from the recipe's seed (He et al. 2015, zero last batch norms). With
    ``weights`` alone, the network is the one in the file's header, or is inferred from its tensors. With both, the
    file's tensors must fit the network, but for a classifier of another size, which is drawn anew.
    ``sha256`` is the file's digest: it makes the recipe's identity depend on the content, not only on the path.
    """

    kind: Literal["load"] = "load"
    network: Network | None = None
    weights: str | None = None
    sha256: str | None = None

    @model_validator(mode="after")
    def _starts_somewhere(self) -> Load:
        if self.network is None and self.weights is None:
            raise ValueError("load: expected a network, a weights file, or both")
        return self


class Edit(Value):
    """A value put at a dotted path, ``[*]`` standing for every element: ``stages[*].blocks[*].attention = se``."""

    path: str
    value: Any


class Morph(Value):
    """Grows a trained network, where possible without changing one prediction.

    ``depths`` is the new number of blocks of each stage, ``widening`` multiplies the widths inside all blocks,
    ``edits`` are paths into the network, taken together.
    """

    kind: Literal["morph"] = "morph"
    depths: tuple[PositiveInt, ...] | None = None
    widening: float | None = Field(None, gt=1)
    edits: tuple[Edit, ...] = ()


class Resize(Value):
    """The same weights for square images of another height and width, ``size`` pixels each: other GMACs."""

    kind: Literal["resize"] = "resize"
    size: PositiveInt


class Prune(Value):
    """Removes whole blocks, and then whole channels until the network costs no more than was asked for.

    Attributes:
        keep: the fraction of the cost to keep, of what the network had before any block left.
        since: ``keep`` is a fraction of the network after so many steps of the recipe; by default of the one before
            this step. So several prunings in a row lead to a fraction of the first network, however each is rounded.
        of: which cost: the network's multiply-accumulates or parameters, or the megabytes (10^6 bytes) or the median
            latency (one image) of its file in ``runtime`` and ``precision``, measured on this machine.
        most: the cost itself instead of a fraction: GMACs, millions of parameters, megabytes, milliseconds.
        runtime: of the file whose size or latency counts.
        precision: of that file.
        threads: that its latency is measured with; by default the number of physical cores.
        depths: the new number of blocks of each stage; those whose branches matter least go.
        importance: ``taylor`` is first-order (Molchanov et al. 2019), ``fisher`` second-order, the diagonal of Fisher's
            information (Theis et al. 2018), ``bn`` the batch norms' weights (Liu et al. 2017), ``l2`` the norm of all
            weights that leave together (Fang et al. 2023).
        multiple: widths become a multiple of this, for the processor's sake.
        floor: the least fraction of each group's channels to keep, of those before this step.
        samples: training images that importance and the new batch statistics are estimated from.
    """

    kind: Literal["prune"] = "prune"
    keep: float | None = Field(None, gt=0, lt=1)
    depths: tuple[PositiveInt, ...] | None = None
    importance: Literal["taylor", "bn", "fisher", "l2"] = "taylor"
    multiple: PositiveInt = 16
    floor: float = Field(0.1, gt=0, le=1)
    samples: PositiveInt = 1024
    of: Literal["gmacs", "parameters", "size", "latency"] = "gmacs"
    most: PositiveFloat | None = None
    runtime: Literal["openvino", "onnxruntime"] = "openvino"
    precision: Precision = "float32"
    threads: PositiveInt | None = None
    since: PositiveInt | None = None

    @model_validator(mode="after")
    def _removes_something(self) -> Prune:
        if self.keep is None and self.most is None and self.depths is None:
            raise ValueError("prune: expected keep or most, depths, or both")
        if self.keep is not None and self.most is not None:
            raise ValueError(f"prune: expected keep or most, found both; most={self.most:g} is the {self.of} itself")
        ignored = self.canonical().keys() & ({"runtime", "precision", "threads"} if not self.measured else set())
        if self.keep is None and self.most is None:
            ignored |= self.canonical().keys() & {"of", "multiple", "floor"}
        if self.keep is None:
            ignored |= self.canonical().keys() & {"since"}
        if ignored:
            raise ValueError(
                f"prune: {', '.join(sorted(ignored))} would change nothing; runtime, precision and threads belong to a "
                "size or latency, of, multiple and floor to keep or most, since to keep"
            )
        return self

    @property
    def measured(self) -> bool:
        """Whether the cost is a file's, so that files are made on the way."""
        return self.of in ("size", "latency")


class Quantize(Value):
    """Fewer bits for weights and activations in the deployed file: eight, or half precision.

    Attributes:
        to: ``int8``, or ``bf16`` or ``fp16``, which need nothing of the below.
        method: ``ptq`` is post-training; ``qat`` trains through the rounding (Jacob et al. 2018), with the float
            network as its teacher.
        samples: training images that the activations' ranges are taken from; ``qat`` takes them from all.
        max_drop: points of validation accuracy that the float file may lose; a file that loses more is refused.
        epochs: of ``qat``, as all that follows.
        batch: images in a step.
        lr: the learning rate, from which half a cosine leads to zero.
        distillation: the weight of the float network's answers beside the labels.
        augment: what happens to the images.
        saturates: whether ``qat`` is for a processor whose 8-bit products saturate (no VNNI or the like), so that
            activations use 7 bits. ``ptq`` needs not be told: a runtime's export knows its processor.
    """

    kind: Literal["quantize"] = "quantize"
    to: Literal["int8", "bf16", "fp16"] = "int8"
    method: Literal["ptq", "qat"] = "ptq"
    samples: PositiveInt = 300
    max_drop: NonNegativeFloat = 1.0
    epochs: PositiveInt = 5
    batch: int = Field(64, ge=2)
    lr: PositiveFloat = 0.01
    distillation: float = Field(0.9, gt=0, le=1)
    augment: Augment = Augment()
    saturates: bool = False

    @model_validator(mode="after")
    def _uses_what_is_given(self) -> Quantize:
        given = self.canonical().keys() - {"kind", "to"}
        if self.to != "int8" and given:
            raise ValueError(f"quantize: {self.to} needs none of what int8 does, found {', '.join(sorted(given))}")
        ignored = given & (
            {"samples"} if self.trains else {*type(self).model_fields} - {"method", "samples", "max_drop"}
        )
        if ignored:
            raise ValueError(
                f"quantize: {', '.join(sorted(ignored))} would change nothing with method {self.method}; samples "
                "belongs to ptq, all but it and max_drop to qat"
            )
        return self

    @property
    def trains(self) -> bool:
        """Whether weights are learned, which takes time."""
        return self.to == "int8" and self.method == "qat"

    @property
    def for_any_loss(self) -> Quantize:
        """The same step with ``max_drop`` by default: what is trained does not depend on it."""
        return self.model_copy(update={"max_drop": type(self).model_fields["max_drop"].default})


Step = Annotated[Load | Morph | Train | Resize | Prune | Quantize, Field(discriminator="kind")]


class Recipe(Value):
    """Steps in order, the first of which loads; ``seed`` decides everything random in them."""

    steps: tuple[Step, ...] = Field(min_length=1)
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _steps_follow(self) -> Recipe:
        first, *rest = self.steps
        if not isinstance(first, Load):
            raise ValueError(f"steps[0]: expected a load step, found {first.kind!r}")
        for index, step in enumerate(rest, start=1):
            if isinstance(step, Load):
                raise ValueError(f"steps[{index}]: only the first step loads")
            if isinstance(self.steps[index - 1], Quantize):
                raise ValueError(f"steps[{index}]: nothing follows quantize, which decides the deployed file")
            if isinstance(step, Train) and step.teacher and (step.teacher.after or 0) > index:
                raise ValueError(f"steps[{index}].teacher.after: expected at most {index}, found {step.teacher.after}")
            if isinstance(step, Prune) and (step.since or 0) > index:
                raise ValueError(f"steps[{index}].since: expected at most {index}, found {step.since}")
            if (
                isinstance(step, Prune)
                and step.since
                and any(isinstance(s, Resize) for s in self.steps[step.since : index])
            ):
                raise ValueError(f"steps[{index}].since: expected a step after the resize, found {step.since}")
        return self

    def prefix(self, length: int) -> Recipe:
        """The recipe of the first ``length`` steps."""
        return self.model_copy(update={"steps": self.steps[:length]})

    def then(self, *steps: Step) -> Recipe:
        """This recipe with more steps. Raises SpecError where they do not follow."""
        return Recipe.parse({"steps": (*self.steps, *steps), "seed": self.seed}, "recipe")
