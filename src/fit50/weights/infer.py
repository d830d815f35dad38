"""The network that a state dict's keys and shapes tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import ValidationError
from torch import Tensor

from fit50.nn.compose import check, shapes
from fit50.spec.blocks import CBAM, ECA, SE, Basic, Block, Bottleneck
from fit50.spec.errors import CheckpointError
from fit50.spec.network import FPN, HFF, Classifier, Fusion, Input, Network, Stage, Stem
from fit50.spec.value import describe
from fit50.weights.keymaps import TORCHVISION, Layout

_STEMS: dict[tuple[int, ...], Literal["7x7", "deep", "7x7+3x3x3", "low-resolution"]] = {
    (7,): "7x7",
    (3,): "low-resolution",
    (3, 3, 3): "deep",
    (7, 3, 3, 3): "7x7+3x3x3",
}


def infer(
    tensors: Mapping[str, Tensor], source: str, layout: Layout = TORCHVISION, image: Input | None = None
) -> Network:
    """The ResNet whose state dict under our keys this is.

    Not in any shape, and therefore taken as the layout's, or else as torchvision's: where a bottleneck strides, and
    that the first block of every stage but the first does, by two; the activation (ReLU); the stem's pooling, which a
    lone 3x3 is taken not to have (``low-resolution``); the form of a fusion without gamma (``paper``); dropout (none).
    Edits of the network say otherwise.

    Args:
        tensors: under our keys.
        source: what to call them in errors.
        layout: what the file's family means by them.
        image: how the images were prepared; by default as torchvision does it, or for other than three channels from -1
            to 1.

    Raises:
        CheckpointError: they tell no network; every key that is missing, unknown or of another shape is named.
    """
    try:
        network = _Shapes(tensors, source, layout).network(image)
    except ValidationError as error:
        raise CheckpointError(describe(error, source)) from None
    check(tensors, shapes(network), source)
    return network


class _Shapes:
    """Reads parts of a network off a state dict."""

    def __init__(self, tensors: Mapping[str, Tensor], source: str, layout: Layout) -> None:
        self.tensors, self.source, self.layout = tensors, source, layout

    def shape(self, key: str, dimensions: int = 4) -> tuple[int, ...]:
        """The shape of a tensor that must be there. Raises CheckpointError."""
        tensor = self.tensors.get(key)
        if tensor is None or tensor.ndim != dimensions or not tensor.numel():
            raise CheckpointError(
                f"{self.source}: expected {self.layout.name}, which has {key} of {dimensions} dimensions; "
                f"found keys such as {', '.join(list(self.tensors)[:3])}"
            )
        return tuple(tensor.shape)

    def width(self, key: str) -> int:
        return self.shape(f"{key}.weight")[0]

    def has(self, key: str) -> bool:
        return key in self.tensors

    def numbered(self, pattern: str) -> list[int]:
        """The numbers that stand in the pattern's group in any key, in order."""
        return sorted({int(match[1]) for key in self.tensors if (match := re.match(pattern, key))})

    def network(self, image: Input | None) -> Network:
        stages = self.stages()
        image = image or self.image()
        two = self.has("fusion.conv1.weight")
        inputs = tuple(image.model_copy(update={"name": name}) for name in ("image1", "image2"))
        return Network(
            inputs=inputs if two else (image,),
            stem=self.stem(),
            stages=stages,
            neck=self.neck([stage.name for stage in stages]),
            fusion=Fusion(width=self.width("fusion.conv1")) if two else None,
            head=Classifier(classes=self.shape("fc.bias", 1)[0]),
        )

    def image(self) -> Input:
        """ImageNet's input, or for another number of channels one of values from -1 to 1."""
        first = "conv1.0.weight" if self.has("conv1.0.weight") else "conv1.weight"
        channels = self.shape(first)[1]
        return Input() if channels == 3 else Input(channels=channels, mean=(0.5,) * channels, std=(0.5,) * channels)

    def stem(self) -> Stem:
        numbers = self.numbered(r"conv1\.(\d+)\.weight$")
        names = [f"conv1.{n}" for n in numbers if self.tensors[f"conv1.{n}.weight"].ndim == 4] or ["conv1"]
        found = [self.shape(f"{name}.weight") for name in names]
        kernels = tuple(shape[-1] for shape in found)
        if kernels not in _STEMS:
            known = ", ".join(map(str, _STEMS))
            raise CheckpointError(
                f"{self.source}: expected a stem whose kernels are one of {known}, found {kernels} in {names}"
            )
        widths = [shape[0] for shape in found]
        return Stem(kind=_STEMS[kernels], inner=tuple(widths[:-1]), out=widths[-1], ceil=self.layout.ceil)

    def stages(self) -> tuple[Stage, ...]:
        numbers = self.numbered(r"layer(\d+)\.\d+\.")
        if not numbers:
            self.shape("layer1.0.conv1.weight")
        return tuple(self.stage(f"layer{number}", first=number == numbers[0]) for number in numbers)

    def stage(self, name: str, first: bool) -> Stage:
        blocks = tuple(
            self.block(f"{name}.{index}", stride=1 if first or index else 2)
            for index in self.numbered(rf"{name}\.(\d+)\.")
        )
        if not self.has(f"{name}.fusion.conv1.weight"):
            return Stage(name=name, blocks=blocks)
        return Stage(
            name=name, blocks=blocks, fusion=HFF(form="gated" if self.has(f"{name}.fusion.gamma") else "paper")
        )

    def block(self, name: str, stride: int) -> Block:
        projected = self.has(f"{name}.downsample.0.weight")
        shortcut, stride = (self.layout.shortcut, stride) if projected else ("identity", 1)
        attention = self.attention(f"{name}.se")
        if not self.has(f"{name}.conv3.weight"):
            inner, out = self.width(f"{name}.conv1"), self.width(f"{name}.conv2")
            return Basic(inner=inner, out=out, stride=stride, shortcut=shortcut, attention=attention)
        separable = self.has(f"{name}.conv2.1.weight")
        first = self.width(f"{name}.conv1")
        second, grouped, *_ = self.shape(f"{name}.conv2.{'1.' if separable else ''}weight")
        return Bottleneck(
            inner=(first, second),
            out=self.width(f"{name}.conv3"),
            stride=stride,
            stride_on=self.layout.stride_on,
            groups=1 if separable else first // grouped,
            separable=separable,
            shortcut=shortcut,
            attention=attention,
        )

    def attention(self, name: str) -> SE | CBAM | ECA | None:
        if self.has(f"{name}.fc1.weight"):
            width = self.width(f"{name}.fc1")
            if not self.has(f"{name}.conv.weight"):
                return SE(width=width)
            return CBAM(width=width, kernel=self.shape(f"{name}.conv.weight")[-1])
        if self.has(f"{name}.conv.weight"):
            return ECA(kernel=self.shape(f"{name}.conv.weight", 3)[-1])
        return None

    def neck(self, stages: list[str]) -> FPN | None:
        levels = tuple(name for name in stages if self.has(f"neck.lateral.{name}.weight"))
        if not levels:
            return None
        width = self.width(f"neck.lateral.{levels[0]}")
        return FPN(form="gated" if self.has("fc_neck.weight") else "plain", width=width, levels=levels)
