"""Networks to be pruned: every kind that the spec can say, the presets alone and combined, all narrow; and photographs.

A number of channels leaves in each test, so that the widths are small but not tiny.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tests.contracts.networks import KINDS, photographs

from fit50.data.audit import Audit
from fit50.data.dataset import Dataset
from fit50.data.images import Images
from fit50.spec import presets
from fit50.spec.blocks import CBAM, ECA, SE, Basic, Bottleneck, Swish
from fit50.spec.digest import edit, edit_all
from fit50.spec.network import HFF, Classifier, Fusion, Network, Stem
from fit50.weights.checkpoint import Checkpoint

EXTRAS: dict[str, dict[str, Any]] = {
    "": {},
    "SE, Swish": {"attention": SE(reduction=4), "activation": Swish()},
    "CBAM, deep stem": {"attention": CBAM(reduction=4), "stem": Stem(kind="deep", inner=(6, 7), out=8)},
    "ECA, light stem": {"attention": ECA(), "stem": Stem(kind="light", out=8)},
}
COMBINED = ("resnet18", "resnet50-d", "resnext50-32x4d", "fpn-resnet50", "hff-senet", "hff-gated", "m-mffnet-gated")


def narrow(network: Network, attention: SE | CBAM | ECA | None = None, blocks: int = 2, **parts: Any) -> Network:
    """A network of an eighth of the widths, at most so many blocks a stage, for small images of four classes."""

    def eighth(block: Basic | Bottleneck) -> Basic | Bottleneck:
        update: dict[str, object] = {"out": block.out // 8}
        if isinstance(block, Bottleneck):
            groups = max(1, block.groups // 8)
            update |= {"groups": groups, "inner": tuple(width // 8 for width in block.inner)}
        else:
            update["inner"] = block.inner // 8
        return block.model_copy(update=update | ({"attention": attention} if attention else {}))

    stem = network.stem.model_copy(update={"out": 8, "inner": tuple(w // 8 for w in network.stem.inner)})
    stages = (s.model_copy(update={"blocks": tuple(map(eighth, s.blocks[:blocks]))}) for s in network.stages)
    update = {"stem": stem, "stages": tuple(stages), "head": Classifier(classes=4)} | parts
    update["inputs"] = tuple(i.model_copy(update={"height": 32, "width": 32}) for i in network.inputs)
    for part in ("neck", "fusion"):
        if (value := getattr(network, part)) is not None:
            update[part] = value.model_copy(update={"width": 12})
    return Network.parse(network.model_copy(update=update).model_dump())


def _combined() -> dict[str, Network]:
    """The presets, and some with more added; those left out that are like another one once they are narrow."""
    found: dict[Network, str] = {}
    for extra, parts in EXTRAS.items():
        for name in COMBINED if extra else presets.NETWORKS:
            made = narrow(presets.network(name), **parts)
            found.setdefault(made, f"{name}, {extra}" if extra else name)
    return {name: network for network, name in found.items()}


PRESETS = _combined()
MORE = {
    "groups of several channels on both sides": edit(
        narrow(presets.resnext50_32x4d()), "stages[*].blocks[*].inner", (12, 20)
    ),
    "two inputs, HFF in separate backbones": edit_all(
        narrow(presets.m_mffnet_gated()),
        (
            *((f"stages[{i}].fusion", HFF(form=form)) for i, form in enumerate(("paper", "gated", "squeeze", "gated"))),
            ("fusion", Fusion(kind="gated", width=12, backbone="separate")),
        ),
    ),
}
EVERY = KINDS | PRESETS | MORE


def images(network: Network, count: int) -> list[torch.Tensor]:
    """Normalised images float64 (N, C, H, W), one for each input."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(count, image.channels, image.height, image.width) for image in network.inputs]
    return [torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes]


def dataset(network: Network, count: int = 8) -> Dataset:
    """Photographs for each input, of as many classes as the network has."""
    labels = np.arange(count) % network.head.classes
    split = Images(tuple(photographs(network, count)), labels, tuple(map(str, range(count))))
    names = tuple(map(str, range(network.head.classes)))
    return Dataset(names, {"train": split}, Audit({}, (), (), 0), "photographs")


def logits(checkpoint: Checkpoint, count: int = 3) -> torch.Tensor:
    """In float64 (N, classes), for some networks of random weights hardly tell one image from another."""
    with torch.no_grad():
        return checkpoint.module().double()(*images(checkpoint.network, count))
