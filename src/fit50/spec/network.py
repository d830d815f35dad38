"""What a network is: one frozen value, in the order in which an image meets its parts.

``Input -> Stem -> Stage (of blocks) ... -> Neck -> Head``; with two inputs, ``Fusion`` joins their maps.
The width of every block is explicit, so that a pruned network is an ordinary value with smaller numbers.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from fit50.spec.blocks import Activation, Block, Rate, ReLU, by_name, settled
from fit50.spec.value import Value

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Input(Value):
    """One image: ``height`` x ``width`` pixels of ``channels`` values from 0 to 255.

    ``resize`` says how an image of another size is brought to it: ``stretch`` scales both sides, ``crop`` scales the
    shorter side to ``size / crop_fraction`` and takes the centre. ``mean`` and ``std`` apply to values scaled to 0..1,
    in the ``order`` of channels that the network learned (Caffe's networks: blue first). Images are given red first.
    """

    name: str = Field("image", pattern=r"^[A-Za-z]\w*$")
    channels: PositiveInt = 3
    height: PositiveInt = 224
    width: PositiveInt = 224
    resize: Literal["stretch", "crop"] = "crop"
    crop_fraction: float = Field(0.875, gt=0, le=1)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[Annotated[float, Field(gt=0)], ...] = IMAGENET_STD
    order: Literal["rgb", "bgr"] = "rgb"

    @model_validator(mode="after")
    def _channels_have_statistics_and_order(self) -> Input:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(
                f"input {self.name!r}: expected {self.channels} means and standard deviations, one for each channel, "
                f"found {len(self.mean)} and {len(self.std)}"
            )
        if self.order == "bgr" and self.channels != 3:
            raise ValueError(f"input {self.name!r}: order 'bgr' needs three channels, found {self.channels}")
        return self


class HFF(Value):
    """Hierarchical feature fusion (Zhao and Leong): replaces a stage's output before the next stage.

    ``paper`` is the listing; ``squeeze`` pools globally before the gate; ``gated`` is x + gamma * squeeze(x), where
    each channel's gamma starts at zero.
    """

    kind: Literal["hff"] = "hff"
    form: Literal["paper", "squeeze", "gated"] = "gated"


class Stage(Value):
    """Blocks in a row, at one resolution and with one output width: the stage's stream."""

    name: str = Field(pattern=r"^(layer|stage)\d+$")
    blocks: tuple[Block, ...] = Field(min_length=1)
    fusion: Annotated[HFF | None, BeforeValidator(by_name)] = None

    @property
    def out(self) -> int:
        """The output channels."""
        return self.blocks[-1].out


class Stem(Value):
    """What takes the image to the first stage.

    ``7x7`` halves and pools (ImageNet); ``deep`` has three 3x3 instead of the 7x7, ``7x7+3x3x3`` has them after it;
    ``light`` is a 3x3 of stride 2 without pooling; ``low-resolution`` is a 3x3 of stride 1 without pooling, for images
    of about 32 pixels. ``inner`` holds the widths of the convolutions before the last one. ``ceil`` is Caffe's pooling:
    no padding, sizes rounded up.
    """

    kind: Literal["7x7", "deep", "7x7+3x3x3", "light", "low-resolution"] = "7x7"
    out: PositiveInt = 64
    inner: tuple[PositiveInt, ...] = ()
    ceil: bool = False

    @property
    def kernels(self) -> tuple[int, ...]:
        """The side of each convolution, in order; the first one has the stride."""
        return {"7x7": (7,), "deep": (3, 3, 3), "7x7+3x3x3": (7, 3, 3, 3)}.get(self.kind, (3,))

    @property
    def pools(self) -> bool:
        """Whether a 3x3 maximum of stride 2 ends it."""
        return self.kind not in ("light", "low-resolution")

    @property
    def stride(self) -> int:
        """By how much the stem reduces each side of the image."""
        return {"light": 2, "low-resolution": 1}.get(self.kind, 4)

    @model_validator(mode="after")
    def _inner_widths_fit_kind(self) -> Stem:
        expected = len(self.kernels) - 1
        if len(self.inner) != expected:
            raise ValueError(f"stem {self.kind!r}: expected {expected} inner widths, found {len(self.inner)}")
        if self.ceil and not self.pools:
            raise ValueError(f"stem {self.kind!r}: has no pooling for ceil to change; use ceil: false")
        return self


class FPN(Value):
    """Feature pyramid (Lin et al. 2017): laterals of ``width`` channels, added top-down, smoothed by 3x3.

    A classifier sees the levels pooled and concatenated: in place of the last stage (``plain``, the source paper's), or
    beside it, through weights of their own that start at zero (``gated``). ``levels`` are stages, by default all.
    """

    kind: Literal["fpn"] = "fpn"
    form: Literal["plain", "gated"] = "gated"
    width: PositiveInt = 256
    levels: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _levels_differ(self) -> FPN:
        if len(set(self.levels)) != len(self.levels):
            raise ValueError(f"neck.levels: expected each stage once, found {list(self.levels)}")
        return self


class Fusion(Value):
    """How two inputs become one map (M-MFFnet, Zhao and Leong).

    ``concat`` is the listing: a 1x1 for each map, concatenation, a 1x1. ``gated`` adds gamma * gate(a, b) * 1x1(b) to
    the first input's map a, where each channel's gamma starts at zero and the gate sees both maps pooled.

    Attributes:
        after: the name of the stage whose maps are fused; by default the last.
        width: ``concat``: the channels of each input's 1x1, and of the fused map. ``gated``: the gate's inner channels.
        backbone: ``shared`` uses one network for both inputs (each with its own stem where their channels differ),
            ``separate`` one for each.
        norm: with a shared backbone, batch norms shared or kept for each input.
        modality_dropout: how often training hides one of an image's inputs. Above zero, an image of zeros counts as
            missing.
    """

    kind: Literal["concat", "gated"] = "concat"
    after: str | None = None
    width: PositiveInt = 256
    backbone: Literal["shared", "separate"] = "shared"
    norm: Literal["shared", "per-input"] = "shared"
    modality_dropout: Rate = 0.0

    @model_validator(mode="after")
    def _separate_backbones_have_their_norms(self) -> Fusion:
        if self.backbone == "separate" and self.norm == "per-input":
            raise ValueError("fusion: separate backbones have their own norms already; use norm: shared")
        return self


class Classifier(Value):
    """Global average pooling, dropout, one fully connected layer."""

    kind: Literal["classifier"] = "classifier"
    classes: int = Field(1000, ge=2)
    dropout: Rate = 0.0


class Detector(Value):
    """Boxes of ``classes`` classes on a neck's maps."""

    kind: Literal["detector"] = "detector"
    classes: PositiveInt


class Segmenter(Value):
    """A class for each pixel, from a neck's maps."""

    kind: Literal["segmenter"] = "segmenter"
    classes: int = Field(ge=2)


Head = Annotated[Classifier | Detector | Segmenter, Field(discriminator="kind")]


class Network(Value):
    """All that decides a network's tensors and arithmetic, and nothing else.

    >>> from fit50.spec.presets import network
    >>> network("resnet50").stages[0].blocks[0].out
    256
    """

    inputs: tuple[Input, ...] = (Input(),)
    stem: Annotated[Stem, BeforeValidator(by_name)] = Stem()
    stages: tuple[Stage, ...] = Field(min_length=1)
    activation: Activation = ReLU()
    neck: Annotated[FPN | None, BeforeValidator(by_name)] = None
    fusion: Annotated[Fusion | None, BeforeValidator(by_name)] = None
    head: Head = Classifier()

    def settled(self) -> Network:
        """The network once every Swish has reached its beta."""

        def block(value: Block) -> Block:
            return value.model_copy(update={"activation": value.activation and settled(value.activation)})

        def stage(value: Stage) -> Stage:
            return value.model_copy(update={"blocks": tuple(map(block, value.blocks))})

        stages = tuple(map(stage, self.stages))
        return self.model_copy(update={"activation": settled(self.activation), "stages": stages})

    def sized(self, size: int) -> Network:
        """The network for square images of so many pixels; small ones are stretched, as they have no margin to crop."""
        update: dict[str, object] = {"height": size, "width": size}
        if size < 128:
            update["resize"] = "stretch"
        return self.model_copy(update={"inputs": tuple(image.model_copy(update=update) for image in self.inputs)})

    @property
    def fused(self) -> str | None:
        """The name of the stage after which two inputs become one; None for one input."""
        return (self.fusion.after or self.stages[-1].name) if self.fusion else None

    @property
    def pyramid(self) -> tuple[str, ...]:
        """The names of the stages that the neck takes, in their order; none without a neck."""
        asked = self.neck.levels if self.neck else ()
        return tuple(stage.name for stage in self.stages if self.neck and (not asked or stage.name in asked))

    def width_after(self, stage: Stage) -> int:
        """The channels that leave a stage, the fusion of two inputs included."""
        concatenated = self.fusion is not None and self.fusion.kind == "concat" and stage.name == self.fused
        return self.fusion.width if self.fusion and concatenated else stage.out

    @model_validator(mode="after")
    def _parts_fit(self) -> Network:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages: expected distinct names, found {names}")
        asked = [
            *(self.neck.levels if self.neck else ()),
            *([self.fusion.after] if self.fusion and self.fusion.after else []),
        ]
        for name in asked:
            if name not in names:
                raise ValueError(f"stage {name!r} is asked for by the neck or the fusion; known: {names}")
        self._refuse_inputs_that_do_not_meet(names)
        if self.neck and self.neck.form == "plain" and names[-1] not in self.pyramid:
            raise ValueError(
                f"neck.levels: a plain pyramid stands in place of the last stage, so that {names[-1]} would work for "
                f"nothing; add it to the levels, or use form: gated"
            )
        width = self.stem.out
        for stage in self.stages:
            for index, block in enumerate(stage.blocks):
                if block.shortcut == "identity" and (block.stride != 1 or block.out != width):
                    raise ValueError(
                        f"stages.{stage.name}.blocks[{index}]: an identity shortcut needs stride 1 and out={width}, "
                        f"found stride {block.stride} and out={block.out}; give it shortcut: projection"
                    )
                width = block.out
            width = self.width_after(stage)
        return self

    def _refuse_inputs_that_do_not_meet(self, names: list[str]) -> None:
        if not 1 <= len(self.inputs) <= 2:
            raise ValueError(f"inputs: expected one or two, found {len(self.inputs)}")
        if (len(self.inputs) == 2) != (self.fusion is not None):
            raise ValueError("fusion: expected exactly when there are two inputs")
        if self.fused is None:
            return
        first, second = self.inputs
        if (first.height, first.width) != (second.height, second.width):
            raise ValueError(
                f"inputs: expected one size for both, whose maps are fused place by place, found "
                f"{first.height}x{first.width} and {second.height}x{second.width}"
            )
        if first.name == second.name:
            raise ValueError(f"inputs: expected two names, found {first.name!r} twice")
        early = [name for name in self.pyramid if names.index(name) < names.index(self.fused)]
        if early:
            raise ValueError(
                f"neck.levels: {early[0]} comes before the fusion, where only one input could be seen; "
                f"take levels from {self.fused} on"
            )
