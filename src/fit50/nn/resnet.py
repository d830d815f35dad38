"""The ResNet, whole."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fit50.nn.activation import activation
from fit50.nn.blocks import block, convolution
from fit50.nn.fusion import Concatenation, FeaturePyramid, GatedSum, input_fusion, stage_fusion
from fit50.spec.errors import NotBuiltError
from fit50.spec.network import Classifier, Network, Stage


class Trunk(nn.Module):
    """Stem and stages for one input, their parts named as torchvision names them (conv1, bn1, layer1 ...)."""

    def __init__(self, network: Network, channels: int, stages: Sequence[Stage]) -> None:
        super().__init__()
        stem = network.stem
        self.conv1 = _stem(network, channels)
        self.bn1 = nn.BatchNorm2d(stem.out)
        self.relu = activation(network.activation)
        pool = nn.MaxPool2d(3, 2, padding=0 if stem.ceil else 1, ceil_mode=stem.ceil)
        self.maxpool = pool if stem.pools else nn.Identity()
        self.names = [stage.name for stage in stages]
        width = stem.out
        for stage in stages:
            self.add_module(stage.name, _stage(stage, width, network))
            width = network.width_after(stage)

    def stem(self, x: Tensor) -> Tensor:
        """Normalised images (N, channels, H, W) to what the first stage takes."""
        return self.maxpool(self.relu(self.bn1(self.conv1(x))))

    def run(self, x: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """The output of each of these stages, in a row, by name, each (N, C, H, W)."""
        maps = {}
        for name in names:
            maps[name] = x = self.get_submodule(name)(x)
        return maps


def _stem(network: Network, channels: int) -> nn.Module:
    """The convolutions of the stem, with a batch norm and an activation between two of them."""
    widths, stride = (*network.stem.inner, network.stem.out), min(network.stem.stride, 2)
    parts: list[nn.Module] = []
    for kernel, width in zip(network.stem.kernels, widths, strict=True):
        if parts:
            parts += [nn.BatchNorm2d(channels), activation(network.activation)]
        parts.append(convolution(channels, width, kernel, 1 if parts else stride))
        channels = width
    return parts[0] if len(parts) == 1 else nn.Sequential(*parts)


def _stage(stage: Stage, width: int, network: Network) -> nn.Sequential:
    """Blocks ``0``, ``1``, ... and then the stage's ``fusion``, if it has one."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for index, value in enumerate(stage.blocks):
        parts[str(index)] = block(value, width, network.activation)
        width = value.out
    if stage.fusion is not None:
        parts["fusion"] = stage_fusion(stage.fusion, width)
    return nn.Sequential(parts)


class PerInputNorm(nn.BatchNorm2d):
    """A batch norm for each of two inputs; ``current`` says whose turn it is."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.second = nn.BatchNorm2d(channels)
        self.current = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.second(x) if self.current else super().forward(x)


class ResNet(Trunk):
    """Images in, logits out. State-dict keys are torchvision's where torchvision has the part.

    Two inputs meet after the stage ``network.fused``: the first goes through this trunk, the other through this one too
    (but for a stem of its own where its channels differ), or through ``second``.
    """

    def __init__(self, network: Network) -> None:
        if not isinstance(network.head, Classifier):
            raise NotBuiltError(f"head: {network.head.kind} is not built yet; built: classifier")
        first, *others = network.inputs
        super().__init__(network, first.channels, network.stages)
        self.network = network
        meeting = self.names.index(network.fused) + 1 if network.fused else 0
        self.apart, self.together = self.names[:meeting], self.names[meeting:]
        self.second: Trunk | None = None
        self.fusion: Concatenation | GatedSum | None = None
        self.neck: FeaturePyramid | None = None
        self.modality_dropout = 0.0
        if network.fusion is not None:
            self.modality_dropout = network.fusion.modality_dropout
            own = network.stages[:meeting] if network.fusion.backbone == "separate" else ()
            if own or others[0].channels != first.channels:
                self.second = Trunk(network, others[0].channels, own)
            if network.fusion.norm == "per-input":
                self._split_norms()
            self.fusion = input_fusion(network.fusion, network.stages[meeting - 1].out)
        widths = {stage.name: network.width_after(stage) for stage in network.stages}
        features = widths[self.names[-1]]
        self.fc_neck: nn.Linear | None = None
        if network.neck is not None:
            levels = network.pyramid
            self.neck = FeaturePyramid(network.neck, {name: widths[name] for name in levels})
            if network.neck.form == "plain":
                features = len(levels) * network.neck.width
            else:
                self.fc_neck = nn.Linear(len(levels) * network.neck.width, network.head.classes)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(network.head.dropout)
        self.fc = nn.Linear(features, network.head.classes)

    def forward(self, *images: Tensor, present: Tensor | None = None) -> Tensor:
        """Normalised images to logits (N, classes).

        Args:
            images: one for each input, each (N, channels, H, W).
            present: for two inputs, which of them each image has, bool (N, 2); by default all.
        """
        maps = self.maps(*images, present=present)
        last = maps[self.names[-1]]
        if self.neck is None:
            return self.fc(self.dropout(self._pooled(last)))
        pyramid = torch.cat([self._pooled(level) for level in self.neck(maps).values()], 1)
        if self.fc_neck is None:
            return self.fc(self.dropout(pyramid))
        return self.fc(self.dropout(self._pooled(last))) + self.fc_neck(self.dropout(pyramid))

    def maps(self, *images: Tensor, present: Tensor | None = None) -> dict[str, Tensor]:
        """The output of the stem (of the first input) and of every stage, by name, each (N, C, H, W).

        Before the fusion of two inputs, the maps are the first one's.
        """
        if len(images) != len(self.network.inputs):
            raise TypeError(f"expected {len(self.network.inputs)} inputs, found {len(images)}")
        x = self.stem(images[0])
        maps = {"stem": x, **self.run(x, self.apart)}
        if self.fusion is not None:
            if self.training and self.modality_dropout:
                present = hide(present, images[0], self.modality_dropout)
            name = self.apart[-1]
            x = maps[name] = self.fusion(maps[name], self._other(images[1]), present)
        return maps | self.run(x, self.together)

    def _other(self, image: Tensor) -> Tensor:
        """The second input's map where the two meet."""
        second = self.second or self
        norms = [part for part in self.modules() if isinstance(part, PerInputNorm)]
        for norm in norms:
            norm.current = 1
        x = second.stem(image)
        stages = second if second.names else self
        x = stages.run(x, self.apart)[self.apart[-1]]
        for norm in norms:
            norm.current = 0
        return x

    def _split_norms(self) -> None:
        """Gives the second input batch norms of its own in all that both go through."""
        shared = [self.get_submodule(name) for name in self.apart]
        parents = [part for stage in shared for part in stage.modules()]
        for parent in parents if self.second else [self, self.conv1, *parents]:
            for name, child in parent.named_children():
                if type(child) is nn.BatchNorm2d:
                    setattr(parent, name, PerInputNorm(child.num_features))

    def _pooled(self, x: Tensor) -> Tensor:
        return self.avgpool(x).flatten(1)


def hide(present: Tensor | None, images: Tensor, rate: float) -> Tensor:
    """Modality dropout: which inputs are left (N, 2) when, at this rate, either one of an image's is hidden."""
    n = len(images)
    hidden = (torch.rand(n, 1) < rate) & (torch.randint(2, (n, 1)) == torch.arange(2))
    left = ~hidden.to(images.device)
    return left if present is None else torch.where((left & present).any(1, keepdim=True), left & present, present)
