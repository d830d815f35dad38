"""Small folders of photographs, and requests that are done with them in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fit50.spec.network import Stem
from fit50.spec.presets import EFFORTS, resnet
from fit50.spec.recipe import Edit
from fit50.spec.request import Effort, Request

COLOURS = {"blue": (60, 60, 200), "green": (60, 200, 60), "red": (200, 60, 60)}


def write_photos(root: Path, count: int = 20, classes: tuple[str, ...] = tuple(COLOURS)) -> Path:
    """``count`` noisy images of 20 x 20 pixels for each class, which is a colour."""
    random = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for index in range(count):
            pixels = random.normal(COLOURS[name], 50, (20, 20, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index:03}.png")
    return root


def tiny_effort(epochs: int = 1) -> Effort:
    """One technique, one pruning, few epochs."""
    effort = EFFORTS["demo"]
    update = {"epochs": epochs, "batch": 8, "precision": "float32"}
    return Effort(
        train=effort.train.model_copy(update=update),
        grow=effort.grow.model_copy(update=update),
        recover=effort.recover.model_copy(update=update),
        techniques=("se",),
        keeps=(0.5,),
    )


def tiny_request(data: Path, epochs: int = 1) -> Request:
    """A narrow network at 16 x 16 pixels; accuracy is not bounded, since nothing is learned."""
    narrow = resnet((1, 1), widths=(32, 32), stem=Stem(kind="low-resolution", out=32))
    edits = (
        Edit(path="network.stem", value=narrow.stem.model_dump(mode="json")),
        Edit(path="network.stages", value=[stage.model_dump(mode="json") for stage in narrow.stages]),
    )
    return Request.parse(
        {
            "data": str(data),
            "edits": [edit.model_dump() for edit in edits],
            "image_size": 16,
            "effort": tiny_effort(epochs).model_dump(),
            "budget": {"max_drop": None},
            "device": {"threads": 1},
        }
    )
