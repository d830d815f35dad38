"""Physical, structured pruning: a smaller network, not a masked one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from fit50.compress.depth import shallower
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
    """Removes the blocks that ``step.depths`` leaves no room for, then the least important channels.

    All groups are ranked together, until ``step.keep`` of the first network's multiply-accumulates are left; each width
    is a multiple of ``step.multiple`` (or the old width, where that is smaller) and at least ``step.floor`` of the old
    one. The batch statistics are estimated anew from training images.

    Raises SpecError for depths that the network does not have, and where the multiple and the floor leave more than was
    asked for; DataError for a single image.
    """
    images = dataset.split("train").take(step.samples, seed)
    if len(images) < 2:
        raise DataError(f"prune: expected at least 2 training images (batch statistics need them), found {len(images)}")
    pruned, before = checkpoint, cost(checkpoint.network)
    if step.depths is not None:
        pruned = recalibrated(shallower(pruned, step.depths, step.importance, images), images)
    if step.keep is not None:
        found = groups(pruned.network)
        scores = importance(step.importance, pruned, found, images)
        widths = widths_within(pruned.network, step, found, scores, whole=before.gmacs)
        pruned = recalibrated(cut(pruned, scores, widths), images)
    after = cost(pruned.network)
    report = {
        "gmacs": f"{before.gmacs:.4g} to {after.gmacs:.4g}",
        "parameters": f"{before.parameters} to {after.parameters}",
    }
    return replace(pruned, provenance={**(checkpoint.provenance or {}), **report})


def cut(checkpoint: Checkpoint, scores: Mapping[str, Tensor], widths: Mapping[str, int]) -> Checkpoint:
    """The checkpoint with these widths (of ``narrowed``), of every group the channels with the best scores."""
    network = narrowed(checkpoint.network, widths)
    following = {group.name: group.width for group in groups(network)}
    kept = {}
    found = groups(checkpoint.network)
    for group in found:
        width = following[group.name] if group.field is None else widths.get(group.field, group.width)
        kept[group.name] = scores[group.name].topk(width).indices.sort().values
    return checkpoint.with_(network=network, tensors=selected(checkpoint.tensors, found, kept))


def selected(tensors: Mapping[str, Tensor], found: tuple[Group, ...], kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with only the kept channels (indices by group) in every slot of every group.

    What left is to the rest as if it were there and zero. So it is to CBAM's spatial gate, whose mean over channels is
    scaled back, but not to its maximum, nor to ECA's convolution, which meets new neighbours.
    """
    places: dict[tuple[str, int], list[Tensor]] = {}
    for group in found:
        for slot in group.slots:
            places.setdefault((slot.key, slot.dim), []).append(slot.places(kept[group.name]))
    result = dict(tensors)
    for (key, dim), parts in places.items():
        result[key] = result[key].index_select(dim, torch.cat(parts).sort().values)
    for key, gate in result.items():
        if key.endswith(".se.conv.weight") and gate.ndim == 4:  # CBAM's (1, 2, K, K): of the maximum, of the mean
            seen = key.replace(".conv.", ".fc1.")  # (squeezed, C, 1, 1)
            left = result[seen].shape[1] / tensors[seen].shape[1]
            result[key] = gate * gate.new_tensor((1, left)).view(1, 2, 1, 1)
    return result


def widths_within(
    network: Network,
    step: Prune,
    found: tuple[Group, ...],
    scores: Mapping[str, Tensor],
    *,
    whole: float | None = None,
) -> dict[str, int]:
    """The widest widths whose network costs at most ``step.keep``, by bisection on one ranking.

    It is ``step.keep`` of ``whole`` GMACs, by default the network's. Groups that share a width rank as one: the mean of
    their best channels, of their second best, ...
    """
    assert step.keep is not None
    shared: dict[str, list[Group]] = {}
    for group in found:
        if group.field is not None:
            shared.setdefault(group.field, []).append(group)
    ranked = [torch.stack([scores[group.name].sort().values for group in same]).mean(0) for same in shared.values()]
    order = torch.cat(ranked).argsort(stable=True)
    ranks = torch.split(order.argsort(), [len(each) for each in ranked])  # ties fall in the groups' order
    whole = whole or cost(network).gmacs
    goal = step.keep * whole

    def at(removed: int) -> dict[str, int]:
        left = [int((rank >= removed).sum()) for rank in ranks]
        return {field: _rounded(count, same, step) for (field, same), count in zip(shared.items(), left, strict=True)}

    low, high = 0, len(order)
    if cost(narrowed(network, at(high))).gmacs > goal:
        least = cost(narrowed(network, at(high))).gmacs / whole
        raise SpecError(
            f"prune: keep={step.keep} cannot be reached: with widths in multiples of {step.multiple} and at least "
            f"{step.floor} of each group, {least:.3f} of the multiply-accumulates is the least; "
            "raise keep or lower floor"
        )
    if cost(network).gmacs <= goal:
        return {field: same[0].width for field, same in shared.items()}
    while high - low > 1:
        middle = (low + high) // 2
        if cost(narrowed(network, at(middle))).gmacs > goal:
            low = middle
        else:
            high = middle
    return at(high)


def _rounded(count: int, groups: list[Group], step: Prune) -> int:
    """The nearest allowed width to a count of channels, for groups of one width."""
    width, multiple = groups[0].width, math.lcm(*(group.step(step.multiple) for group in groups))
    least = max(1, math.ceil(round(width * step.floor / multiple, 6))) * multiple
    nearest = int(count / multiple + 0.5) * multiple
    return min(width, max(least, nearest))


def recalibrated(checkpoint: Checkpoint, images: Split, batch: int = 64) -> Checkpoint:
    """The checkpoint with batch statistics estimated anew, as the average over the images' batches."""
    module = checkpoint.module().to(memory_format=torch.channels_last)
    normalize = [Normalize(image) for image in checkpoint.network.inputs]
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None  # a plain average over all batches
            part.train()
    with torch.no_grad():
        for inputs, labels in images.batches(batch):
            if len(labels) > 1:
                module(*(f(pixels) for f, pixels in zip(normalize, inputs, strict=True)))
    return checkpoint.with_(tensors={key: tensor.contiguous() for key, tensor in module.state_dict().items()})
