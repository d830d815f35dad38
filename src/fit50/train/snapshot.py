"""The state of an unfinished training, in one safetensors file: weights, optimizer, average, epoch."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn, optim
from torch.optim.swa_utils import AveragedModel

from fit50.weights.checkpoint import write_tensors


def save(path: Path, epoch: int, module: nn.Module, optimizer: optim.Optimizer, average: AveragedModel | None) -> None:
    """Writes the state after ``epoch`` epochs, atomically. Raises StorageError."""
    tensors = {f"module.{key}": tensor for key, tensor in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items() if isinstance(value, Tensor)}
    if average is not None:
        tensors |= {f"average.{key}": tensor for key, tensor in average.state_dict().items()}
    write_tensors(path, tensors, {"epoch": str(epoch)})


def restore(path: Path, module: nn.Module, optimizer: optim.Optimizer, average: AveragedModel | None) -> int:
    """Puts a saved state back and returns the epochs that are done; 0 where there is no file."""
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as file:
        epoch = int(file.metadata()["epoch"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)

    def below(prefix: str) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}

    module.load_state_dict(below("module."))
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in below("optimizer.").items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = _laid_out_like(parameters[int(index)], tensor)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    if average is not None:
        average.load_state_dict(below("average."))
    return epoch


def _laid_out_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """The tensor in the parameter's memory format: fused optimizers walk through both side by side."""
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor
