"""Physical, structured pruning: a smaller network, not a masked one."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from fit50.compress.cut import cut
from fit50.compress.depth import shallower
from fit50.compress.groups import groups
from fit50.compress.importance import importance
from fit50.compress.target import Target
from fit50.data.dataset import Dataset
from fit50.data.split import Split
from fit50.nn.cost import cost
from fit50.nn.deployed import Normalize
from fit50.spec.errors import DataError
from fit50.spec.monitor import Monitor
from fit50.spec.recipe import Prune
from fit50.weights.checkpoint import Checkpoint


def prune(
    checkpoint: Checkpoint,
    step: Prune,
    dataset: Dataset,
    *,
    seed: int,
    monitor: Monitor | None = None,
    whole: Checkpoint | None = None,
) -> Checkpoint:
    """Removes the blocks that ``step.depths`` leaves no room for, then the least important channels.

    Channels leave until the network, or its file, costs what ``step`` allows; each width is a multiple of
    ``step.multiple`` (or the old width, where that is smaller) and at least ``step.floor`` of the old one. The batch
    statistics are estimated anew from training images. ``step.keep`` is a fraction of ``whole``, by default of the
    checkpoint.

    Raises SpecError for depths that the network does not have, and where the multiple and the floor leave more than was
    asked for; DataError for a single image; RuntimeRefusal where the file that shall be measured cannot be made.
    """
    images = dataset.split("train").take(step.samples, seed)
    if len(images) < 2:
        raise DataError(f"prune: expected at least 2 training images (batch statistics need them), found {len(images)}")
    pruned, before = checkpoint, cost(checkpoint.network)
    if step.depths is not None:
        pruned = recalibrated(shallower(pruned, step.depths, step.importance, images), images)
    measured: dict[str, str] = {}
    if step.keep is not None or step.most is not None:
        found = groups(pruned.network)
        scores = importance(step.importance, pruned, found, images)
        target = Target(step, whole or checkpoint, pruned, found, scores, images, monitor or Monitor())
        widths, measured = target.widths()
        pruned = recalibrated(cut(pruned, scores, widths), images)
    after = cost(pruned.network)
    report = {
        "gmacs": f"{before.gmacs:.4g} to {after.gmacs:.4g}",
        "parameters": f"{before.parameters} to {after.parameters}",
        **measured,
    }
    return replace(pruned, provenance={**(checkpoint.provenance or {}), **report})


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
