"""Every kind of network that the spec can say, narrow and shallow: on each, every runtime must agree with torch."""

from __future__ import annotations

from typing import Any

from fit50.runtimes.base import Images
from fit50.runtimes.graph import golden_images
from fit50.spec.blocks import CBAM, ECA, SE, Basic, Bottleneck, Swish
from fit50.spec.network import FPN, HFF, Classifier, Fusion, Input, Network, Stage, Stem

INPUT = Input(height=24, width=32, resize="stretch")
CAFFE = INPUT.model_copy(update={"order": "bgr", "mean": (0.6, 0.5, 0.3), "std": (0.1, 0.2, 0.4)})
RGB = INPUT.model_copy(update={"name": "rgb"})
DEPTH = INPUT.model_copy(update={"name": "depth"})
THERMAL = Input(name="thermal", channels=1, height=24, width=32, resize="stretch", mean=(0.4,), std=(0.3,))
DEEP = Stem(kind="deep", inner=(4, 6), out=8)


def stage(index: int, fusion: str | None = None, **options: Any) -> Stage:
    """A bottleneck with a projection, of stride 2 beyond the first stage; in the first, another with an identity."""
    block = {"inner": (8, 8), "out": 16, "stride": 1 if index == 1 else 2, "shortcut": "projection"} | options
    blocks = [Bottleneck.parse(block)]
    if index == 1:
        blocks.append(Bottleneck.parse(block | {"shortcut": "identity"}))
    return Stage(name=f"layer{index}", blocks=tuple(blocks), fusion=fusion and HFF.parse({"form": fusion}))


def basic(index: int, attention: SE | None = None) -> Stage:
    """One basic block, with what is random in training only."""
    regular = {"shortcut": "projection", "attention": attention, "dropout": 0.2, "drop_path": 0.2}
    return Stage(name=f"layer{index}", blocks=(Basic.parse({"inner": 8, "out": 12, "stride": 2} | regular),))


def network(*stages: Stage, **parts: Any) -> Network:
    """For four classes; by default with one input and a light stem."""
    head = Classifier(classes=4, dropout=0.3)
    return Network.parse(
        {"inputs": (INPUT,), "stem": Stem(kind="light", out=8), "head": head, "stages": stages} | parts
    )


def pair(second: Input, stem: Stem | None = None, **fusion: Any) -> Network:
    """Two inputs, by default fused after the third and last stage."""
    parts = {"inputs": (RGB, second), "fusion": Fusion.parse({"width": 6} | fusion)} | ({"stem": stem} if stem else {})
    return network(stage(1), stage(2), stage(3), **parts)


KINDS = {
    "CBAM, average projections, deep stem": network(
        stage(1, attention=CBAM(reduction=4)),
        *(stage(i, shortcut="average-projection", attention=CBAM(width=3, kernel=3)) for i in (2, 3)),
        stem=DEEP,
    ),
    "ECA, grouped, separable, v1": network(
        stage(1, attention=ECA(), groups=4),
        stage(2, attention=ECA(kernel=5), separable=True, inner=(8, 12)),
        stage(3, groups=2, stride_on="1x1"),
    ),
    "SE, Swish of beta 1.5, wide": network(
        stage(1, attention=SE(reduction=4), inner=(16, 16)),
        stage(2, attention=SE(width=3), inner=(16, 16)),
        activation=Swish(beta=1.5),
    ),
    "Swish learned, on its way, and SiLU": network(
        stage(1),
        stage(2, activation=Swish(start=2.0**20)),
        stage(3, activation=Swish()),
        activation=Swish(beta=0.7, learned=True),
    ),
    "7x7 and three 3x3, Caffe's pooling and order": network(
        stage(1), stage(2), inputs=(CAFFE,), stem=Stem(kind="7x7+3x3x3", inner=(4, 6, 6), out=8, ceil=True)
    ),
    "FPN plain, HFF as listed": network(
        stage(1, "paper"), stage(2, "paper"), stage(3, "paper"), stage(4), neck=FPN(form="plain", width=6)
    ),
    "FPN gated, HFF squeezed and gated": network(
        stage(1, "squeeze"), stage(2, "gated"), stage(3), neck=FPN(width=6, levels=("layer2", "layer3"))
    ),
    "basic blocks, dropout, stochastic depth": network(
        basic(1), basic(2, SE(reduction=4)), stem=Stem(kind="low-resolution", out=8)
    ),
    "two inputs, concatenated": pair(DEPTH),
    "two inputs, concatenated, norms of their own": pair(DEPTH, DEEP, norm="per-input"),
    "two inputs, gated, norms and stems of their own": pair(THERMAL, kind="gated", norm="per-input"),
    "two inputs, concatenated early, all of their own": pair(THERMAL, backbone="separate", after="layer2"),
    "two inputs, concatenated, either may be missing": pair(DEPTH, modality_dropout=0.2),
    "two inputs, gated early, either may be missing": pair(THERMAL, kind="gated", after="layer2", modality_dropout=0.2),
}
PAIRS = [kind for kind, made in KINDS.items() if made.fusion]
MISSING = [kind for kind in PAIRS if KINDS[kind].fusion.modality_dropout]


def photographs(network: Network, count: int = 8) -> list[Images]:
    """Different images (N, H, W, C) for each input."""
    return [golden_images(image, count, seed) for seed, image in enumerate(network.inputs)]
