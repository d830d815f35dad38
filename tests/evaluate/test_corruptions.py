"""Corruptions: each by what it must do to an image."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from fit50.evaluate.corruptions import SEVERITIES, corrupt
from fit50.spec.evaluation import Corruption

CORRUPTIONS: tuple[Corruption, ...] = get_args(Corruption)


def photos(n: int, height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    """Smooth images of all brightnesses, uint8 (n, height, width, channels)."""
    noise = np.random.default_rng(seed).random((n, height, width, channels))
    smooth = gaussian_filter(noise, (0, 2, 2, 0), mode="nearest")
    low, high = smooth.min((1, 2, 3), keepdims=True), smooth.max((1, 2, 3), keepdims=True)
    return (255 * (smooth - low) / (high - low)).astype(np.uint8)


def change(images: np.ndarray, corruption: Corruption, severity: int) -> float:
    """The mean distance of a pixel from what it was."""
    found = corrupt(images, corruption, severity, np.random.default_rng(0))
    return float(np.abs(found.astype(float) - images).mean())


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(2, 20, 28, 3), (2, 28, 20, 1), (1, 100, 90, 3)], ids=str)
def test_images_stay_images(corruption: Corruption, shape: tuple[int, int, int, int]) -> None:
    images = photos(*shape)
    before = images.copy()
    for severity in (1, 5):
        found = corrupt(images, corruption, severity, np.random.default_rng(0))
        assert (found.dtype, found.shape) == (np.uint8, shape)
        assert not np.array_equal(found, images)
        assert np.array_equal(images, before)


@pytest.mark.parametrize("corruption", [each for each in CORRUPTIONS if each not in ("elastic", "fog", "zoom-blur")])
@pytest.mark.parametrize("side", [32, 128])
def test_each_severity_changes_more(corruption: Corruption, side: int) -> None:
    images = photos(4, side, side, 3)
    changes = [change(images, corruption, severity) for severity in SEVERITIES]
    assert changes == sorted(changes)
    assert changes[-1] > 1.2 * changes[0]


@pytest.mark.parametrize("corruption", ["elastic", "fog", "zoom-blur"])
def test_the_last_severity_changes_most(corruption: Corruption) -> None:
    """Elastic's severities trade shear for displacement; the enlargements of a zoom come closer together."""
    images = photos(4, 32, 32, 3)
    assert change(images, corruption, 5) > change(images, corruption, 1) * (1 if corruption != "elastic" else 0.5)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_seed_gives_the_same_images_in_batches_of_any_size(corruption: Corruption) -> None:
    images = photos(5, 16, 16, 3)
    whole = corrupt(images, corruption, 3, np.random.default_rng(7))
    random = np.random.default_rng(7)
    parts = [corrupt(part, corruption, 3, random) for part in (images[:2], images[2:3], images[3:])]
    assert np.array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize(
    "corruption", ["gaussian-noise", "shot-noise", "impulse-noise", "motion-blur", "fog", "elastic"]
)
def test_another_seed_gives_other_images(corruption: Corruption) -> None:
    images = photos(2, 16, 16, 3)
    first, second = (corrupt(images, corruption, 3, np.random.default_rng(seed)) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_small_images_are_corrupted_less() -> None:
    grey = np.full((1, 84, 84, 3), 128, np.uint8), np.full((1, 85, 85, 3), 128, np.uint8)
    small, large = (corrupt(images, "gaussian-noise", 1, np.random.default_rng(0)).std() for images in grey)
    assert (small, large) == (pytest.approx(0.04 * 255, rel=0.02), pytest.approx(0.08 * 255, rel=0.02))


def test_shot_noise_is_that_of_so_many_photons() -> None:
    grey = np.full((1, 84, 84, 3), 51, np.uint8)  # 0.2: of 50 photons, 10
    assert corrupt(grey, "shot-noise", 5, np.random.default_rng(0)).std() == pytest.approx(255 * 10**0.5 / 50, rel=0.05)


def test_impulses_are_black_and_white() -> None:
    grey = np.full((1, 100, 100, 3), 128, np.uint8)
    found = corrupt(grey, "impulse-noise", 5, np.random.default_rng(0))
    assert set(np.unique(found)) == {0, 128, 255}
    assert (found == 0).mean() == pytest.approx(0.135, abs=0.01)
    assert (found == 255).mean() == pytest.approx(0.135, abs=0.01)


@pytest.mark.parametrize("corruption", ["defocus-blur", "motion-blur", "zoom-blur", "pixelate", "contrast"])
def test_blurs_keep_an_even_image(corruption: Corruption) -> None:
    even = np.full((1, 90, 100, 3), (10, 100, 200), np.uint8)
    assert change(even, corruption, 5) == 0


def test_defocus_spreads_a_point_over_a_disc() -> None:
    point = np.zeros((1, 101, 101, 1), np.uint8)
    point[0, 50, 50] = 255
    point = np.repeat(point, 3, 3)
    found = corrupt(point, "defocus-blur", 1, np.random.default_rng(0))[0, :, :, 0]
    rows, columns = np.nonzero(found)
    assert set(rows) == set(columns) == set(range(47, 54))
    assert found[50, 50] == round(255 / 29)  # pixels within a radius of 3


def test_motion_draws_a_line() -> None:
    point = np.zeros((1, 101, 101, 1), np.uint8)
    point[0, 50, 50] = 255
    found = corrupt(point, "motion-blur", 1, np.random.default_rng(0))[0, :, :, 0]
    rows, columns = np.nonzero(found)
    assert np.ptp(columns) >= np.ptp(rows)
    assert 4 <= len(rows) <= 21
    assert int(found.sum()) == pytest.approx(255, abs=8)


def test_brightness_keeps_the_hue() -> None:
    colour = np.full((1, 8, 8, 3), (100, 50, 25), np.uint8)
    brighter = corrupt(colour, "brightness", 5, np.random.default_rng(0))[0, 0, 0].astype(int)
    assert brighter[0] == pytest.approx(100 + 0.3 * 255, abs=1)
    assert (brighter[1] / brighter[0], brighter[2] / brighter[0]) == (
        pytest.approx(0.5, abs=0.01),
        pytest.approx(0.25, abs=0.01),
    )
    black = np.zeros((1, 8, 8, 3), np.uint8)
    assert np.unique(corrupt(black, "brightness", 5, np.random.default_rng(0))).tolist() == [76]


def test_contrast_keeps_the_mean() -> None:
    images = photos(1, 16, 16, 3)
    found = corrupt(images, "contrast", 5, np.random.default_rng(0))
    assert found.mean((1, 2)) == pytest.approx(images.mean((1, 2)), abs=0.5)
    assert found.std((1, 2)) == pytest.approx(0.15 * images.std((1, 2)), rel=0.05)


def test_pixelate_leaves_fewer_pixels() -> None:
    images = photos(1, 100, 100, 1)
    found = corrupt(images, "pixelate", 5, np.random.default_rng(0))[0, :, :, 0]
    assert (found.reshape(25, 4, 25, 4) == found[::4, ::4].reshape(25, 1, 25, 1)).all()


def test_fog_hides_what_is_dark() -> None:
    half = np.zeros((1, 64, 64, 3), np.uint8)
    half[:, :, 32:] = 255
    found = corrupt(half, "fog", 5, np.random.default_rng(0)).astype(float)
    assert found[:, :, :32].mean() > 30
    assert found[:, :, 32:].mean() - found[:, :, :32].mean() < 0.7 * 255
