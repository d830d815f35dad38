"""The named networks, each with its paper and its published cost, and the named amounts of training.

Costs are at 224x224 with 1000 classes: millions of parameters, GMACs, and ImageNet top-1 accuracy as published.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fit50.spec.errors import SpecError
from fit50.spec.network import (
    CBAM,
    FPN,
    HFF,
    SE,
    Basic,
    Block,
    Bottleneck,
    Classifier,
    Fusion,
    Input,
    Network,
    Shortcut,
    Stage,
    Stem,
    Swish,
)
from fit50.spec.recipe import AdamW, Augment, Train
from fit50.spec.request import Effort
from fit50.spec.value import suggestion

DEPTHS = {26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def resnet(
    depths: tuple[int, ...] = DEPTHS[50],
    *,
    widths: tuple[int, ...] = (64, 128, 256, 512),
    widening: float = 1.0,
    expansion: int = 4,
    stem: Stem | None = None,
    version: float = 1.5,
    groups: int = 1,
    attention: SE | CBAM | None = None,
) -> Network:
    """A bottleneck ResNet, its stages named ``layer1``, ``layer2``, ... as torchvision names them.

    Args:
        depths: blocks in each stage.
        widths: of each stage before expansion; its output has ``expansion`` times as many channels.
        widening: multiplies the widths inside the blocks (wide: 2).
        stem: by default 7x7.
        version: 1.5 strides in the 3x3 convolution, 1 in the first 1x1.
        groups: of the 3x3 convolutions.
        attention: of every block.
    """
    stem = stem or Stem()
    stages = []
    for index, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        inner, out = round(width * widening), width * expansion

        def block(stride: int, shortcut: Shortcut, inner: int = inner, out: int = out) -> Bottleneck:
            return Bottleneck(
                inner=(inner, inner),
                out=out,
                stride=stride,
                stride_on="3x3" if version == 1.5 else "1x1",
                groups=groups,
                shortcut=shortcut,
                attention=attention,
            )

        first: Block = block(1 if index == 0 else 2, "projection")
        stages.append(Stage(name=f"layer{index + 1}", blocks=(first, *[block(1, "identity")] * (depth - 1))))
    return Network(stem=stem, stages=tuple(stages))


def resnet26() -> Network:
    """ResNet-26, a shallow one (He et al. 2015): two bottlenecks in each stage."""
    return resnet(DEPTHS[26])


def resnet50() -> Network:
    """ResNet-50 v1.5 (He et al. 2015; stride on the 3x3 as in torchvision)."""
    return resnet()


def resnet50_v1() -> Network:
    """ResNet-50 as first published (He et al. 2015): stride on the first 1x1."""
    return resnet(version=1)


def resnet101() -> Network:
    """ResNet-101 (He et al. 2015): deep-ResNet-50 of the source paper."""
    return resnet(DEPTHS[101])


def resnet152() -> Network:
    """ResNet-152 (He et al. 2015)."""
    return resnet(DEPTHS[152])


def wide_resnet50_2() -> Network:
    """Wide-ResNet-50-2 (Zagoruyko and Komodakis 2016): the bottleneck's 3x3 doubled."""
    return resnet(widening=2)


def wide_basic_resnet50() -> Network:
    """The source paper's wide network: blocks of two 3x3 convolutions with twice the channels."""
    stages, width = [], 64
    for index, (depth, out) in enumerate(zip(DEPTHS[50], (128, 256, 512, 1024), strict=True)):
        blocks = []
        for position in range(depth):
            stride = 2 if index and not position else 1
            shortcut: Shortcut = "projection" if stride != 1 or width != out else "identity"
            blocks.append(Basic(inner=out, out=out, stride=stride, shortcut=shortcut))
            width = out
        stages.append(Stage(name=f"layer{index + 1}", blocks=tuple(blocks)))
    return Network(stages=tuple(stages))


def se_resnet50() -> Network:
    """SE-ResNet-50 (Hu et al. 2018): squeeze-and-excitation, reduction 16, in every block."""
    return resnet(attention=SE())


def se_resnet50_paper() -> Network:
    """The source paper's SE-ResNet-50: a 7x7 convolution and three 3x3 in the stem."""
    return resnet(attention=SE(), stem=Stem(kind="7x7+3x3x3", inner=(64, 64, 64)))


def cbam_resnet50() -> Network:
    """CBAM-ResNet-50 (Woo et al. 2018): a channel gate, then a spatial gate, in every block."""
    return resnet(attention=CBAM())


def resnext50_32x4d() -> Network:
    """ResNeXt-50 32x4d (Xie et al. 2017): cardinality 32, width 4."""
    return resnet(widening=2, groups=32)


def swish_resnet50() -> Network:
    """ResNet-50 with Swish for every ReLU (Ramachandran et al. 2017)."""
    return resnet().model_copy(update={"activation": Swish()})


def dropout_resnet50() -> Network:
    """ResNet-50 with dropout before the classifier (Srivastava et al. 2014)."""
    return resnet().model_copy(update={"head": Classifier(dropout=0.5)})


def fpn_resnet50() -> Network:
    """ResNet-50 with a feature pyramid before the classifier (Lin et al. 2017)."""
    return resnet().model_copy(update={"neck": FPN(levels=("layer1", "layer2", "layer3", "layer4"))})


def hff_senet() -> Network:
    """HFF-SEnet (Zhao and Leong): hierarchical feature fusion after every stage, as listed."""
    base = resnet()
    stages = tuple(stage.model_copy(update={"fusion": HFF(form="paper")}) for stage in base.stages)
    return base.model_copy(update={"stages": stages})


def m_mffnet() -> Network:
    """M-MFFnet (Zhao and Leong): two inputs through one ResNet-50, fused after the last stage, as listed."""
    inputs = (Input(name="image1"), Input(name="image2"))
    return Network(inputs=inputs, stages=resnet().stages, fusion=Fusion())


class Preset(NamedTuple):
    """How to make a named network, and what its paper reports for it (None: not reported there)."""

    make: Callable[[], Network]
    parameters: int | None
    gmacs: float | None
    top1: float | None = None


NETWORKS: dict[str, Preset] = {
    "resnet26": Preset(resnet26, None, None),
    "resnet50": Preset(resnet50, 25_557_032, 4.089, 76.1),
    "resnet50-v1": Preset(resnet50_v1, 25_557_032, 3.8, 75.3),
    "resnet101": Preset(resnet101, 44_549_160, 7.801, 77.4),
    "resnet152": Preset(resnet152, 60_192_808, 11.514, 78.3),
    "wide-resnet50-2": Preset(wide_resnet50_2, 68_883_240, 11.398, 78.5),
    "wide-basic-resnet50": Preset(wide_basic_resnet50, None, None),
    "se-resnet50": Preset(se_resnet50, 28_088_024, 4.09, 76.7),
    "se-resnet50-paper": Preset(se_resnet50_paper, None, None),
    "swish-resnet50": Preset(swish_resnet50, 25_557_032, 4.089),
    "dropout-resnet50": Preset(dropout_resnet50, 25_557_032, 4.089),
    "cbam-resnet50": Preset(cbam_resnet50, None, None, 77.3),
    "resnext50-32x4d": Preset(resnext50_32x4d, 25_028_904, 4.230, 77.8),
    "fpn-resnet50": Preset(fpn_resnet50, None, None),
    "hff-senet": Preset(hff_senet, 84_060_392, 12.721),
    "m-mffnet": Preset(m_mffnet, 24_945_448, 8.232),
}


def network(name: str, *, classes: int | None = None, size: int | None = None) -> Network:
    """A named network, for so many classes and for square images of so many pixels. Raises SpecError."""
    if name not in NETWORKS:
        raise SpecError(f"network {name!r}: unknown{suggestion(name, NETWORKS)}")
    made = NETWORKS[name].make()
    update: dict[str, object] = {}
    if classes is not None:
        update["head"] = made.head.model_copy(update={"classes": classes})
    if size is not None:
        update["inputs"] = tuple(i.model_copy(update={"height": size, "width": size}) for i in made.inputs)
    return Network.parse(made.model_copy(update=update).model_dump(), f"network {name!r}")


def _effort(train: int, grow: int, recover: int, keeps: tuple[float, ...]) -> Effort:
    """The same schedule in three lengths: from scratch, then at lower rates on what is already trained."""
    light = Augment(shift=2)
    return Effort(
        train=Train(epochs=train, optimizer=AdamW(lr=2e-3), augment=light),
        grow=Train(epochs=grow, optimizer=AdamW(lr=3e-4), augment=light),
        recover=Train(epochs=recover, optimizer=AdamW(lr=2e-3), augment=light),
        keeps=keeps,
    )


EFFORTS: dict[str, Effort] = {
    "demo": _effort(10, 1, 15, (0.35, 0.15)),
    "quick": _effort(30, 5, 15, (0.5, 0.25)),
    "full": _effort(90, 30, 60, (0.7, 0.5, 0.35, 0.25)),
}
"""``demo`` is sized for 2,000 images of 32 pixels and minutes on two cores; ``quick`` and ``full`` for real data."""
