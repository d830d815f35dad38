"""How much each channel matters, by group."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fit50.compress.groups import Group
from fit50.data.split import Split
from fit50.nn.deployed import Normalize
from fit50.weights.checkpoint import Checkpoint


def importance(
    kind: str, checkpoint: Checkpoint, groups: tuple[Group, ...], images: Split, batch: int = 64
) -> dict[str, Tensor]:
    """The importance of every channel of every group (width,), comparable across groups.

    ``bn`` is the batch norms' squared weights (Liu et al. 2017). ``taylor`` is (weight * gradient + bias * gradient)^2
    over the batch norms, the squared change of the loss when a channel's output is zeroed, to first order (Molchanov et
    al. 2019), averaged over batches. Both are summed over the group's batch norms.
    """
    module = checkpoint.module()
    norms = {name: part for name, part in module.named_modules() if isinstance(part, nn.BatchNorm2d)}
    scores = {name: torch.zeros(part.num_features) for name, part in norms.items()}
    match kind:
        case "bn":
            for name, part in norms.items():
                scores[name] = part.weight.detach().square()
        case "taylor":
            (image,) = checkpoint.network.inputs
            normalize = Normalize(image)
            module.to(memory_format=torch.channels_last)
            for (pixels,), labels in images.batches(batch):
                module.zero_grad()
                torch.autograd.backward(F.cross_entropy(module(normalize(pixels)), labels))
                for name, part in norms.items():
                    scores[name] += _saliency(part).square() * len(labels) / len(images)
        case _:
            raise AssertionError(kind)
    return {group.name: torch.stack([scores[name] for name in group.norms]).sum(0) for group in groups}


def _saliency(norm: nn.BatchNorm2d) -> Tensor:
    """The first-order change of the loss when a channel is zeroed: weight * its gradient + bias * its gradient."""
    assert norm.weight.grad is not None and norm.bias.grad is not None
    return norm.weight.detach() * norm.weight.grad + norm.bias.detach() * norm.bias.grad
