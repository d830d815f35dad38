"""Small folders of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

Folder = Callable[[Mapping[str, int]], Path]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Makes ``{folder: number of images}`` below a root; every image is a different one of 8 x 6 pixels."""
    random = np.random.default_rng(0)

    def make(counts: Mapping[str, int]) -> Path:
        root = tmp_path / "photos"
        for name, count in counts.items():
            (root / name).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                pixels = random.integers(0, 256, (8, 6, 3), np.uint8)
                Image.fromarray(pixels).save(root / name / f"{index:03}.png")
        return root

    return make
