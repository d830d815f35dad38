"""The named networks, each with its paper and its published cost, and the named amounts of training.

A preset's docstring says what it is for and what was published, by its paper or by the release in brackets: millions of
parameters (M), GMACs and ImageNet top-1 accuracy in per cent, at 224x224 with 1000 classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from fit50.spec.blocks import CBAM, ECA, SE, Basic, Bottleneck, Shortcut, Swish
from fit50.spec.digest import edit
from fit50.spec.errors import SpecError
from fit50.spec.network import FPN, HFF, Classifier, Fusion, Input, Network, Stage, Stem
from fit50.spec.request import Effort
from fit50.spec.training import AdamW, Augment, Train
from fit50.spec.value import suggestion

DEPTHS = {
    18: (2, 2, 2, 2),
    26: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
WIDTHS = (64, 128, 256, 512)


def resnet(
    depths: tuple[int, ...] = DEPTHS[50],
    *,
    widths: tuple[int, ...] = WIDTHS,
    widening: float = 1.0,
    expansion: int = 4,
    stem: Stem | None = None,
    version: float = 1.5,
    groups: int = 1,
    separable: bool = False,
    shortcut: Shortcut = "projection",
    attention: SE | CBAM | ECA | None = None,
) -> Network:
    """A bottleneck ResNet, its stages named ``layer1``, ``layer2``, ... as torchvision names them.

    Args:
        depths: blocks in each stage.
        widths: of each stage before expansion; its output has ``expansion`` times as many channels.
        widening: multiplies the widths inside the blocks (wide: 2).
        expansion: of the widths, at the end of each block.
        stem: by default 7x7.
        version: 1.5 strides in the 3x3 convolution, 1 in the first 1x1.
        groups: of the 3x3 convolutions.
        separable: the 3x3 convolutions are depthwise, each followed by a 1x1.
        shortcut: of the first block of each stage.
        attention: of every block.
    """
    stages = []
    for index, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        inner = round(width * widening)
        rest = Bottleneck(
            inner=(inner, inner),
            out=width * expansion,
            stride_on="3x3" if version == 1.5 else "1x1",
            groups=groups,
            separable=separable,
            attention=attention,
        )
        first = rest.model_copy(update={"stride": 2 if index else 1, "shortcut": shortcut})
        stages.append(Stage(name=f"layer{index + 1}", blocks=(first, *[rest] * (depth - 1))))
    return Network(stem=stem or Stem(), stages=tuple(stages))


def basic_resnet(depths: tuple[int, ...] = DEPTHS[34], *, widths: tuple[int, ...] = WIDTHS) -> Network:
    """A ResNet of two 3x3 convolutions a block, with so many blocks and so many channels in each stage."""
    stages, channels = [], Stem().out
    for index, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        stride = 2 if index else 1
        shortcut: Shortcut = "identity" if stride == 1 and width == channels else "projection"
        first = Basic(inner=width, out=width, stride=stride, shortcut=shortcut)
        stages.append(Stage(name=f"layer{index + 1}", blocks=(first, *[Basic(inner=width, out=width)] * (depth - 1))))
        channels = width
    return Network(stages=tuple(stages))


def resnet18() -> Network:
    """ResNet-18 (He et al. 2015), the smallest, as a student: 11.69 M, 1.814 GMACs, 69.76 (torchvision)."""
    return basic_resnet(DEPTHS[18])


def resnet34() -> Network:
    """ResNet-34 (He et al. 2015), for cheap training on small data: 21.80 M, 3.664 GMACs, 73.31 (torchvision)."""
    return basic_resnet(DEPTHS[34])


def resnet26() -> Network:
    """ResNet-26, two bottlenecks a stage (blocks: He et al. 2015), for small images and data: nothing published."""
    return resnet(DEPTHS[26])


def resnet50() -> Network:
    """ResNet-50 v1.5 (He et al. 2015, stride on the 3x3), the start: 25.56 M, 4.089 GMACs, 76.13 (torchvision)."""
    return resnet()


def resnet50_v1() -> Network:
    """ResNet-50 (He et al. 2015), its stride on the first 1x1, for Caffe's weights: 3.8 GMACs, 75.3 (their release)."""
    return resnet(version=1)


def resnet101() -> Network:
    """ResNet-101 (He et al. 2015), the deep network of the paper: 44.55 M, 7.801 GMACs, 77.37 (torchvision)."""
    return resnet(DEPTHS[101])


def resnet152() -> Network:
    """ResNet-152 (He et al. 2015), a teacher: 60.19 M, 11.514 GMACs, 78.31 (torchvision)."""
    return resnet(DEPTHS[152])


def wide_resnet50_2() -> Network:
    """Wide-ResNet-50-2 (Zagoruyko and Komodakis 2016), the 3x3 doubled, for fast GPUs: 68.9 M, 78.1."""
    return resnet(widening=2)


def wide_resnet101_2() -> Network:
    """Wide-ResNet-101-2 (Zagoruyko and Komodakis 2016), a teacher: 126.89 M, 22.753 GMACs, 78.85 (torchvision)."""
    return resnet(DEPTHS[101], widening=2)


def wide_basic_resnet50() -> Network:
    """The source paper's wide network, two 3x3 a block with twice the channels, to compare with: nothing published."""
    return basic_resnet(DEPTHS[50], widths=(128, 256, 512, 1024))


def resnext50_32x4d() -> Network:
    """ResNeXt-50 32x4d (Xie et al. 2017), more accurate at the cost of a ResNet-50: 25.0 M, 4.2 GMACs, 77.8."""
    return resnet(widening=2, groups=32)


def resnext101_32x8d() -> Network:
    """ResNeXt-101 32x8d (Xie et al. 2017), a teacher: 88.79 M, 16.414 GMACs, 79.31 (torchvision)."""
    return resnet(DEPTHS[101], widening=4, groups=32)


def resnext101_64x4d() -> Network:
    """ResNeXt-101 64x4d (Xie et al. 2017), a teacher: 79.6; 83.46 M, 15.460 GMACs (torchvision)."""
    return resnet(DEPTHS[101], widening=4, groups=64)


def se_resnet50() -> Network:
    """SE-ResNet-50 (Hu et al. 2018), a gate for each channel at hardly any cost: 76.71, with the strides of v1."""
    return resnet(attention=SE())


def se_resnet50_paper() -> Network:
    """The source paper's SE-ResNet-50, a 7x7 and three 3x3 in the stem, to compare with: nothing published."""
    return resnet(attention=SE(), stem=Stem(kind="7x7+3x3x3", inner=(64, 64, 64)))


def se_resnext50_32x4d() -> Network:
    """SE-ResNeXt-50 32x4d (Hu et al. 2018), for accuracy at 4 GMACs: 4.25 GMACs, 78.90."""
    return resnet(widening=2, groups=32, attention=SE())


def cbam_resnet50() -> Network:
    """CBAM-ResNet-50 (Woo et al. 2018), gates for channels and places: 28.09 M, 77.34."""
    return resnet(attention=CBAM())


def eca_resnet50() -> Network:
    """ECA-ResNet-50 (Wang et al. 2020), gates of a handful of parameters: 77.48."""
    return resnet(attention=ECA())


def resnet50_d() -> Network:
    """ResNet-50-D (He et al. 2019, bag of tricks), a better stem and better shortcuts: 4.3 GMACs, 77.16."""
    return resnet(stem=Stem(kind="deep", inner=(32, 32)), shortcut="average-projection")


def eca_resnet50_d() -> Network:
    """ECA (Wang et al. 2020) on ResNet-50-D, for timm's weights (ecaresnet50d): 25.58 M (timm)."""
    return resnet(stem=Stem(kind="deep", inner=(32, 32)), shortcut="average-projection", attention=ECA())


def separable_resnet50() -> Network:
    """ResNet-50 of depthwise separable 3x3 (Chollet 2017), for 0.6 of the multiplications: nothing published."""
    return resnet(separable=True)


def swish_resnet50() -> Network:
    """ResNet-50 with Swish for every ReLU (Ramachandran et al. 2017), a smoother one: nothing published."""
    return resnet().model_copy(update={"activation": Swish()})


def dropout_resnet50() -> Network:
    """ResNet-50 with dropout before the classifier (Srivastava et al. 2014), against overfitting: nothing published."""
    return resnet().model_copy(update={"head": Classifier(dropout=0.5)})


def fpn_resnet50() -> Network:
    """ResNet-50 classifying from a feature pyramid (Lin et al. 2017), for objects of all sizes: nothing published."""
    return resnet().model_copy(update={"neck": FPN(form="plain", levels=("layer1", "layer2", "layer3", "layer4"))})


def hff_senet() -> Network:
    """HFF-SEnet (Zhao and Leong) as listed, hierarchical feature fusion after every stage: 84.06 M, 12.721 GMACs."""
    return _hff("paper")


def hff_squeeze() -> Network:
    """HFF-SEnet (Zhao and Leong) whose gates see pooled maps, as squeeze-and-excitation does: nothing published."""
    return _hff("squeeze")


def hff_gated() -> Network:
    """HFF-SEnet (Zhao and Leong) added by a gate, for weights that exist already: nothing published."""
    return _hff("gated")


def _hff(form: Literal["paper", "squeeze", "gated"]) -> Network:
    stages = tuple(stage.model_copy(update={"fusion": HFF(form=form)}) for stage in resnet().stages)
    return Network(stages=stages)


def m_mffnet() -> Network:
    """M-MFFnet (Zhao and Leong) as listed, two inputs through one ResNet-50, then fused: 24.95 M, 8.232 GMACs."""
    return _two_inputs(Fusion())


def m_mffnet_gated() -> Network:
    """M-MFFnet (Zhao and Leong), the second input added by a gate and with its own norms: nothing published."""
    return _two_inputs(Fusion(kind="gated", norm="per-input"))


def _two_inputs(fusion: Fusion) -> Network:
    return Network(inputs=(Input(name="image1"), Input(name="image2")), stages=resnet().stages, fusion=fusion)


class Preset(NamedTuple):
    """How to make a named network, and what was published of it (None: not reported, or of another variant)."""

    make: Callable[[], Network]
    parameters: int | None = None
    gmacs: float | None = None
    top1: float | None = None


NETWORKS: dict[str, Preset] = {
    "resnet18": Preset(resnet18, 11_689_512, 1.814, 69.76),
    "resnet34": Preset(resnet34, 21_797_672, 3.664, 73.31),
    "resnet26": Preset(resnet26),
    "resnet50": Preset(resnet50, 25_557_032, 4.089, 76.13),
    "resnet50-v1": Preset(resnet50_v1, None, 3.8, 75.3),
    "resnet101": Preset(resnet101, 44_549_160, 7.801, 77.37),
    "resnet152": Preset(resnet152, 60_192_808, 11.514, 78.31),
    "wide-resnet50-2": Preset(wide_resnet50_2, 68_900_000, None, 78.1),
    "wide-resnet101-2": Preset(wide_resnet101_2, 126_886_696, 22.753, 78.85),
    "wide-basic-resnet50": Preset(wide_basic_resnet50),
    "resnext50-32x4d": Preset(resnext50_32x4d, 25_000_000, 4.2, 77.8),
    "resnext101-32x8d": Preset(resnext101_32x8d, 88_791_336, 16.414, 79.31),
    "resnext101-64x4d": Preset(resnext101_64x4d, 83_455_272, 15.460, 79.6),
    "se-resnet50": Preset(se_resnet50, None, None, 76.71),
    "se-resnet50-paper": Preset(se_resnet50_paper),
    "se-resnext50-32x4d": Preset(se_resnext50_32x4d, None, 4.25, 78.90),
    "cbam-resnet50": Preset(cbam_resnet50, 28_090_000, None, 77.34),
    "eca-resnet50": Preset(eca_resnet50, None, None, 77.48),
    "resnet50-d": Preset(resnet50_d, None, 4.3, 77.16),
    "eca-resnet50-d": Preset(eca_resnet50_d, 25_576_350),
    "separable-resnet50": Preset(separable_resnet50),
    "swish-resnet50": Preset(swish_resnet50),
    "dropout-resnet50": Preset(dropout_resnet50),
    "fpn-resnet50": Preset(fpn_resnet50),
    "hff-senet": Preset(hff_senet, 84_060_392, 12.721),
    "hff-squeeze": Preset(hff_squeeze),
    "hff-gated": Preset(hff_gated),
    "m-mffnet": Preset(m_mffnet, 24_945_448, 8.232),
    "m-mffnet-gated": Preset(m_mffnet_gated),
}


def network(name: str, *, classes: int | None = None) -> Network:
    """A named network, for so many classes. Raises SpecError."""
    if name not in NETWORKS:
        raise SpecError(f"network {name!r}: unknown{suggestion(name, NETWORKS)}")
    made = NETWORKS[name].make()
    if classes is None:
        return made
    return edit(made, "head.classes", classes)


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
