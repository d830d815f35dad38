"""What a network is: one frozen value, in the order in which an image meets its parts.

``Input -> Stem -> Stage (of blocks) ... -> Neck -> Head``; with two inputs, ``Fusion`` joins their maps.
The width of every block is explicit, so that a pruned network is an ordinary value with smaller numbers.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from fit50.spec.value import Value

Rate = Annotated[float, Field(ge=0, lt=1)]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def _by_name(data: Any) -> Any:
    """Lets ``se`` stand for ``{kind: se}``."""
    return {"kind": data} if isinstance(data, str) else data


class Input(Value):
    """One image: ``height`` x ``width`` pixels of ``channels`` values from 0 to 255.

    ``resize`` says how an image of another size is brought to it: ``stretch`` scales both sides, ``crop`` scales the
    shorter side to ``size / crop_fraction`` and takes the centre. ``mean`` and ``std`` apply to values scaled to 0..1.
    """

    name: str = "image"
    channels: PositiveInt = 3
    height: PositiveInt = 224
    width: PositiveInt = 224
    resize: Literal["stretch", "crop"] = "crop"
    crop_fraction: float = Field(0.875, gt=0, le=1)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[Annotated[float, Field(gt=0)], ...] = IMAGENET_STD

    @model_validator(mode="after")
    def _one_statistic_for_each_channel(self) -> Input:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(
                f"input {self.name!r}: expected {self.channels} means and standard deviations, one for each channel, "
                f"found {len(self.mean)} and {len(self.std)}"
            )
        return self


class ReLU(Value):
    """max(0, x)."""

    kind: Literal["relu"] = "relu"


class Swish(Value):
    """x * sigmoid(beta * x) (Ramachandran et al. 2017); ``learned`` makes beta a parameter."""

    kind: Literal["swish"] = "swish"
    beta: float = Field(1.0, gt=0)
    learned: bool = False


Activation = Annotated[ReLU | Swish, Field(discriminator="kind"), BeforeValidator(_by_name)]


class SE(Value):
    """Squeeze-and-excitation (Hu et al. 2018): ``width`` inner channels, by default the block's / ``reduction``."""

    kind: Literal["se"] = "se"
    reduction: PositiveInt = 16
    width: PositiveInt | None = None

    def squeezed(self, channels: int) -> int:
        """The inner channels of the gate of a block with so many output channels."""
        return self.width or max(1, channels // self.reduction)


class CBAM(Value):
    """Convolutional block attention (Woo et al. 2018): a channel gate, then a spatial gate of ``kernel`` squared."""

    kind: Literal["cbam"] = "cbam"
    reduction: PositiveInt = 16
    width: PositiveInt | None = None
    kernel: PositiveInt = 7


class ECA(Value):
    """Efficient channel attention (Wang et al. 2020): a 1-d convolution over channels; ``kernel`` grows with them."""

    kind: Literal["eca"] = "eca"
    kernel: PositiveInt | None = None


Attention = Annotated[SE | CBAM | ECA, Field(discriminator="kind"), BeforeValidator(_by_name)]
Shortcut = Literal["identity", "projection", "average-projection"]


class Bottleneck(Value):
    """A 1x1, a 3x3 and a 1x1 convolution beside a shortcut (He et al. 2015).

    Attributes:
        inner: the output channels of the first two convolutions.
        out: the output channels of the third, and so of the block.
        stride_on: ``3x3`` is ResNet v1.5, ``1x1`` is v1.
        groups: of the 3x3 convolution: the cardinality of ResNeXt (Xie et al. 2017).
        separable: the 3x3 is depthwise followed by a 1x1.
        activation: by default the network's.
        dropout: applied to the block's output. ``drop_path``: stochastic depth (Huang et al. 2016).
    """

    kind: Literal["bottleneck"] = "bottleneck"
    inner: tuple[PositiveInt, PositiveInt]
    out: PositiveInt
    stride: PositiveInt = 1
    stride_on: Literal["3x3", "1x1"] = "3x3"
    groups: PositiveInt = 1
    separable: bool = False
    shortcut: Shortcut = "identity"
    attention: Attention | None = None
    activation: Activation | None = None
    dropout: Rate = 0.0
    drop_path: Rate = 0.0

    @model_validator(mode="after")
    def _groups_divide_widths(self) -> Bottleneck:
        if any(width % self.groups for width in self.inner):
            raise ValueError(f"groups={self.groups} must divide both inner widths, found {self.inner}")
        return self


class Basic(Value):
    """Two 3x3 convolutions beside a shortcut; ``inner`` is the first one's output channels (He et al. 2015)."""

    kind: Literal["basic"] = "basic"
    inner: PositiveInt
    out: PositiveInt
    stride: PositiveInt = 1
    shortcut: Shortcut = "identity"
    attention: Attention | None = None
    activation: Activation | None = None
    dropout: Rate = 0.0
    drop_path: Rate = 0.0


Block = Annotated[Bottleneck | Basic, Field(discriminator="kind")]


class HFF(Value):
    """Hierarchical feature fusion (Zhao and Leong): replaces a stage's output before the next stage.

    ``paper`` is the listing; ``squeeze`` pools globally before the gate; ``gated`` adds gamma * module(x) to x.
    """

    kind: Literal["hff"] = "hff"
    form: Literal["paper", "squeeze", "gated"] = "gated"


class Stage(Value):
    """Blocks in a row, at one resolution and with one output width: the stage's stream."""

    name: str
    blocks: tuple[Block, ...] = Field(min_length=1)
    fusion: Annotated[HFF | None, BeforeValidator(_by_name)] = None

    @property
    def out(self) -> int:
        """The output channels."""
        return self.blocks[-1].out


class Stem(Value):
    """What takes the image to the first stage.

    ``7x7`` halves and pools (ImageNet); ``deep`` has three 3x3 instead of the 7x7, ``7x7+3x3x3`` has them after it;
    ``light`` is a 3x3 of stride 2 without pooling; ``low-resolution`` is a 3x3 of stride 1 without pooling, for images
    of about 32 pixels. ``inner`` holds the widths of the convolutions before the last one.
    """

    kind: Literal["7x7", "deep", "7x7+3x3x3", "light", "low-resolution"] = "7x7"
    out: PositiveInt = 64
    inner: tuple[PositiveInt, ...] = ()

    @property
    def stride(self) -> int:
        """By how much the stem reduces each side of the image."""
        return {"light": 2, "low-resolution": 1}.get(self.kind, 4)

    @model_validator(mode="after")
    def _inner_widths_fit_kind(self) -> Stem:
        expected = {"deep": 2, "7x7+3x3x3": 3}.get(self.kind, 0)
        if len(self.inner) != expected:
            raise ValueError(f"stem {self.kind!r}: expected {expected} inner widths, found {len(self.inner)}")
        return self


class FPN(Value):
    """Feature pyramid (Lin et al. 2017): laterals of ``width`` channels, added top-down, smoothed by 3x3."""

    kind: Literal["fpn"] = "fpn"
    width: PositiveInt = 256
    levels: tuple[str, ...] = ()


class Fusion(Value):
    """How two inputs become one map (M-MFFnet, Zhao and Leong).

    Attributes:
        after: the name of the stage whose maps are fused; by default the last.
        width: the channels of each input's 1x1 convolution, and of the fused map.
        backbone: ``shared`` uses one network for both inputs, ``separate`` one for each.
        norm: with a shared backbone, batch statistics shared or kept for each input.
        modality_dropout: how often training hides one input.
    """

    kind: Literal["concat", "gated"] = "concat"
    after: str | None = None
    width: PositiveInt = 256
    backbone: Literal["shared", "separate"] = "shared"
    norm: Literal["shared", "per-input"] = "shared"
    modality_dropout: Rate = 0.0


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
    stem: Annotated[Stem, BeforeValidator(_by_name)] = Stem()
    stages: tuple[Stage, ...] = Field(min_length=1)
    activation: Activation = ReLU()
    neck: Annotated[FPN | None, BeforeValidator(_by_name)] = None
    fusion: Annotated[Fusion | None, BeforeValidator(_by_name)] = None
    head: Head = Classifier()

    @model_validator(mode="after")
    def _parts_fit(self) -> Network:
        if not 1 <= len(self.inputs) <= 2:
            raise ValueError(f"inputs: expected one or two, found {len(self.inputs)}")
        if (len(self.inputs) == 2) != (self.fusion is not None):
            raise ValueError("fusion: expected exactly when there are two inputs")
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
        width = self.stem.out
        for stage in self.stages:
            for index, block in enumerate(stage.blocks):
                if block.shortcut == "identity" and (block.stride != 1 or block.out != width):
                    raise ValueError(
                        f"stages.{stage.name}.blocks[{index}]: an identity shortcut needs stride 1 and out={width}, "
                        f"found stride {block.stride} and out={block.out}; give it shortcut: projection"
                    )
                width = block.out
        return self
