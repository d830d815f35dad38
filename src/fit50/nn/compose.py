"""The ResNet, whole."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fit50.nn.activation import activation
from fit50.nn.blocks import ResidualBlock, block, convolution
from fit50.spec.errors import CheckpointError, NotBuiltError
from fit50.spec.network import Classifier, Network


class ResNet(nn.Module):
    """Stem, stages, pooling, classifier. State-dict keys are torchvision's (conv1, bn1, layer1 ... fc)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        head = _built(network)
        stem = network.stem
        kernel, stride = (7, 2) if stem.kind == "7x7" else (3, min(stem.stride, 2))
        self.conv1 = convolution(network.inputs[0].channels, stem.out, kernel, stride)
        self.bn1 = nn.BatchNorm2d(stem.out)
        self.relu = activation(network.activation)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if stem.kind == "7x7" else nn.Identity()
        self.stages = tuple(stage.name for stage in network.stages)
        width = stem.out
        for stage in network.stages:
            blocks = []
            for value in stage.blocks:
                blocks.append(block(value, width, network.activation))
                width = value.out
            self.add_module(stage.name, nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(head.dropout)
        self.fc = nn.Linear(width, head.classes)

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """The output of the stem and of every stage, by name, each (N, C, H, W)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps = {"stem": x}
        for name in self.stages:
            maps[name] = x = self.get_submodule(name)(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (N, C, H, W) to logits (N, classes)."""
        x = self.maps(x)[self.stages[-1]]
        return self.fc(self.dropout(self.avgpool(x).flatten(1)))


def _built(network: Network) -> Classifier:
    """The network's classifier, once everything else that is not built yet has been refused by name."""
    if len(network.inputs) > 1 or network.fusion is not None:
        raise NotBuiltError("network: two inputs (fusion) are not built yet; use one input")
    if network.stem.kind in ("deep", "7x7+3x3x3"):
        raise NotBuiltError(f"stem: {network.stem.kind!r} is not built yet; built: 7x7, light, low-resolution")
    if network.neck is not None:
        raise NotBuiltError(f"neck: {network.neck.kind} is not built yet; use neck: null")
    for stage in network.stages:
        if stage.fusion is not None:
            raise NotBuiltError(f"stages.{stage.name}.fusion: {stage.fusion.kind} is not built yet; use fusion: null")
    if not isinstance(network.head, Classifier):
        raise NotBuiltError(f"head: {network.head.kind} is not built yet; built: classifier")
    return network.head


def compose(network: Network, tensors: Mapping[str, Tensor] | None = None, *, seed: int = 0) -> ResNet:
    """Builds a network's module, in training mode.

    Args:
        network: what to build.
        tensors: its state dict, copied in; by default ``initial(network, seed)``.
        seed: decides the initial weights.

    Raises:
        NotBuiltError: the network says a part that this version cannot build.
        CheckpointError: tensors are missing, left over, or of another shape.
    """
    with torch.device("meta"):
        module = ResNet(network)
    if tensors is None:
        tensors = _initial(module, seed)
    check(tensors, module.state_dict(), "the given tensors")
    # One memory layout, wherever the tensors come from: another one would round otherwise.
    copies = {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in tensors.items()}
    module.load_state_dict(copies, assign=True)
    return module.requires_grad_(True)


def check(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """Raises CheckpointError, naming every key that is missing, unknown or of another shape."""
    faults = [f"missing {key}, expected shape {tuple(t.shape)}" for key, t in expected.items() if key not in found]
    faults += [f"unknown {key}, found shape {tuple(t.shape)}" for key, t in found.items() if key not in expected]
    faults += [
        f"{key}: expected shape {tuple(expected[key].shape)}, found {tuple(tensor.shape)}"
        for key, tensor in found.items()
        if key in expected and tensor.shape != expected[key].shape
    ]
    if faults:
        shown = "\n  ".join(faults[:10])
        more = f"\n  and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise CheckpointError(f"{source}: the tensors do not fit the network:\n  {shown}{more}")


def _initial(module: ResNet, seed: int) -> dict[str, Tensor]:
    """Normal weights by fan-out (He et al. 2015); each block's last batch norm starts at zero (Goyal et al. 2017)."""
    generator = torch.Generator().manual_seed(seed)
    module = module.to_empty(device="cpu")
    for part in module.modules():
        match part:
            case nn.Conv2d():
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu", generator=generator)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
            case nn.BatchNorm2d():
                part.reset_parameters()
            case nn.Linear():
                bound = part.in_features**-0.5
                nn.init.uniform_(part.weight, -bound, bound, generator=generator)
                nn.init.zeros_(part.bias)
    for part in module.modules():
        if isinstance(part, ResidualBlock):
            nn.init.zeros_(part.last.weight)
    return module.state_dict()
