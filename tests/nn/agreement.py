"""What it takes for a network of ours and somebody else's to be the same."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from fit50.weights.checkpoint import Checkpoint
from fit50.weights.foreign import load_weights

M = TypeVar("M", bound=nn.Module)
CLASSES = 11


def enlivened(module: M, *inputs: Tensor) -> M:
    """The module with batch norms as a training leaves them, lest zeros and ones hide what differs.

    Their statistics are those of the inputs: with any others, a deep network says the same of every image.
    """
    generator = torch.Generator().manual_seed(1)
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.data.uniform_(0.3, 0.9, generator=generator)
        norm.bias.data.uniform_(-0.3, 0.3, generator=generator)
        norm.momentum = 1.0
    with torch.no_grad():
        module.train()(*inputs)
    for norm in norms:
        norm.momentum = 0.1
    return module


def images(count: int, side: int, channels: int = 3, seed: int = 0) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed)) * 4 - 2


def assert_agrees(reference: nn.Module, path: Path, *inputs: Tensor, learns: bool = True) -> Checkpoint:
    """What we make of a file of the module's weights, once it answers, and ``learns``, as the module does.

    The gradients and the statistics of a training step take the way of the weights: through a file of its names.
    """
    checkpoint = loaded(reference, path)
    module = checkpoint.module()
    expected, found = answers(reference, *inputs), answers(module, *inputs)
    assert expected.std(0).mean() > 0.1 * expected.std(), "the images must tell the answers apart"
    assert_same("logits", found, expected, 1e-5)
    if not learns:
        return checkpoint
    learned, ours = loaded(stepped(reference, *inputs), path).tensors, stepped(module, *inputs).state_dict()
    assert set(ours) == set(learned)
    for name, tensor in learned.items():
        assert_same(name, ours[name], tensor, 1e-4)
    return checkpoint


def loaded(module: nn.Module, path: Path) -> Checkpoint:
    """What we make of a file of the module's state dict; the file, which may be large, goes."""
    (torch.save if path.suffix == ".pth" else save_file)(module.state_dict(), path)
    checkpoint = load_weights(path)
    path.unlink()
    return checkpoint


def answers(module: nn.Module, *inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return module.eval()(*inputs)


def stepped(module: M, *inputs: Tensor) -> M:
    """The module after one training step forward and back, with its gradients in place of its parameters."""
    labels = torch.arange(len(inputs[0])) % CLASSES
    F.cross_entropy(module.train()(*inputs), labels).backward()
    for parameter in module.parameters():
        parameter.data = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    return module


def assert_same(name: str, found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Equal to a part of the largest value, which is not zero."""
    scale = expected.abs().max().item()
    assert scale > 0, f"{name}: zero"
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale, msg=lambda text: f"{name}: {text}")
