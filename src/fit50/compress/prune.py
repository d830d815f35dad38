"""Physical, structured pruning: a smaller network, not a masked one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from fit50.compress.groups import Group, groups, narrowed
from fit50.compress.importance import importance
from fit50.data.dataset import Dataset
from fit50.data.split import Split
from fit50.nn.cost import cost
from fit50.nn.deployed import Normalize
from fit50.spec.errors import DataError, SpecError
from fit50.spec.network import Network
from fit50.spec.recipe import Prune
from fit50.weights.checkpoint import Checkpoint


def prune(checkpoint: Checkpoint, step: Prune, dataset: Dataset, *, seed: int) -> Checkpoint:
    """Removes the least important channels until ``step.keep`` of the multiply-accumulates are left.

    All groups are ranked together; each width is a multiple of ``step.multiple`` (or the old width, where that is
    smaller) and at least ``step.floor`` of the old one. The batch statistics are estimated anew from training images.

    Raises SpecError where the multiple and the floor leave more than was asked for, DataError for a single image.
    """
    images = dataset.split("train").take(step.samples, seed)
    if len(images) < 2:
        raise DataError(f"prune: expected at least 2 training images (batch statistics need them), found {len(images)}")
    found = groups(checkpoint.network)
    scores = importance(step.importance, checkpoint, found, images)
    widths = widths_within(checkpoint.network, step, found, scores)
    network = narrowed(checkpoint.network, widths)
    kept = {group.name: scores[group.name].topk(widths[group.name]).indices.sort().values for group in found}
    pruned = checkpoint.with_(network=network, tensors=selected(checkpoint.tensors, found, kept))
    before, after = cost(checkpoint.network), cost(network)
    report = {
        "gmacs": f"{before.gmacs:.4g} to {after.gmacs:.4g}",
        "parameters": f"{before.parameters} to {after.parameters}",
    }
    pruned = replace(pruned, provenance={**(checkpoint.provenance or {}), **report})
    return recalibrated(pruned, images)


def selected(tensors: Mapping[str, Tensor], found: tuple[Group, ...], kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with only the kept channels (indices by group) in every slot of every group."""
    result = dict(tensors)
    for group in found:
        for slot in group.slots:
            result[slot.key] = result[slot.key].index_select(slot.dim, kept[group.name])
    return result


def widths_within(network: Network, step: Prune, found: tuple[Group, ...], scores: dict[str, Tensor]) -> dict[str, int]:
    """The widest widths whose network costs at most ``step.keep`` of the old one, by bisection on one ranking."""
    order = torch.cat([scores[group.name] for group in found]).argsort(stable=True)
    ranks = torch.split(order.argsort(), [group.width for group in found])  # ties fall in the groups' order
    goal = step.keep * cost(network).gmacs

    def at(removed: int) -> dict[str, int]:
        left = [int((rank >= removed).sum()) for rank in ranks]
        return {g.name: _rounded(count, g.width, step) for g, count in zip(found, left, strict=True)}

    low, high = 0, len(order)
    if cost(narrowed(network, at(high))).gmacs > goal:
        least = cost(narrowed(network, at(high))).gmacs / cost(network).gmacs
        raise SpecError(
            f"prune: keep={step.keep} cannot be reached: with widths in multiples of {step.multiple} and at least "
            f"{step.floor} of each group, {least:.3f} of the multiply-accumulates is the least; "
            "raise keep or lower floor"
        )
    while high - low > 1:
        middle = (low + high) // 2
        if cost(narrowed(network, at(middle))).gmacs > goal:
            low = middle
        else:
            high = middle
    return at(high)


def _rounded(count: int, width: int, step: Prune) -> int:
    """The nearest allowed width to a count of channels."""
    least = max(1, math.ceil(round(width * step.floor / step.multiple, 6))) * step.multiple
    nearest = int(count / step.multiple + 0.5) * step.multiple
    return min(width, max(least, nearest))


def recalibrated(checkpoint: Checkpoint, images: Split, batch: int = 64) -> Checkpoint:
    """The checkpoint with batch statistics estimated anew, as the average over the images' batches."""
    module = checkpoint.module().to(memory_format=torch.channels_last)
    (image,) = checkpoint.network.inputs
    normalize = Normalize(image)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None  # a plain average over all batches
            part.train()
    with torch.no_grad():
        for (pixels,), _ in images.batches(batch):
            if len(pixels) > 1:
                module(normalize(pixels))
    return checkpoint.with_(tensors={key: tensor.contiguous() for key, tensor in module.state_dict().items()})
