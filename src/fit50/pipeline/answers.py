"""What a module or a deployed file answers, and which images it answers correctly."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fit50.evaluate.metrics import Answer, correct
from fit50.evaluate.views import View
from fit50.nn.deployed import Deployed
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle
from fit50.weights.checkpoint import Checkpoint

Correct = NDArray[np.bool_]


def module_answer(checkpoint: Checkpoint) -> Answer:
    """The trained module: for each input uint8 images (N, H, W, C), to probabilities (N, classes)."""
    return Deployed(checkpoint.module()).eval()


def file_answer(bundle: Bundle, threads: int) -> Answer:
    """The deployed file: for each input uint8 images (N, H, W, C), to probabilities (N, classes)."""
    session = runtime(bundle.manifest.runtime).open(bundle, threads)
    return lambda *images: torch.from_numpy(session.run(*(each.numpy() for each in images)))


def module_answers(checkpoint: Checkpoint, images: View) -> Correct:
    """Which images of a split the trained module answers correctly (N,)."""
    return correct(module_answer(checkpoint), images)


def file_answers(bundle: Bundle, images: View, threads: int, batch: int = 50) -> Correct:
    """Which images of a split the deployed file answers correctly (N,)."""
    return correct(file_answer(bundle, threads), images, batch=batch)
