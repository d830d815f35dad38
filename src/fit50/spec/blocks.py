"""What a residual block is: convolutions beside a shortcut, an attention, an activation."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, model_validator

from fit50.spec.value import Value

Rate = Annotated[float, Field(ge=0, lt=1)]


def by_name(data: Any) -> Any:
    """Lets ``se`` stand for ``{kind: se}``."""
    return {"kind": data} if isinstance(data, str) else data


class ReLU(Value):
    """max(0, x)."""

    kind: Literal["relu"] = "relu"


class Swish(Value):
    """x * sigmoid(beta * x) (Ramachandran et al. 2017).

    Attributes:
        beta: 1 is SiLU; towards infinity it becomes ReLU.
        learned: beta is a parameter, and starts there.
        start: while it stands, beta is still this; the next training takes it to ``beta``, and ``start`` away.
    """

    kind: Literal["swish"] = "swish"
    beta: float = Field(1.0, gt=0)
    learned: bool = False
    start: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _ends_fixed(self) -> Swish:
        if self.learned and self.start is not None:
            raise ValueError("swish: start leads to a fixed beta; train it there first, then make it learned")
        return self


def settled(activation: ReLU | Swish) -> ReLU | Swish:
    """The activation once it has reached its beta."""
    return activation.model_copy(update={"start": None}) if isinstance(activation, Swish) else activation


Activation = Annotated[ReLU | Swish, Field(discriminator="kind"), BeforeValidator(by_name)]


def _odd(kernel: int | None) -> int | None:
    if kernel is not None and kernel % 2 == 0:
        raise ValueError(f"kernel: expected an odd number, found {kernel}")
    return kernel


Kernel = Annotated[PositiveInt, AfterValidator(_odd)]


class Squeeze(Value):
    """A gate for each channel by way of ``width`` inner ones: by default the block's / ``reduction``."""

    reduction: PositiveInt = 16
    width: PositiveInt | None = None

    def squeezed(self, channels: int) -> int:
        """The inner channels of the gate of a block with so many output channels."""
        return self.width or max(1, channels // self.reduction)


class SE(Squeeze):
    """Squeeze-and-excitation (Hu et al. 2018)."""

    kind: Literal["se"] = "se"


class CBAM(Squeeze):
    """Convolutional block attention (Woo et al. 2018): a channel gate, then a spatial gate of ``kernel`` squared."""

    kind: Literal["cbam"] = "cbam"
    kernel: Kernel = 7


class ECA(Value):
    """Efficient channel attention (Wang et al. 2020): a 1-d convolution over channels; ``kernel`` grows with them."""

    kind: Literal["eca"] = "eca"
    kernel: Kernel | None = None

    def size(self, channels: int) -> int:
        """The kernel for so many channels: the odd number next to (log2(channels) + 1) / 2, and at least 3."""
        nearest = int((math.log2(channels) + 1) / 2)
        return self.kernel or max(3, nearest if nearest % 2 else nearest + 1)


Attention = Annotated[SE | CBAM | ECA, Field(discriminator="kind"), BeforeValidator(by_name)]
Shortcut = Literal["identity", "projection", "average-projection"]


class Bottleneck(Value):
    """A 1x1, a 3x3 and a 1x1 convolution beside a shortcut (He et al. 2015).

    Attributes:
        inner: the output channels of the first two convolutions.
        out: the output channels of the third, and so of the block.
        stride_on: ``3x3`` is ResNet v1.5, ``1x1`` is v1.
        groups: of the 3x3 convolution: the cardinality of ResNeXt (Xie et al. 2017).
        separable: the 3x3 is depthwise, followed by a 1x1 (Xception's order: nothing in between, Chollet 2017).
        shortcut: ``average-projection`` pools before its 1x1 instead of striding in it (ResNet-D, He et al. 2019).
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
        if self.separable and self.groups != 1:
            raise ValueError(
                f"separable: a depthwise 3x3 has no other groups, found groups={self.groups}; use groups=1"
            )
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
