"""What a model answers, image by image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fit50.data.dataset import Images
from fit50.nn.deployed import Normalize
from fit50.weights.checkpoint import Checkpoint


def largest_difference(before: Checkpoint, after: Checkpoint, images: Images, batch: int = 64) -> float:
    """How far a logit of ``after`` lies from that of ``before`` at most, in evaluation mode, on these images.

    Where ``after`` has one more input, it sees zeros there.
    """
    old, new, normalize = before.module(), after.module(), Normalize(before.network.image)
    added = after.network.inputs[len(before.network.inputs) :]
    largest = 0.0
    with torch.inference_mode():
        for pixels, _ in images.batches(batch):
            x = normalize(pixels)
            others = [x.new_zeros(len(x), image.channels, image.height, image.width) for image in added]
            largest = max(largest, float((new(x, *others) - old(x)).abs().max()))
    return largest


def correct(
    answer: Callable[[Tensor], Tensor], images: Images, device: torch.device | None = None, batch: int = 128
) -> NDArray[np.bool_]:
    """Whether each image of a split is answered correctly, in the split's order (N,).

    Args:
        answer: uint8 images (N, H, W, C) to scores (N, classes), of which the largest is the answer.
        images: the split.
        device: where ``answer`` wants its images.
        batch: images at once.
    """
    found = []
    with torch.inference_mode():
        for pixels, labels in images.batches(batch):
            found.append((answer(pixels.to(device)).argmax(1).cpu() == labels).numpy())
    return np.concatenate(found)
