"""The images that two models answer differently, written for a person to look at."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
from PIL import Image

from fit50.data.split import Split
from fit50.spec.errors import StorageError
from fit50.spec.evaluation import Flip
from fit50.spec.files import write_folder


def write_flips(folder: Path, flips: tuple[Flip, ...], split: Split) -> None:
    """Writes ``flips.csv`` and, in ``lost``, ``won`` and ``changed``, the images as the first model sees them.

    A file's name says what the image shows and what it is answered with, the old answer first. Two inputs lie side by
    side.

    Args:
        folder: a new one.
        flips: as ``compare`` found them.
        split: the images that were compared.

    Raises:
        StorageError: the folder exists, cannot be written, or the disk is full.
    """
    if folder.exists():
        raise StorageError(f"{folder}: expected a new folder, found one that exists; choose another or remove it")
    write_folder(folder, lambda target: _fill(target, flips, split))


def _fill(folder: Path, flips: tuple[Flip, ...], split: Split) -> None:
    places = {name: place for place, name in enumerate(split.names)}
    batches = split.read(np.array([places[flip.name]]) for flip in flips)
    with (folder / "flips.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["kind", "image", "label", "old", "new", "file"])
        for flip, (images, _) in zip(flips, batches, strict=True):
            words = (f"{places[flip.name]:06}", flip.label, "old", flip.old, "new", flip.new)
            picture = Path(flip.kind, "-".join(re.sub(r"\W+", "_", word)[:40] for word in words) + ".png")
            (folder / picture).parent.mkdir(exist_ok=True)
            _beside([image[0].numpy() for image in images]).save(folder / picture)
            table.writerow([flip.kind, flip.name, flip.label, flip.old, flip.new, picture.as_posix()])


def _beside(pictures: list[np.ndarray]) -> Image.Image:
    """Pictures (H, W, 1 or 3) of one height in a row."""
    coloured = [np.broadcast_to(picture, (*picture.shape[:2], 3)) for picture in pictures]
    return Image.fromarray(np.concatenate(coloured, 1))
