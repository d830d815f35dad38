"""Common corruptions of photographs at five severities (Hendrycks and Dietterich 2019)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from fit50.evaluate import distortions
from fit50.spec.evaluation import Corruption

SEVERITIES = range(1, 6)
_SMALL = 84  # the shorter side of an image up to which CIFAR's severities apply; midway (of the factor) from 32 to 224


class _Severities(NamedTuple):
    """A distortion and its parameters at severities 1 to 5, for images like ImageNet's and like CIFAR's."""

    distort: Callable[..., NDArray[np.float32]]
    imagenet: tuple[tuple[float, ...], ...]
    cifar: tuple[tuple[float, ...], ...]


# The figures of ImageNet-C and CIFAR-10-C (github.com/hendrycks/robustness, Apache 2.0); elastic's are of 244 and of 32
# pixels there, and shares of the side here.
_TABLE: Mapping[Corruption, _Severities] = {
    "gaussian-noise": _Severities(
        distortions.gaussian_noise,
        ((0.08,), (0.12,), (0.18,), (0.26,), (0.38,)),
        ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,)),
    ),
    "shot-noise": _Severities(
        distortions.shot_noise,
        ((60,), (25,), (12,), (5,), (3,)),
        ((500,), (250,), (100,), (75,), (50,)),
    ),
    "impulse-noise": _Severities(
        distortions.impulse_noise,
        ((0.03,), (0.06,), (0.09,), (0.17,), (0.27,)),
        ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,)),
    ),
    "defocus-blur": _Severities(
        distortions.defocus_blur,
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    ),
    "motion-blur": _Severities(
        distortions.motion_blur,
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    ),
    "zoom-blur": _Severities(
        distortions.zoom_blur,
        ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    ),
    "fog": _Severities(
        distortions.fog,
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    ),
    "brightness": _Severities(
        distortions.brightness,
        ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)),
        ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,)),
    ),
    "contrast": _Severities(
        distortions.contrast,
        ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)),
        ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,)),
    ),
    "elastic": _Severities(
        distortions.elastic,
        ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)),
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
    "pixelate": _Severities(
        distortions.pixelate,
        ((0.6,), (0.5,), (0.4,), (0.3,), (0.25,)),
        ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,)),
    ),
    "jpeg": _Severities(
        distortions.jpeg,
        ((25,), (18,), (15,), (10,), (7,)),
        ((80,), (65,), (58,), (50,), (40,)),
    ),
}


def corrupt(images: NDArray[np.uint8], corruption: Corruption, severity: int, random: Generator) -> NDArray[np.uint8]:
    """Corrupted images, uint8 (N, H, W, C) like those given, of one channel or three.

    Images whose shorter side has at most 84 pixels are corrupted as CIFAR-10-C's are, larger ones as ImageNet-C's.

    Args:
        images: uint8 (N, H, W, C).
        corruption: one of twelve.
        severity: from 1 to 5.
        random: decides what is random; the same for batches of any size.
    """
    distort, imagenet, cifar = _TABLE[corruption]
    strengths = cifar if min(images.shape[1:3]) <= _SMALL else imagenet
    return distortions.to_bytes(distort(distortions.to_floats(images), random, *strengths[severity - 1]))
