from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from fit50.data.dataset import open_dataset
from fit50.data.images import Images
from fit50.data.resident import Near, nearest
from fit50.spec.network import Input

Folder = Callable[[Mapping[str, int]], Path]


def test_mapped_images_are_read_without_a_warning(folder: Folder, tmp_path: Path) -> None:
    image = Input(height=8, width=6, resize="stretch")
    dataset = open_dataset(folder({"cat": 5, "dog": 5}), (image,), cache=tmp_path / "cache", memory_budget=0)
    split = dataset.split("train")
    assert isinstance(split, Images)
    assert isinstance(split.pixels[0], np.memmap)
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            near = nearest(split, torch.device("cpu"), free=10**12)
    finally:
        torch.set_warn_always(always)
    assert isinstance(near, Near)
    (one,), (other,) = near.batches(10), split.batches(10)
    assert torch.equal(one.images[0], other.images[0])
