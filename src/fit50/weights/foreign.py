"""Weights that others trained: files in torchvision's layout, from which the network is inferred.

Only ``weights_only`` loading is used, so that a file cannot run code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from fit50.nn.compose import check, compose, shapes
from fit50.spec.errors import CheckpointError
from fit50.spec.network import SE, Block, Bottleneck, Classifier, Network, Stage, Stem
from fit50.spec.value import describe
from fit50.weights.checkpoint import Checkpoint

_CLASSIFIER = "classifier"
_BLOCK = re.compile(r"(layer\d+)\.(\d+)\.")


def load_weights(path: Path, network: Network | None = None) -> Checkpoint:
    """Loads a checkpoint of fit50's, or a state dict (.safetensors, .pth, .pt) in torchvision's layout.

    Args:
        path: the file.
        network: what the tensors must fit; by default the header's network, or the one that the shapes tell.

    Raises:
        CheckpointError: no such file, not a state dict, a file that wants to run code, or a network that cannot be
            inferred or does not fit; every unmatched key is named.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: expected a weights file (.safetensors, .pth, .pt), found none")
    if path.suffix == ".safetensors" and _is_ours(path):
        checkpoint = Checkpoint.load(path)
    else:
        tensors = _state_dict(path)
        checkpoint = Checkpoint(infer(tensors, str(path)), tensors)
    if network is not None:
        check(checkpoint.tensors, shapes(network), str(path))
        checkpoint = checkpoint.with_(network=network)
    return checkpoint


def _is_ours(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            return "fit50" in (file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: expected a safetensors file, found: {error}") from None


def _state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, without the wrapping that trainers add."""
    try:
        data = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: refused, for it holds more than tensors and could run code: {reason}") from None
    except Exception as error:  # a damaged file can make the unpickler raise anything
        raise CheckpointError(f"{path}: expected a state dict of tensors, found: {error}") from None
    for wrapper in ("state_dict", "model", "model_state_dict"):
        if isinstance(data, dict) and isinstance(data.get(wrapper), dict):
            data = data[wrapper]
    if not isinstance(data, dict) or not data or not all(map(_is_entry, data.items())):
        raise CheckpointError(f"{path}: expected a state dict, names to tensors, found {type(data).__name__}")
    tensors = {key.removeprefix("module."): t.float() if t.is_floating_point() else t for key, t in data.items()}
    means = [key.removesuffix("running_mean") for key in tensors if key.endswith(".running_mean")]
    return {f"{norm}num_batches_tracked": torch.tensor(0) for norm in means} | tensors  # files of 2017 lack them


def _is_entry(entry: tuple[object, object]) -> bool:
    return isinstance(entry[0], str) and isinstance(entry[1], Tensor)


def infer(tensors: Mapping[str, Tensor], source: str) -> Network:
    """The ResNet whose state dict in torchvision's layout this is, told by the shapes.

    Strides are torchvision's (v1.5), which no shape tells. Raises CheckpointError.
    """
    try:
        network = _inferred(tensors, source)
    except ValidationError as error:
        raise CheckpointError(describe(error, source)) from None
    check(tensors, shapes(network), source)
    return network


def _inferred(tensors: Mapping[str, Tensor], source: str) -> Network:
    def width(key: str) -> int:
        dimensions = 1 if key.endswith("bias") else 4
        if key not in tensors or tensors[key].ndim != dimensions or not tensors[key].numel():
            raise CheckpointError(
                f"{source}: expected torchvision's ResNet layout, which has {key} of {dimensions} dimensions; "
                f"found keys such as {', '.join(list(tensors)[:3])}"
            )
        return tensors[key].shape[0]

    names = sorted({(m[1], int(m[2])) for m in map(_BLOCK.match, tensors) if m}, key=lambda n: (int(n[0][5:]), n[1]))
    stages: dict[str, list[Block]] = {}
    for stage, index in names:
        prefix = f"{stage}.{index}"
        first, second = width(f"{prefix}.conv1.weight"), width(f"{prefix}.conv2.weight")
        projected = f"{prefix}.downsample.0.weight" in tensors
        gated = f"{prefix}.se.fc1.weight" in tensors
        value = Bottleneck(
            inner=(first, second),
            out=width(f"{prefix}.conv3.weight"),
            stride=2 if index == 0 and stage != "layer1" else 1,
            groups=first // tensors[f"{prefix}.conv2.weight"].shape[1],
            shortcut="projection" if projected else "identity",
            attention=SE(width=width(f"{prefix}.se.fc1.weight")) if gated else None,
        )
        stages.setdefault(stage, []).append(value)
    if not stages:
        width("layer1.0.conv1.weight")
    stem = width("conv1.weight")
    return Network(
        stem=Stem(kind="7x7" if tensors["conv1.weight"].shape[-1] == 7 else "low-resolution", out=stem),
        stages=tuple(Stage(name=name, blocks=tuple(blocks)) for name, blocks in stages.items()),
        head=Classifier(classes=width("fc.bias")),
    )


def fit_classes(checkpoint: Checkpoint, classes: tuple[str, ...], seed: int) -> Checkpoint:
    """The checkpoint with a classifier for these classes: its own where the names agree, else drawn anew."""
    same_names = checkpoint.classes == classes
    if same_names or (not checkpoint.classes and checkpoint.network.head.classes == len(classes)):
        provenance = {key: fact for key, fact in (checkpoint.provenance or {}).items() if key != _CLASSIFIER}
        return Checkpoint(checkpoint.network, checkpoint.tensors, classes, checkpoint.numerics, provenance)
    head = checkpoint.network.head.model_copy(update={"classes": len(classes)})
    network = checkpoint.network.model_copy(update={"head": head})
    fresh = compose(network, seed=seed).state_dict()
    tensors = {key: fresh[key] if key.startswith("fc.") else tensor for key, tensor in checkpoint.tensors.items()}
    return Checkpoint(network, tensors, classes, provenance={_CLASSIFIER: "drawn anew"})


def knows_classes(checkpoint: Checkpoint) -> bool:
    """Whether the classifier came with the weights, rather than being drawn anew by ``fit_classes``."""
    return _CLASSIFIER not in (checkpoint.provenance or {})


def refuse_other_classes(checkpoint: Checkpoint, classes: tuple[str, ...], source: str) -> None:
    """Raises CheckpointError unless the checkpoint tells these classes apart; one without names needs as many."""
    count = checkpoint.network.head.classes
    if count != len(classes) or checkpoint.classes not in ((), classes):
        known = ", ".join(checkpoint.classes) or f"{count} classes without names"
        raise CheckpointError(f"{source}: expected the data's classes {', '.join(classes)}, found {known}")
