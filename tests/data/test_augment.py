from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from fit50.data.augment import augment, draw, mix
from fit50.spec.training import Augment, RandAugment, TrivialAugment

EVERYTHING = Augment(shift=1, crop=(0.1, 1), policy=RandAugment(), erase=3, erasing=0.5, mixup=0.4, cutmix=1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def augmented(images: Tensor, how: Augment, seed: int = 0, size: tuple[int, int] | None = None) -> Tensor:
    source = (images.shape[1], images.shape[2])
    (changed,) = augment((images,), how, draw(len(images), how, source, size or source, generator(seed)))
    return changed


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (64, 9, 7, 3), dtype=torch.uint8, generator=generator(1))


@pytest.fixture(scope="module")
def photos() -> Tensor:
    return torch.from_numpy(np.stack(load_sample_images().images)).repeat(4, 1, 1, 1)  # (8, 427, 640, 3)


def test_nothing_asked_is_nothing_done(images: Tensor) -> None:
    assert augmented(images, Augment(flip=0)) is images


@pytest.mark.parametrize(
    "how",
    [
        Augment(),
        Augment(flip=0, shift=2),
        Augment(flip=0, erase=3),
        Augment(shift=1, erase=2),
        Augment(flip=0, crop=(0.2, 0.9)),
        Augment(flip=0, policy=TrivialAugment()),
        EVERYTHING,
    ],
)
def test_the_generator_decides(images: Tensor, how: Augment) -> None:
    before = images.clone()
    first = augmented(images, how)
    assert first.shape == images.shape
    assert first.dtype == torch.uint8
    assert torch.equal(first, augmented(images, how))
    assert not torch.equal(first, augmented(images, how, seed=1))
    assert torch.equal(images, before)


def test_flip_mirrors_about_so_many(images: Tensor) -> None:
    flipped = augmented(images, Augment(flip=0.25))
    mirrored = (flipped == images.flip(2)).all(3).all(2).all(1)
    kept = (flipped == images).all(3).all(2).all(1)
    assert (mirrored | kept).all()
    assert 8 <= mirrored.sum() <= 24


def test_shift_moves_whole_pixels_and_repeats_the_border(images: Tensor) -> None:
    moved = augmented(images, Augment(flip=0, shift=2))
    padded = torch.nn.functional.pad(images.permute(0, 3, 1, 2).float(), (2, 2, 2, 2), mode="replicate")
    padded = padded.permute(0, 2, 3, 1).to(torch.uint8)
    found = set()
    for image, wide in zip(moved, padded, strict=True):
        places = [(y, x) for y in range(5) for x in range(5) if torch.equal(wide[y : y + 9, x : x + 7], image)]
        assert len(places) == 1
        found.update(places)
    assert len(found) > 15


@pytest.mark.parametrize("size", [(224, 224), (50, 30), (427, 640)])
def test_a_crop_is_torchvisions_within_a_level(photos: Tensor, size: tuple[int, int]) -> None:
    how = Augment(flip=0, crop=(0.08, 1))
    draws = draw(len(photos), how, (427, 640), size, generator())
    (cropped,) = augment((photos,), how, draws)
    assert cropped.shape == (len(photos), *size, 3)
    for photo, box, image in zip(photos, draws.box.tolist(), cropped, strict=True):
        expected = tv.resized_crop(photo.permute(2, 0, 1), *box, list(size), antialias=True).permute(1, 2, 0)
        assert (image.int() - expected.int()).abs().max() <= 1


def test_another_size_is_resized_even_where_nothing_is_drawn(photos: Tensor) -> None:
    small = augmented(photos, Augment(flip=0), size=(32, 48))
    expected = tv.resize(photos.permute(0, 3, 1, 2), [32, 48], antialias=True).permute(0, 2, 3, 1)
    assert (small.int() - expected.int()).abs().max() <= 1


def test_the_whole_image_at_its_size_stays(images: Tensor) -> None:
    square = images[:, :7]
    assert torch.equal(augmented(square, Augment(flip=0, crop=(1, 1))), square)


def test_erase_fills_one_square_with_the_mean_colour() -> None:
    images = torch.full((200, 8, 8, 3), 100, dtype=torch.uint8)
    images[:, 0, 0] = torch.tensor([255, 0, 100], dtype=torch.uint8)
    erased = augmented(images, Augment(flip=0, erase=3))
    mean = torch.tensor([102, 98, 100], dtype=torch.uint8)
    filled = (erased == mean).all(3)
    area = filled.sum((1, 2))
    assert area.max() == 9
    assert area.min() >= 4
    assert torch.equal(erased[~filled], images[~filled])
    assert filled.any(0).all()


def test_erasing_fills_the_rectangle_that_was_drawn(images: Tensor) -> None:
    how = Augment(flip=0, erasing=0.5)
    draws = draw(len(images), how, (9, 7), (9, 7), generator())
    expected = images.clone()
    for image, ((top, left, height, width),) in zip(expected, draws.holes.tolist(), strict=True):
        mean = image.double().mean((0, 1)).add(0.5).floor().to(torch.uint8)
        image[top : top + height, left : left + width] = mean
    assert torch.equal(augment((images,), how, draws)[0], expected)
    assert 16 < (draws.holes[:, 0, 2] > 0).sum() < 48


def test_one_grey_image() -> None:
    image = torch.arange(12, dtype=torch.uint8).reshape(1, 3, 4, 1)
    assert augmented(image, EVERYTHING.model_copy(update={"flip": 1.0})).shape == (1, 3, 4, 1)


def test_inputs_of_a_sample_are_treated_alike(images: Tensor) -> None:
    draws = draw(len(images), EVERYTHING, (9, 7), (6, 8), generator())
    one, other = augment((images, images.clone()), EVERYTHING, draws)
    assert torch.equal(one, other)
    where = torch.arange(63, dtype=torch.uint8).view(1, 9, 7, 1).expand(64, -1, -1, -1)
    how = Augment(shift=2)
    draws = draw(len(images), how, (9, 7), (9, 7), generator())
    moved, places = augment((images, where), how, draws)
    assert torch.equal(moved, images.flatten(1, 2)[torch.arange(64).view(-1, 1, 1), places[..., 0].long()])


def test_a_surrounding_autocast_changes_nothing(images: Tensor) -> None:
    how = Augment(crop=(0.1, 1), policy=RandAugment())
    expected = augmented(images, how)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(augmented(images, how), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("how", [EVERYTHING, Augment(crop=(0.1, 1)), Augment(policy=TrivialAugment(), cutmix=1)])
def test_a_process_gets_the_rows_of_the_whole_batch(how: Augment, channels: int) -> None:
    images = torch.randint(0, 256, (24, 20, 17, channels), dtype=torch.uint8, generator=generator(1))
    targets, draws = torch.eye(24), draw(24, how, (20, 17), (16, 16), generator())
    whole = mix(augment((images,), how, draws), targets, how, draws)
    for own in (slice(0, 8), slice(8, 10), slice(10, 24)):
        (part,), labels = mix(augment((images[own],), how, draws[own]), targets[own], how, draws[own])
        assert torch.equal(part, whole[0][0][own])
        assert torch.equal(labels, whole[1][own])


@pytest.mark.gpu
def test_a_gpu_gives_the_same_bits_where_nothing_is_interpolated(images: Tensor) -> None:
    how = Augment(shift=2, erase=3, erasing=0.5)
    assert torch.equal(augmented(images.cuda(), how).cpu(), augmented(images, how))


@pytest.mark.gpu
def test_a_gpu_crops_alike_within_a_level(images: Tensor) -> None:
    how = Augment(crop=(0.1, 1))
    difference = augmented(images.cuda(), how).cpu().int() - augmented(images, how).int()
    assert difference.abs().max() <= 1
