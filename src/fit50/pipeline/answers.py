"""What a module or a deployed file answers, and which images it answers correctly."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from fit50.data.dataset import Dataset
from fit50.evaluate.metrics import Answer, correct
from fit50.evaluate.views import View
from fit50.nn.deployed import Deployed
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle
from fit50.runtimes.place import BATCH, Place
from fit50.spec.network import Input
from fit50.weights.checkpoint import Checkpoint

Correct = NDArray[np.bool_]
_CHUNK = 1 << 27  # bytes of one input's images that a device gets at once


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


def split_answers(
    place: Place, bundles: Mapping[str, Bundle], dataset: Dataset, split: str, threads: int
) -> dict[str, Correct]:
    """``files_answers`` on a split, where each file gets the images fitted to its own inputs."""
    alike: dict[tuple[Input, ...], dict[str, Bundle]] = {}
    for name, bundle in bundles.items():
        alike.setdefault(bundle.manifest.network.inputs, {})[name] = bundle
    found: dict[str, Correct] = {}
    for inputs, some in alike.items():
        found |= files_answers(place, some, dataset.fitted(inputs).split(split), threads)
    return found


def files_answers(place: Place, bundles: Mapping[str, Bundle], images: View, threads: int) -> dict[str, Correct]:
    """Which images of a split each deployed file answers correctly on its device (N,), by the files' names.

    All files take images of one size.
    """
    inputs = [image for bundle in bundles.values() for image in bundle.manifest.network.inputs]
    largest = max(image.height * image.width * image.channels for image in inputs)
    size = BATCH * max(1, _CHUNK // (BATCH * largest))
    chunks = (tuple(each.numpy() for each in batch.images) for batch in images.batches(size))
    found = [{name: each.argmax(1) for name, each in part.items()} for part in place.answers(bundles, chunks, threads)]
    return {name: np.concatenate([part[name] for part in found]) == images.labels for name in bundles}
