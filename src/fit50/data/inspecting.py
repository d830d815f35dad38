"""Gathers what is to be known of a data set before any work is done with it."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fit50.data.cache import Progress, example_bytes
from fit50.data.dataset import Dataset
from fit50.data.decode import Pixels
from fit50.data.sources.base import Source, passing
from fit50.data.split import chunks
from fit50.spec.inspection import InputFacts, Inspection
from fit50.spec.network import Input

_SAMPLE, _SAMPLE_BYTES = 4000, 512 * 2**20
_AT_ONCE = 256
_MODES = {"1": "black and white", "L": "grey", "LA": "grey", "P": "palette", "PA": "palette", "RGBA": "RGB"}


def inspect_images(
    data: str,
    source: Source,
    dataset: Dataset,
    inputs: Sequence[Input],
    network: str,
    gmacs: float,
    seed: int = 0,
    progress: Progress | None = None,
) -> Inspection:
    """Counts, sizes and duplicates as the audit has them; formats and modes from every file; statistics from a sample.

    Formats and modes are not among what is kept of files that were decoded before, so every file is read once more.

    Args:
        data: what the person calls it.
        source: the encoded images.
        dataset: the same images, fitted to ``inputs``.
        inputs: of the network.
        network: what that is called.
        gmacs: what it costs at that size, in billions of multiply-accumulates.
        seed: draws the sample.
        progress: told of how many examples of how many the files have been read.

    Raises:
        DataError: a file can no longer be read.
    """
    audit = dataset.audit
    most = max(1, min(_SAMPLE, _SAMPLE_BYTES // example_bytes(inputs)))
    sample = dataset.split("train").take(most, seed)
    headers = _headers(source, {name for name, _ in audit.set_aside}, progress)
    return Inspection(
        data=data,
        counts={split: dict(counts) for split, counts in audit.counts.items()},
        median=audit.sizes.median,
        smallest=audit.sizes.smallest,
        largest=audit.sizes.largest,
        inputs=tuple(map(_facts, inputs, headers, sample.pixels)),
        set_aside=audit.set_aside,
        twins=audit.twins,
        shared_groups=audit.leaks,
        network=network,
        gmacs=gmacs,
    )


def _headers(source: Source, left_out: set[str], progress: Progress | None) -> list[tuple[Counter[str], Counter[str]]]:
    """For each input how many files have each format and each mode."""
    found = [(Counter[str](), Counter[str]()) for _ in range(source.inputs)]
    used = np.array([index for index, item in enumerate(source.items) if item.name not in left_out])
    near = passing(source, used)
    with ThreadPoolExecutor(os.cpu_count()) as pool, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # nothing is decoded, so a large image does no harm
        for some in chunks(len(used), _AT_ONCE):
            for headers in pool.map(lambda index: _header(near, index), used[some]):
                for (formats, modes), (form, mode) in zip(found, headers, strict=True):
                    formats[form] += 1
                    modes[mode] += 1
            if progress:
                progress(int(some[-1]) + 1, len(used))
    return found


def _header(source: Source, index: int) -> list[tuple[str, str]]:
    """The format and the mode of an example's image for each input, which could be decoded before. Raises DataError."""
    found = []
    for number in range(source.inputs):
        with Image.open(BytesIO(source.read(index, number))) as image:
            found.append((str(image.format), _mode(image)))
    return found


def _mode(image: Image.Image) -> str:
    if image.mode.startswith("I"):
        return "16-bit grey"
    alpha = " with alpha" if image.has_transparency_data else ""
    return _MODES.get(image.mode, image.mode) + alpha


def _facts(input: Input, headers: tuple[Counter[str], Counter[str]], pixels: Pixels) -> InputFacts:
    formats, modes = headers
    mean, std = statistics(pixels)
    if input.order == "bgr":
        mean, std = mean[::-1], std[::-1]
    return InputFacts(
        name=input.name,
        height=input.height,
        width=input.width,
        formats=dict(formats.most_common()),
        modes=dict(modes.most_common()),
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        input_mean=input.mean,
        input_std=input.std,
        sampled=len(pixels),
        grey=all(bool((some == some[..., :1]).all()) for some in _parts(pixels)),
    )


def statistics(pixels: Pixels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (C,) of each channel over all pixels, scaled to 0..1; exact, by histograms.

    Args:
        pixels: uint8 (N, H, W, C).
    """
    channels = pixels.shape[-1]
    counts = np.zeros((channels, 256), np.int64)
    for some in _parts(pixels):
        for channel in range(channels):
            counts[channel] += np.bincount(some[..., channel].ravel(), minlength=256)
    levels = np.arange(256) / 255
    shares = counts / counts.sum(1, keepdims=True)
    mean = shares @ levels
    std = np.sqrt((shares * np.square(levels - mean[:, None])).sum(1))
    return mean, std


def _parts(pixels: Pixels) -> Iterator[Pixels]:
    for some in chunks(len(pixels), _AT_ONCE):
        yield pixels[some[0] : some[-1] + 1]
