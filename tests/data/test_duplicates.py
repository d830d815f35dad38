"""Near-duplicates are found, and images that are merely alike are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

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


Picture = Callable[[np.random.Generator], Image.Image]
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


def test_pictures_of_two_sizes_are_judged_by_the_smaller() -> None:
    """A move by a fiftieth of the width is a pixel of a small one, and five of a large one."""

    def waves(side: int, moved: float) -> str:
        level = 128 + 100 * np.sin(4 * np.pi * (np.arange(side) / side + moved))
        return signature(level.astype(np.uint8)[None, :, None].repeat(side, 0).repeat(3, 2))

    large = waves(255, 0)
    assert len(set(clusters([large, waves(60, 0.022)]))) == 1
    assert len(set(clusters([large, waves(255, 0.022)]))) == 2


def clothes(tmp_path_factory: pytest.TempPathFactory, side: int) -> Iterator[Image.Image]:
    root = embedded_root(tmp_path_factory.mktemp("cache"))
    for path in sorted((root / "train").glob("*rouser*/*.png")):
        yield Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)


@pytest.mark.parametrize("side", [28, 224])
def test_clothes_of_a_kind_are_not_duplicates(tmp_path_factory: pytest.TempPathFactory, side: int) -> None:
    trousers = [signature(np.asarray(image)) for image in clothes(tmp_path_factory, side)]
    assert len(trousers) == 200
    assert len(set(clusters(trousers))) >= 198


@pytest.mark.parametrize("side", [8, 64])
def test_digits_are_not_duplicates(side: int) -> None:
    from sklearn.datasets import load_digits

    digits = [Image.fromarray((digit * 15.9).astype(np.uint8)) for digit in load_digits().images]
    numbers = clusters([signature(np.asarray(digit.resize((side, side)).convert("RGB"))) for digit in digits])
    assert len(set(numbers)) > 0.98 * len(digits)


def shapes(random: np.random.Generator) -> Image.Image:
    """A dark circle or square of 30 pixels, of any colour, about the middle of a white square."""
    image = Image.new("RGB", (224, 224), "white")
    x, y = 112 + random.integers(-10, 11, 2)
    draw = ImageDraw.Draw(image)
    shape = draw.ellipse if random.integers(2) else draw.rectangle
    shape((x - 15, y - 15, x + 15, y + 15), fill=tuple(random.integers(0, 100, 3).tolist()))
    return image


def spotted(random: np.random.Generator) -> Image.Image:
    """A bright body on black, with spots of its own."""
    image = Image.new("RGB", (224, 224))
    draw = ImageDraw.Draw(image)
    draw.ellipse((40, 40, 184, 184), fill=(200, 200, 200))
    for x, y in random.integers(70, 154, (12, 2)):
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=(120, 120, 120))
    return image


def plain(random: np.random.Generator) -> Image.Image:
    """A grey surface with grain."""
    grain = random.normal(128, random.integers(1, 40), (224, 224))
    return Image.fromarray(grain.clip(0, 255).astype(np.uint8)).convert("RGB")


@pytest.mark.parametrize(("picture", "largest", "share"), [(shapes, 5, 0.8), (spotted, 1, 1), (plain, 1, 1)])
def test_pictures_of_one_layout_are_not_duplicates(picture: Picture, largest: int, share: float) -> None:
    """But for shapes of about one colour in one place."""
    random = np.random.default_rng(0)
    sizes = Counter(clusters([signature(np.asarray(picture(random))) for _ in range(300)]).tolist())
    assert max(sizes.values()) <= largest
    assert len(sizes) >= 300 * share


def test_a_chain_of_likes_ends(photos: list[Pixels]) -> None:
    """Each is brighter than the one before by what a near-duplicate may be."""
    photo = photos[20].astype(int)
    links = [signature((photo + step).clip(0, 255).astype(np.uint8)) for step in range(0, 101, 10)]
    numbers = clusters(links).tolist()
    assert all(len(set(clusters(links[at : at + 2]))) == 1 for at in range(10))
    assert 3 <= len(set(numbers)) <= 8
    assert max(Counter(numbers).values()) <= 5


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


def test_blank_images_are_like_none() -> None:
    blank = [signature(np.full((9, 9, 3), level, np.uint8)) for level in (0, 0, 7, 255)]
    assert len(set(clusters(blank))) == 4


def test_many_copies_take_no_time() -> None:
    """A hundred thousand of one image; all pairs of them would take hours."""
    assert set(clusters([signature(np.eye(20, dtype=np.uint8)[..., None].repeat(3, 2) * 255)] * 100_000)) == {0}


def test_no_images_have_no_clusters() -> None:
    assert clusters([]).tolist() == []
