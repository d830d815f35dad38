"""From a dense 3x3 convolution to a grouped one: which channels belong together."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Energy = NDArray[np.float64]
Labels = NDArray[np.int64]


def clusters(energy: Energy, groups: int, *, restarts: int = 2, rounds: int = 8) -> tuple[Labels, Labels, float]:
    """Outputs and inputs in groups of equal size that keep as much energy as can be found within the groups.

    Starts from the order of the leading singular vectors, and from random ones; then assigns outputs to the groups of
    inputs and inputs to the groups of outputs, each optimally (Kuhn 1955), until less than a
    hundredth is gained.

    Args:
        energy: what each output (O, I) gets from each input.
        groups: how many; divides O and I.
        restarts: starts tried.
        rounds: the most assignments of each start.

    Returns:
        the group of each output (O,), the group of each input (I,), and the fraction of the energy that is kept.
    """
    random, best = np.random.default_rng(0), (np.empty(0, np.int64), np.empty(0, np.int64), -1.0)
    _, _, right = np.linalg.svd(energy / np.sqrt(np.outer(energy.sum(1), energy.sum(0)) + 1e-30))
    orders = [
        right[min(1, len(right) - 1)].argsort(),
        *(random.permutation(energy.shape[1]) for _ in range(restarts - 1)),
    ]
    for order in orders:
        inputs = np.empty(len(order), np.int64)
        inputs[order] = np.arange(len(order)) * groups // len(order)
        kept = -1.0
        for _ in range(rounds):
            outputs = _assigned(energy @ np.eye(groups)[inputs])
            inputs = _assigned(energy.T @ np.eye(groups)[outputs])
            before, kept = kept, float(energy[outputs[:, None] == inputs[None, :]].sum() / (energy.sum() + 1e-30))
            if kept < 1.01 * before:
                break
        if kept > best[2]:
            best = outputs, inputs, kept
    return best


def _assigned(scores: Energy) -> Labels:
    """Each row to a column of the scores (N, groups), equally many to each, for the largest sum."""
    each = len(scores) // scores.shape[1]
    _, chosen = linear_sum_assignment(np.repeat(scores, each, axis=1), maximize=True)
    return np.asarray(chosen // each, np.int64)


def grouped(tensors: dict[str, Tensor], block: str, groups: int) -> float:
    """Makes ``conv2`` of a dense bottleneck block grouped, in place, its channels reordered by ``clusters``.

    A weight's energy is its square, scaled by the batch norms before and after. Gives the fraction of it that is lost.
    """
    weight, norm1, norm2 = tensors[f"{block}.conv2.weight"], f"{block}.bn1", f"{block}.bn2"
    scale = tensors[f"{norm2}.weight"].square() / (tensors[f"{norm2}.running_var"] + 1e-5)  # (O,)
    energy = weight.square().sum((2, 3)) * tensors[f"{norm1}.weight"].square() * scale.unsqueeze(1)  # (O, I)
    outputs, inputs, kept = clusters(energy.double().numpy(), groups)
    rows, columns = (torch.from_numpy(labels.argsort(kind="stable")) for labels in (outputs, inputs))
    per_group = weight.shape[1] // groups
    blocks = [
        part[:, i * per_group : (i + 1) * per_group] for i, part in enumerate(weight[rows][:, columns].chunk(groups))
    ]
    tensors[f"{block}.conv2.weight"] = torch.cat(blocks)
    for maker, norm, order in (("conv1", norm1, columns), (None, norm2, rows)):
        keys = [f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        for key in (*keys, *([f"{block}.{maker}.weight"] if maker else [])):
            tensors[key] = tensors[key][order]
    tensors[f"{block}.conv3.weight"] = tensors[f"{block}.conv3.weight"][:, rows]
    return 1 - kept
