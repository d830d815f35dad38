"""What spoils photographs: noise, blur, weather and coding, each on float32 images (N, H, W, C) from 0 to 1.

The corruptions are those of Hendrycks and Dietterich (2019), written anew. Whatever is random is drawn image by image,
so that a generator gives the same images in batches of any size.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import fourier_gaussian, gaussian_filter, map_coordinates
from scipy.signal import oaconvolve

Floats = NDArray[np.float32]


def gaussian_noise(images: Floats, random: Generator, deviation: float) -> Floats:
    """Electronic noise: independent normal deviates."""
    return images + np.float32(deviation) * random.standard_normal(images.shape, np.float32)


def shot_noise(images: Floats, random: Generator, photons: float) -> Floats:
    """Photons counted: Poisson noise, where white means ``photons`` of them."""
    return (random.poisson(images * photons) / photons).astype(np.float32)


def impulse_noise(images: Floats, random: Generator, amount: float) -> Floats:
    """Salt and pepper: this share of the values becomes 0 or 1."""
    drawn = random.random(images.shape, np.float32)
    return np.where(drawn < amount / 2, 0, np.where(drawn > 1 - amount / 2, 1, images)).astype(np.float32)


def defocus_blur(images: Floats, random: Generator, radius: float, alias: float) -> Floats:
    """A disc of ``radius`` pixels for every point; its edge is softened by a deviation of ``alias`` pixels."""
    soft = 1 if radius <= 8 else 2
    reach = int(radius) + soft
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = gaussian_filter((x**2 + y**2 <= radius**2).astype(np.float32), alias, radius=soft, mode="constant")
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), "reflect")
    blurred: Floats = oaconvolve(padded, (disc / disc.sum())[None, :, :, None], mode="valid", axes=(1, 2))
    return blurred


def motion_blur(images: Floats, random: Generator, radius: float, deviation: float) -> Floats:
    """A trail of 2 ``radius`` + 1 pixels, fading as half a Gaussian, within 45 degrees of the horizontal."""
    steps = np.arange(2 * int(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * deviation**2)).astype(np.float32)
    angles = random.uniform(-np.pi / 4, np.pi / 4, len(images))
    return np.stack(
        [_trail(image, angle, weights / weights.sum()) for image, angle in zip(images, angles, strict=True)]
    )


def _trail(image: Floats, angle: float, weights: Floats) -> Floats:
    height, width, _ = image.shape
    reach = len(weights)
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), "edge")
    blurred = np.zeros_like(image)
    for step, weight in enumerate(weights):
        top, left = reach + round(step * np.sin(angle)), reach + round(step * np.cos(angle))
        blurred += weight * padded[top : top + height, left : left + width]
    return blurred


def zoom_blur(images: Floats, random: Generator, last: float, step: float) -> Floats:
    """The mean of the image and of its centre enlarged 1, 1 + ``step``, ... below ``last`` times."""
    height, width = images.shape[1:3]

    def enlarged(zoom: float) -> Floats:
        y, x = height * (0.5 - 0.5 / zoom), width * (0.5 - 0.5 / zoom)
        box = (x, y, width - x, height - y)
        return _each(images, lambda image: image.resize((width, height), Image.Resampling.BILINEAR, box))

    zooms = np.arange(1, last, step)
    return np.asarray((images + sum(map(enlarged, zooms))) / (len(zooms) + 1), np.float32)


def fog(images: Floats, random: Generator, density: float, decay: float) -> Floats:
    """A white cloud added, of noise whose deviation falls by ``decay`` squared from octave to octave.

    Hendrycks and Dietterich's diamond-square gives such a cloud; here it is a spectrum falling as a power.
    """
    n, height, width, _ = images.shape
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    frequency = np.hypot(y, x)
    frequency[0, 0] = np.inf
    noise = np.fft.rfft2(random.standard_normal((n, height, width)))
    cloud = np.fft.irfft2(noise * frequency ** -(1 + 2 * np.log2(decay)), (height, width))[..., None]
    low, high = cloud.min((1, 2), keepdims=True), cloud.max((1, 2), keepdims=True)
    brightest = images.max((1, 2, 3), keepdims=True)
    fogged = (images + density * (cloud - low) / (high - low)) * brightest / (brightest + density)
    return np.asarray(fogged, np.float32)


def brightness(images: Floats, random: Generator, more: float) -> Floats:
    """The value of hue, saturation and value raised by ``more``."""
    value = images.max(3, keepdims=True)
    raised = np.minimum(value + np.float32(more), 1)
    return np.where(value > 0, images * raised / np.where(value > 0, value, 1), raised)


def contrast(images: Floats, random: Generator, left: float) -> Floats:
    """Each channel's distance from its mean shrunk to this share."""
    mean = images.mean((1, 2), keepdims=True)
    return np.asarray(mean + left * (images - mean), np.float32)


def elastic(images: Floats, random: Generator, far: float, smooth: float, shear: float) -> Floats:
    """Pixels displaced ``far``, along fields smoothed by ``smooth``, and the whole turned and sheared by ``shear``.

    All three are in shorter sides of the image.
    """
    side = min(images.shape[1:3])
    return np.stack([_displaced(image, random, far * side, smooth * side, shear * side) for image in images])


def _displaced(image: Floats, random: Generator, far: float, smooth: float, shear: float) -> Floats:
    """One resampling for both: where each pixel comes from, by an affine map of three moved points, then by fields."""
    height, width, _ = image.shape
    y, x = np.mgrid[:height, :width].astype(float)
    centre, arm = np.array([height // 2, width // 2]), min(height, width) // 3
    points = centre + arm * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = points + random.uniform(-shear, shear, points.shape)
    affine = np.linalg.solve(np.c_[moved, np.ones(3)], points)  # (y, x, 1) of the result @ affine = (y, x) of the image
    noise = np.fft.fft2(random.uniform(-1, 1, (2, height, width)))
    dy, dx = far * np.fft.ifft2([fourier_gaussian(field, smooth) for field in noise]).real
    source = np.stack([y + dy, x + dx, np.ones_like(x)], -1) @ affine
    channels = [
        map_coordinates(channel, np.moveaxis(source, -1, 0), order=1, mode="mirror")
        for channel in image.transpose(2, 0, 1)
    ]
    return np.stack(channels, -1)


def pixelate(images: Floats, random: Generator, left: float) -> Floats:
    """Scaled down to this share of the sides, and up again in squares."""
    height, width = images.shape[1:3]
    small = max(int(width * left), 1), max(int(height * left), 1)
    box = Image.Resampling.BOX
    return _each(images, lambda image: image.resize(small, box).resize((width, height), box))


def jpeg(images: Floats, random: Generator, quality: float) -> Floats:
    """Coded as JPEG."""

    def coded(image: Image.Image) -> Image.Image:
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=int(quality))
        return Image.open(buffer)

    return _each(images, coded)


def to_bytes(images: Floats) -> NDArray[np.uint8]:
    """0..1 to 0..255, clipped and rounded."""
    return np.rint(255 * images.clip(0, 1)).astype(np.uint8)


def to_floats(images: NDArray[np.uint8]) -> Floats:
    """0..255 to 0..1."""
    return images.astype(np.float32) / np.float32(255)


def _each(images: Floats, change: Callable[[Image.Image], Image.Image]) -> Floats:
    """What Pillow makes of each image."""
    grey = images.shape[3] == 1
    pixels = to_bytes(images)[..., 0] if grey else to_bytes(images)
    changed = np.stack([np.asarray(change(Image.fromarray(image))) for image in pixels])
    return to_floats(changed[..., None] if grey else changed)
