"""How much each channel matters, by group."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fit50.compress.groups import Group
from fit50.data.split import Split
from fit50.nn.deployed import Normalize
from fit50.nn.resnet import PerInputNorm
from fit50.weights.checkpoint import Checkpoint

_Maker = nn.BatchNorm2d | nn.Conv2d


def importance(
    kind: str, checkpoint: Checkpoint, groups: tuple[Group, ...], images: Split, batch: int = 64
) -> dict[str, Tensor]:
    """The importance of every channel of every group (width,), comparable across groups.

    It is that of the group's makers (``saliency``), summed. A group of a grouped convolution counts as the mean of its
    channels, so that it ranks beside single ones, which cost as much less as they are fewer. ``l2`` is the sum of the
    squares of all weights that leave with a channel, relative to the group's mean (Fang et al. 2023).
    """
    if kind == "l2":
        return {group.name: _norms(group, checkpoint.tensors) for group in groups}
    makers = {maker for group in groups for maker in group.makers}
    scores = saliency(kind, checkpoint, makers, images, batch)
    return {
        group.name: torch.stack([scores[maker].view(group.width, -1).mean(1) for maker in group.makers]).sum(0)
        for group in groups
    }


def saliency(
    kind: str, checkpoint: Checkpoint, makers: Collection[str], images: Split, batch: int = 64
) -> dict[str, Tensor]:
    """The importance of every output (C,) of these batch norms, or convolutions with a bias.

    ``bn`` is the batch norms' squared weights (Liu et al. 2017), or a convolution's, summed over an output's weights;
    so is ``l2``. ``taylor`` is (weight * gradient + bias * gradient)^2, the squared change of the loss when the output
    is zeroed, to first order (Molchanov et al. 2019), averaged over batches. ``fisher`` is the mean of that square over
    single images, which is twice the second-order change where the first vanishes (Theis et al. 2018).
    """
    module = checkpoint.module()
    parts = {name: part for name, part in module.named_modules() if name in makers and isinstance(part, _Maker)}
    if kind in ("bn", "l2"):
        return {name: _rows(part.weight.detach().square()) for name, part in parts.items()}
    normalize = [Normalize(image) for image in checkpoint.network.inputs]
    module.to(memory_format=torch.channels_last)
    scores = {name: torch.zeros(len(part.weight)) for name, part in parts.items()}
    slopes: dict[str, Tensor] = {}
    if kind == "fisher":
        for name, part in parts.items():
            part.register_forward_hook(_watching(partial(_add_slopes, slopes, name)))
    for inputs, labels in images.batches(batch):
        module.zero_grad()
        slopes.clear()
        logits = module(*(f(pixels) for f, pixels in zip(normalize, inputs, strict=True)))
        torch.autograd.backward(F.cross_entropy(logits, labels, reduction="sum"))
        if kind == "taylor":
            for name, part in parts.items():
                scores[name] += _slope(part).div(len(labels)).square() * len(labels)
        for name, slope in slopes.items():
            scores[name] += slope.square().sum(0)
    return {name: score / len(images) for name, score in scores.items()}


def _norms(group: Group, tensors: Mapping[str, Tensor]) -> Tensor:
    """The squares of the weights in each of a group's slots, of convolutions and classifiers, by channel (width,)."""
    total = torch.zeros(group.width)
    for slot in group.slots:
        if tensors[slot.key].ndim > 1:
            rows = _rows(tensors[slot.key].transpose(0, slot.dim).square())
            total += rows[slot.places(torch.arange(group.width))].view(group.width, -1).mean(1)
    return total / total.mean()


def _watching(note: Callable[[Tensor, Tensor], None]) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    """A forward hook that has the output and its gradient (N, C, H, W) noted as soon as that is known.

    What a norm for each of two inputs makes of the second one's is noted by that one's own.
    """

    def hook(part: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        if isinstance(part, PerInputNorm) and part.current:
            return
        kept = made.detach().clone()  # ReLU may work in place
        made.register_hook(lambda gradient: note(kept, gradient))  # type: ignore[no-untyped-call]

    return hook


def _add_slopes(slopes: dict[str, Tensor], name: str, output: Tensor, gradient: Tensor) -> None:
    """Adds every image's slope of the loss along the output's channels (N, C) to those of earlier calls."""
    slopes[name] = slopes.get(name, 0) + (output * gradient).sum((2, 3))


def _slope(part: _Maker) -> Tensor:
    """The first-order change of the loss when an output is zeroed: weight * its gradient + bias * its gradient (C,)."""
    assert part.weight.grad is not None and part.bias is not None and part.bias.grad is not None
    return _rows(part.weight.detach() * part.weight.grad) + part.bias.detach() * part.bias.grad


def _rows(weights: Tensor) -> Tensor:
    """The sums over what belongs to an output: (C, ...) to (C,)."""
    return weights.reshape(len(weights), -1).sum(1)
