"""Near-duplicates are found, and images that are merely alike are not."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from fit50.data.decode import Pixels
from fit50.data.duplicates import clusters, signature
from fit50.data.embedded import embedded_root


@pytest.fixture(scope="module")
def photos() -> list[Pixels]:
    """48 pieces of two photographs, none of which overlaps another."""
    from sklearn.datasets import load_sample_images

    return [
        np.ascontiguousarray(photo[top : top + 100, left : left + 100])
        for photo in load_sample_images().images
        for top in range(0, 400, 100)
        for left in range(0, 600, 100)
    ]


def encoded(image: Image.Image, quality: int) -> Image.Image:
    data = BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(data)


CHANGES = {
    "encoded anew": lambda image: encoded(image, 60),
    "enlarged": lambda image: image.resize((150, 150)),
    "reduced": lambda image: image.resize((70, 70)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.05),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.95),
    "cropped": lambda image: image.crop((1, 1, 99, 99)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_photos_are_found(photos: list[Pixels], change: str) -> None:
    changed = [np.asarray(CHANGES[change](Image.fromarray(photo)).convert("RGB")) for photo in photos]
    numbers = clusters([signature(photo) for photo in [*photos, *changed]])
    ours, theirs = numbers[: len(photos)], numbers[len(photos) :]
    shown = [photo.std() > 20 for photo in photos]  # pieces of sky show nothing by which to know them
    assert sum(shown) > 30
    assert np.mean((ours == theirs)[shown]) >= 0.9
    assert len(set(ours[shown])) == sum(shown)


def test_clothes_of_a_kind_are_not_duplicates(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = embedded_root(tmp_path_factory.mktemp("cache"))
    trousers = sorted((root / "train").glob("*rouser*/*.png"))
    assert len(trousers) == 200
    numbers = clusters([signature(np.asarray(Image.open(path).convert("RGB"))) for path in trousers])
    assert len(set(numbers)) >= 199


def test_digits_are_not_duplicates() -> None:
    from sklearn.datasets import load_digits

    digits = (load_digits().images * 15.9).astype(np.uint8)[..., None].repeat(3, 3)
    numbers = clusters([signature(digit) for digit in digits])
    assert len(set(numbers)) > 0.98 * len(digits)


def test_a_chain_of_likes_is_one_cluster(photos: list[Pixels]) -> None:
    known = bytes.fromhex(signature(photos[0]))
    links = [bytes([known[0] ^ ((1 << step) - 1)]) + known[1:] for step in range(9)]
    ends = [links[0], links[8]]
    assert len(set(clusters([link.hex() for link in links]))) == 1
    assert len(set(clusters([end.hex() for end in ends]))) == 2


@pytest.mark.parametrize("differing", [6, 7])
def test_six_bits_anywhere_may_differ(photos: list[Pixels], differing: int) -> None:
    random = np.random.default_rng(0)
    known = np.frombuffer(bytes.fromhex(signature(photos[0])), np.uint8)
    for _ in range(30):
        bits = np.unpackbits(known[:8])
        bits[random.permutation(64)[:differing]] ^= 1
        other = np.concatenate([np.packbits(bits), known[8:]])
        found = clusters([known.tobytes().hex(), other.tobytes().hex()])
        assert (found[0] == found[1]) == (differing <= 6)


def test_thumbnails_must_agree(photos: list[Pixels]) -> None:
    known = np.frombuffer(bytes.fromhex(signature(photos[0])), np.uint8)
    other = known.copy()
    other[8:40] ^= 16
    first, second = clusters([known.tobytes().hex(), other.tobytes().hex()])
    assert first != second


def test_images_of_one_colour_are_never_duplicates() -> None:
    grey = [signature(np.full((9, 9, 3), level, np.uint8)) for level in (0, 7, 7, 255)]
    assert len(set(clusters(grey))) == 4


def test_no_images_have_no_clusters() -> None:
    assert clusters([]).tolist() == []
