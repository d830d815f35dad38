from __future__ import annotations

import pytest
import torch

from fit50.data.augment import augment
from fit50.spec.training import Augment


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (64, 9, 7, 3), dtype=torch.uint8, generator=generator(1))


def test_nothing_asked_is_nothing_done(images: torch.Tensor) -> None:
    assert augment(images, Augment(flip=0), generator()) is images


@pytest.mark.parametrize(
    "how", [Augment(), Augment(flip=0, shift=2), Augment(flip=0, erase=3), Augment(shift=1, erase=2)]
)
def test_the_generator_decides(images: torch.Tensor, how: Augment) -> None:
    before = images.clone()
    first = augment(images, how, generator())
    assert first.shape == images.shape
    assert first.dtype == torch.uint8
    assert torch.equal(first, augment(images, how, generator()))
    assert not torch.equal(first, augment(images, how, generator(1)))
    assert torch.equal(images, before)


def test_flip_mirrors_about_so_many(images: torch.Tensor) -> None:
    flipped = augment(images, Augment(flip=0.25), generator())
    mirrored = (flipped == images.flip(2)).all(3).all(2).all(1)
    kept = (flipped == images).all(3).all(2).all(1)
    assert (mirrored ^ kept).all()
    assert 5 < mirrored.sum() < 30
    assert torch.equal(augment(images, Augment(flip=1), generator()), images.flip(2))


def test_shift_moves_up_to_so_many_pixels_and_repeats_the_border(images: torch.Tensor) -> None:
    moved = augment(images, Augment(flip=0, shift=2), generator())
    padded = torch.nn.functional.pad(images.permute(0, 3, 1, 2).float(), (2, 2, 2, 2), mode="replicate")
    padded = padded.permute(0, 2, 3, 1).to(torch.uint8)
    found = set()
    for before, after in zip(padded, moved, strict=True):
        places = [(y, x) for y in range(5) for x in range(5) if torch.equal(before[y : y + 9, x : x + 7], after)]
        assert places
        found.add(places[0])
    assert len(found) > 15


def test_erase_fills_one_square_with_the_mean_colour() -> None:
    images = torch.full((200, 8, 8, 3), 100, dtype=torch.uint8)
    images[:, 0, 0] = torch.tensor([255, 0, 100], dtype=torch.uint8)
    erased = augment(images, Augment(flip=0, erase=3), generator())
    mean = torch.tensor([102, 98, 100], dtype=torch.uint8)
    filled = (erased == mean).all(3)
    area = filled.sum((1, 2))
    assert area.max() == 9
    assert area.min() >= 4
    assert torch.equal(erased[~filled], images[~filled])
    assert filled.any(0).all()


def test_erase_takes_a_given_colour(images: torch.Tensor) -> None:
    colour = torch.tensor([1, 2, 3], dtype=torch.uint8)
    erased = augment(images, Augment(flip=0, erase=100), generator(), fill=colour)
    assert (erased == colour).all()


def test_one_grey_image() -> None:
    image = torch.arange(12, dtype=torch.uint8).reshape(1, 3, 4, 1)
    assert augment(image, Augment(flip=1, shift=1, erase=1), generator()).shape == (1, 3, 4, 1)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_bits(images: torch.Tensor) -> None:
    how = Augment(shift=2, erase=3)
    assert torch.equal(augment(images.cuda(), how, generator()).cpu(), augment(images, how, generator()))
