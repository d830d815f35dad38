"""Which images a module or a deployed file answers correctly."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fit50.data.dataset import Images
from fit50.evaluate.metrics import correct
from fit50.nn.deployed import Deployed
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle
from fit50.weights.checkpoint import Checkpoint

Correct = NDArray[np.bool_]


def module_answers(checkpoint: Checkpoint, images: Images) -> Correct:
    """Which images of a split the trained module answers correctly (N,)."""
    module = Deployed(checkpoint.module()).eval()
    return correct(module, images)


def file_answers(bundle: Bundle, images: Images, threads: int, batch: int = 50) -> Correct:
    """Which images of a split the deployed file answers correctly (N,)."""
    session = runtime(bundle.manifest.runtime).open(bundle, threads)
    return correct(lambda pixels: torch.from_numpy(session.run(pixels.numpy())), images, batch=batch)
