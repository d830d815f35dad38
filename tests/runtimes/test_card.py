"""The card's code reads photographs as fit50 does."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image, ImageOps

from fit50.data.decode import fit_image, read_image
from fit50.runtimes import card
from fit50.spec.network import Input


@pytest.mark.parametrize("resize", ["stretch", "crop"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sides", [(24, 32), (53, 37), (37, 53), (24, 300), (301, 25), (7, 5)])
def test_pixels_are_those_of_fit50(
    resize: Literal["stretch", "crop"], channels: int, sides: tuple[int, int], tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*sides, 3), np.uint8)).save(photo)
    image = Input(height=24, width=32, channels=channels, resize=resize, mean=(0.5,) * channels, std=(0.5,) * channels)
    known = {"np": np, "Image": Image, "ImageOps": ImageOps}
    exec(card._READ[resize], known)
    found = eval(card._read(image, str(photo)), known)
    np.testing.assert_array_equal(found, fit_image(read_image(photo), image)[None])
