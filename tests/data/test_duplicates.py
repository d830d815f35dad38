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
    "cropped": lambda image: image.crop((1, 1, 100, 100)),
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
    """Each is brighter than the one before by what a near-duplicate may be; the ends are too far apart."""
    photo = photos[20].astype(int)
    links = [signature((photo + step).clip(0, 255).astype(np.uint8)) for step in range(0, 101, 20)]
    assert len(set(clusters(links))) == 1
    assert len(set(clusters([links[0], links[-1]]))) == 2


def test_grain_does_not_hide_a_picture() -> None:
    """Noisy copies of one smooth picture are one, and of another picture another."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:28, :28]
    pictures = [128 + 80 * np.sin(columns / 4) + 30 * np.cos(rows / 5), 128 + 80 * np.sin(columns / 3)]
    copies = [
        signature((picture + random.normal(0, 3, picture.shape)).clip(0, 255).astype(np.uint8)[..., None].repeat(3, 2))
        for picture in pictures
        for _ in range(50)
    ]
    numbers = clusters(copies)
    assert len(set(numbers[:50])) == len(set(numbers[50:])) == 1
    assert numbers[0] != numbers[50]


def test_the_same_picture_in_another_colour_is_another(photos: list[Pixels]) -> None:
    photo = photos[20]
    first, second = clusters([signature(photo), signature(photo[..., ::-1])])
    assert first != second


def test_blank_images_are_alike_where_they_are_about_as_bright() -> None:
    blank = [signature(np.full((9, 9, 3), level, np.uint8)) for level in (0, 7, 255)]
    assert clusters(blank).tolist() == [0, 0, 1]


def test_many_copies_take_no_time() -> None:
    """A hundred thousand of one image; all pairs of them would take hours."""
    assert set(clusters([signature(np.eye(20, dtype=np.uint8)[..., None].repeat(3, 2) * 255)] * 100_000)) == {0}


def test_no_images_have_no_clusters() -> None:
    assert clusters([]).tolist() == []
