"""Near-duplicates: images that are one picture, encoded, scaled, brightened or trimmed again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from fit50.data.decode import Pixels

Vectors = NDArray[np.float32]

_SIDE = 32  # of the square that is transformed
_KEPT = 8  # frequencies, whose sums over both directions are below this, low ones first
_FREQUENCIES = sorted(
    ((row, column) for row in range(_KEPT) for column in range(_KEPT - row) if row + column), key=lambda rc: sum(rc)
)
_ROWS, _COLUMNS = np.array(_FREQUENCIES).T
_FLAT = 4.0  # grey levels of contrast below which noise is all there is to see
_FULL = 32767
_BRIGHTNESS, _COLOUR = 1 / 512, 1 / 256  # what a level of the mean weighs beside the shape, whose length is 1
_NEIGHBOURS = 16
_INDEXED = 16  # the leading numbers that candidates are found by


def signature(pixels: Pixels) -> str:
    """What an image looks like, from its low frequencies.

    The perceptual hash by DCT (Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions), with
    the coefficients themselves where the hash keeps their signs: then one distance both finds and confirms, and it is
    that of the blurred pixels, since the transform keeps lengths. Their length is 1, so that contrast does not matter.

    Args:
        pixels: uint8 (H, W, 3) as decoded, of any size.

    Returns:
        Hexadecimal: the coefficients as int16, the mean luminance and both mean chrominances, and the shorter side.
    """
    small = Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=2).convert("YCbCr")
    levels = np.asarray(small, np.float32)
    shape = dctn(levels[..., 0], norm="ortho")[_ROWS, _COLUMNS] / _SIDE  # lengths are grey levels of contrast
    shape /= max(float(np.linalg.norm(shape)), _FLAT)
    mean = levels.mean((0, 1)).round().astype(np.uint8)
    side = np.uint8(min(*pixels.shape[:2], 255))
    return (shape * _FULL).round().astype("<i2").tobytes().hex() + mean.tobytes().hex() + side.tobytes().hex()


def clusters(signatures: Sequence[str]) -> NDArray[np.int64]:
    """A number for each image, the same for near-duplicates (N,).

    Two images are near-duplicates where their distance is at most a thousandth of the shorter side of the smaller one,
    within 0.04 to 0.1: on images of few pixels, different things look alike sooner. An image that resembles two others
    joins them. A million images take about two minutes.
    """
    if not len(signatures):
        return np.zeros(0, np.int64)
    distinct, place = np.unique(np.asarray(signatures), return_inverse=True)
    vectors, limits = _vectors(distinct)
    first, second = _pairs(vectors, limits)
    links = coo_array((np.ones(len(first), np.bool_), (first, second)), shape=(len(distinct), len(distinct)))
    return connected_components(links, directed=False)[1].astype(np.int64)[place]


def _vectors(signatures: NDArray[np.str_]) -> tuple[Vectors, Vectors]:
    """What distances are taken between (N, 3 + coefficients), and the largest of a near-duplicate's (N,)."""
    data = np.frombuffer(bytes.fromhex("".join(signatures)), np.uint8).reshape(len(signatures), -1)
    shape = np.ascontiguousarray(data[:, :-4]).view("<i2") / np.float32(_FULL)
    means = data[:, -4:-1] * np.array([_BRIGHTNESS, _COLOUR, _COLOUR], np.float32)
    return np.concatenate([means, shape], 1), (data[:, -1] / np.float32(1000)).clip(0.04, 0.1)


def _pairs(vectors: Vectors, limits: Vectors) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of near-duplicates: each image with the nearest ones of those within its limit."""
    leading = np.ascontiguousarray(vectors[:, :_INDEXED])  # a distance in some dimensions bounds that in all
    tree = cKDTree(leading, balanced_tree=False, compact_nodes=False)
    found = []
    for limit in np.unique(limits):
        rows = np.flatnonzero(limits == limit)
        _, near = tree.query(leading[rows], _NEIGHBOURS, distance_upper_bound=limit, workers=-1)
        first, second = np.repeat(rows, _NEIGHBOURS), near.ravel()
        candidate = (second < len(vectors)) & (second != first)
        found.append((first[candidate], second[candidate]))
    first, second = (np.concatenate(places) for places in zip(*found, strict=True))
    near = np.linalg.norm(vectors[first] - vectors[second], axis=1) <= np.minimum(limits[first], limits[second])
    return first[near], second[near]
