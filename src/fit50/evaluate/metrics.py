"""What a model answers, image by image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fit50.data.dataset import Images


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
