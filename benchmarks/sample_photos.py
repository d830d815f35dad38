"""A folder of JPEG photographs to train on, made from scikit-learn's two: crops of them in other colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images

CLASSES = 10
QUALITY = 90


def write_photos(root: Path, shorter: tuple[int, int], counts: dict[str, int], seed: int = 0) -> Path:
    """Writes ``root/<split>/<class>/<number>.jpg``, as many files of each split as ``counts`` says.

    Labels mean nothing: this is for measuring how fast images are read, augmented and learned from.

    Args:
        root: an empty or new folder.
        shorter: the range of the shorter side in pixels; the sides' ratio is from 1 to 4/3.
        counts: files of each split, over ten classes in turn.
        seed: decides crops and colours.
    """
    random = np.random.default_rng(seed)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    for split, count in counts.items():
        for number in range(count):
            path = root / split / str(number % CLASSES) / f"{number:05}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            _photo(photos[random.integers(len(photos))], shorter, random).save(path, quality=QUALITY)
    return root


def _photo(photo: Image.Image, shorter: tuple[int, int], random: np.random.Generator) -> Image.Image:
    side = int(random.integers(shorter[0], shorter[1] + 1))
    size = (round(side * random.uniform(1, 4 / 3)), side)
    scale = random.uniform(0.6, 1) * min(photo.width / size[0], photo.height / size[1])
    width, height = size[0] * scale, size[1] * scale
    left, top = random.uniform(0, photo.width - width), random.uniform(0, photo.height - height)
    crop = photo.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        crop = change(crop).enhance(random.uniform(0.7, 1.3))
    return crop
