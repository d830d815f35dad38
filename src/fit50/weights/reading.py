"""The tensors of a file, and nothing else of it: ``weights_only`` loading alone, so that no file can run code."""

from __future__ import annotations

import re
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from fit50.spec.errors import CheckpointError

_NAMED = re.compile(r"GLOBAL (\S+)")
"""In torch's refusal, the class or function that a file wants to have called."""
_WRAPPERS = ("state_dict", "model", "model_state_dict")


def is_ours(path: Path) -> bool:
    """Whether fit50 wrote the file. Raises CheckpointError where it is no safetensors file by its content."""
    if path.suffix != ".safetensors":
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return "fit50" in (file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: expected a safetensors file, found: {error}") from None


def state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, in float32, without the wrapping that trainers add. Raises CheckpointError."""
    try:
        data = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # a damaged file can make the unpickler raise anything
        named = _NAMED.search(str(error)) if isinstance(error, UnpicklingError) else None
        if named:
            raise CheckpointError(
                f"{path}: refused, for it holds more than tensors and could run code: it names {named[1]}; "
                "where you trust it, load it with torch and save its state dict alone"
            ) from None
        unread = isinstance(error, UnpicklingError)
        reason = "torch finds no weights alone in it" if unread else f"{type(error).__name__}: {error}"
        raise CheckpointError(
            f"{path}: expected a state dict of tensors, found a file that cannot be read as one ({reason})"
        ) from None
    for wrapper in _WRAPPERS:
        if isinstance(data, dict) and isinstance(data.get(wrapper), dict):
            data = data[wrapper]
    if not isinstance(data, dict) or not data or not all(map(_is_entry, data.items())):
        raise CheckpointError(f"{path}: expected a state dict, names to tensors, found {type(data).__name__}")
    tensors = {key.removeprefix("module."): t.float() if t.is_floating_point() else t for key, t in data.items()}
    means = [key.removesuffix("running_mean") for key in tensors if key.endswith(".running_mean")]
    return {f"{norm}num_batches_tracked": torch.tensor(0) for norm in means} | tensors  # files of 2017 lack them


def _is_entry(entry: tuple[object, object]) -> bool:
    return isinstance(entry[0], str) and isinstance(entry[1], Tensor)
