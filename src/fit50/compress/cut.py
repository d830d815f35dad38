"""Channels out of a network and out of its tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fit50.compress.groups import Group, groups, narrowed
from fit50.weights.checkpoint import Checkpoint


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
