"""The statistics that batch norms compute with once the training is over."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from fit50.data.split import Split
from fit50.nn.deployed import Normalize
from fit50.weights.checkpoint import Checkpoint

SAMPLES = 1024
"""Training images that they are estimated from where nothing else is said."""
SETTLED = 200
"""Steps after which running averages are believed: half of them, usually, follow the end of an annealed activation, and
with momentum 0.1 these leave 0.003 % of what was before."""


def recalibrated(checkpoint: Checkpoint, images: Split, batch: int = 64) -> Checkpoint:
    """The checkpoint with batch statistics estimated anew, as the average over batches of the images.

    Each batch counts alike, so they are equally large (but for one image), and their images drawn, not sorted by class.

    Args:
        checkpoint: in float.
        images: at least two.
        batch: the most images in a batch.
    """
    module = checkpoint.module().to(memory_format=torch.channels_last)
    order = np.random.default_rng(0).permutation(len(images))
    normalize = [Normalize(image) for image in checkpoint.network.inputs]
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None  # a plain average over all batches
            part.train()
    with torch.no_grad():
        for inputs, _ in images.read(np.array_split(order, math.ceil(len(images) / batch))):
            module(*(f(pixels) for f, pixels in zip(normalize, inputs, strict=True)))
    return checkpoint.with_(tensors={key: tensor.contiguous() for key, tensor in module.state_dict().items()})
