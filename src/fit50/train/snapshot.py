"""The state of an unfinished training, in one safetensors file: weights, optimizer, average, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn, optim
from torch.optim.swa_utils import AveragedModel

from fit50.nn.resnet import ResNet
from fit50.spec.errors import CheckpointError
from fit50.weights.checkpoint import write_tensors


@dataclass
class State:
    """All that changes while a network trains; no random state, for each step draws from its own seed.

    Attributes:
        module: the network that learns.
        optimizer: over its parameters, and those of ``beside``.
        average: the averaged weights, or None.
        beside: what learns beside the network and is not kept, such as a hint's projections; or None.
        loss: the sum of this epoch's losses so far, on the device.
        done: steps.
        lowered: how often the rate was lowered after a loss that was not finite.
        pieces: in which a batch goes through the network.
    """

    module: ResNet
    optimizer: optim.Optimizer
    average: AveragedModel | None
    beside: nn.Module | None
    loss: Tensor
    done: int = 0
    lowered: int = 0
    pieces: int = 1

    @property
    def finite(self) -> bool:
        """Whether the loss and all weights are; asks the device."""
        sums = [tensor.sum(dtype=torch.float64) for tensor in self.module.state_dict().values()]
        return bool((self.loss + torch.stack(sums).sum()).isfinite())

    def modules(self) -> dict[str, nn.Module]:
        """What has a state dict of tensors, by name."""
        known = {"module": self.module, "average": self.average, "beside": self.beside}
        return {name: module for name, module in known.items() if module is not None}


def save(path: Path, state: State, training: str) -> None:
    """Writes the state of a training, told by its digest, atomically: a full disk leaves the last one.

    Raises StorageError.
    """
    tensors = {
        f"{name}.{key}": tensor
        for name, module in state.modules().items()
        for key, tensor in module.state_dict().items()
    }
    for index, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in values.items() if isinstance(value, Tensor)}
    for index, group in enumerate(state.optimizer.param_groups):
        tensors |= {f"group.{index}.{key}": value for key, value in group.items() if isinstance(value, Tensor)}
    numbers = {"done": state.done, "lowered": state.lowered, "pieces": state.pieces}
    write_tensors(
        path,
        tensors | {"loss": state.loss},
        {"training": training} | {key: str(number) for key, number in numbers.items()},
    )


def restore(path: Path, state: State, training: str) -> None:
    """Puts a saved state back. Raises CheckpointError where it is none, or another training's."""
    try:
        with safe_open(path, framework="pt") as file:
            known = dict(file.metadata() or {})
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: expected the state of a training, found: {error}; remove it") from None
    if known.pop("training", None) != training:
        raise CheckpointError(
            f"{path}: expected the state of this training, found {known.get('done')} steps of one with another recipe, "
            "network, seed or data; remove it, or name another file"
        )
    numbers = {key: int(text) for key, text in known.items()}

    def below(prefix: str) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}

    for name, module in state.modules().items():
        module.load_state_dict(below(f"{name}."))
    parameters = [parameter for group in state.optimizer.param_groups for parameter in group["params"]]
    kept: dict[int, dict[str, Tensor]] = {}
    for key, tensor in below("optimizer.").items():
        index, name = key.split(".", 1)
        kept.setdefault(int(index), {})[name] = _laid_out_like(parameters[int(index)], tensor)
    groups = state.optimizer.state_dict()["param_groups"]
    for key, tensor in below("group.").items():
        index, name = key.split(".", 1)
        groups[int(index)][name] = tensor
    state.optimizer.load_state_dict({"state": kept, "param_groups": groups})
    state.loss.copy_(tensors["loss"])
    state.done, state.lowered, state.pieces = numbers["done"], numbers["lowered"], numbers["pieces"]


def _laid_out_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """The tensor in the parameter's memory format: fused optimizers walk through both side by side."""
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor
