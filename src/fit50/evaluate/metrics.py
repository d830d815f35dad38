"""What a model answers, image by image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fit50.evaluate.views import View
from fit50.nn.deployed import Normalize
from fit50.weights.checkpoint import Checkpoint

Answer = Callable[..., Tensor]


def largest_difference(before: Checkpoint, after: Checkpoint, images: View, batch: int = 64) -> float:
    """How far a logit of ``after`` lies from that of ``before`` at most, in evaluation mode, on these images.

    Where ``after`` has one more input, it sees zeros there.
    """
    old, new = before.module(), after.module()
    known = before.network.inputs
    normalize = [Normalize(image) for image in known]
    added = after.network.inputs[len(known) :]
    largest = 0.0
    with torch.inference_mode():
        for pixels, labels in images.batches(batch):
            x = [each(image) for each, image in zip(normalize, pixels, strict=True)]
            others = [x[0].new_zeros(len(labels), image.channels, image.height, image.width) for image in added]
            largest = max(largest, float((new(*x, *others) - old(*x)).abs().max()))
    return largest


def probabilities(
    answer: Answer, images: View, device: torch.device | None = None, batch: int = 128
) -> NDArray[np.float32]:
    """What a model answers on each image of a split, in the split's order (N, classes).

    Args:
        answer: for each input uint8 images (N, H, W, C), to probabilities (N, classes).
        images: the split.
        device: where ``answer`` wants its images.
        batch: images at once.
    """
    found = []
    with torch.inference_mode():
        for pixels, _ in images.batches(batch):
            found.append(answer(*(image.to(device) for image in pixels)).float().cpu().numpy())
    return np.concatenate(found)


def correct(answer: Answer, images: View, device: torch.device | None = None, batch: int = 128) -> NDArray[np.bool_]:
    """Whether each image of a split is answered correctly, in the split's order (N,).

    As ``probabilities``, but ``answer`` may give scores of any kind, of which the largest is the answer.
    """
    right: NDArray[np.bool_] = probabilities(answer, images, device, batch).argmax(1) == images.labels
    return right
