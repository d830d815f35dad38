"""Modules from values and tensors, and tensors from seeds."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fit50.nn.blocks import ResidualBlock
from fit50.nn.resnet import ResNet
from fit50.spec.errors import CheckpointError
from fit50.spec.network import Network


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
        tensors = initial(network, seed)
    check(tensors, module.state_dict(), "the given tensors")
    # One memory layout, wherever the tensors come from: another one would round otherwise.
    copies = {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in tensors.items()}
    module.load_state_dict(copies, assign=True)
    return module.requires_grad_(True)


def shapes(network: Network) -> Mapping[str, Tensor]:
    """The state dict of a network on the meta device: names and shapes alone. Raises NotBuiltError."""
    with torch.device("meta"):
        return ResNet(network).state_dict()


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
        raise CheckpointError("\n  ".join((f"{source}: the tensors do not fit the network:", *faults)))


def initial(network: Network, seed: int) -> dict[str, Tensor]:
    """The tensors that training from scratch starts with.

    Convolutions before a batch norm are normal by fan-out (He et al. 2015), each block's last batch norm is zero (Goyal
    et al. 2017), and so is what a pyramid beside the last stage adds; all else is as torch draws it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = ResNet(network)
        for part in module.modules():
            match part:
                case nn.Conv2d(bias=None):
                    nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
                case ResidualBlock():
                    for norm in part.last.modules():  # where each input has its own, both
                        assert isinstance(norm, nn.BatchNorm2d)
                        nn.init.zeros_(norm.weight)
                case _:
                    pass
        if module.fc_neck is not None:
            nn.init.zeros_(module.fc_neck.weight)
            nn.init.zeros_(module.fc_neck.bias)
    return module.state_dict()
