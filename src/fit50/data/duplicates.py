"""Near-duplicates: images that are one picture, encoded, scaled, brightened or trimmed again."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import maximum_filter, minimum_filter
from scipy.sparse import coo_array
from scipy.spatial import cKDTree

from fit50.data.decode import Pixels

Places = NDArray[np.int64]
Levels = NDArray[np.float32]

_SIDE = 16  # of the thumbnail
_FLAT = 3.0  # levels of contrast below which a thumbnail shows noise, if anything

_FREQUENCIES = [(row, column) for row in range(4) for column in range(4 - row) if row + column]
_ROWS, _COLUMNS = np.array(_FREQUENCIES).T
_BRIGHTNESS, _COLOUR = 1 / 512, 1 / 256  # what a level of the mean weighs beside the shape, whose length is 1
_RADIUS, _NEIGHBOURS = 0.1, 16

_NOISE = 6.0  # levels by which encoding changes a thumbnail
_MOVED, _MOVED_MOST = 1.5, 0.25  # pixels of the image, and cells of the thumbnail, that a place may have moved
_GAIN = 1.06  # either way
_MEANS = np.array([16, 8, 8], np.float32)  # levels
_AT_ONCE = 4096


def signature(pixels: Pixels) -> str:
    """What an image looks like: a thumbnail.

    Args:
        pixels: uint8 (H, W, 3) as decoded, of any size.

    Returns:
        In base 64: luminance and chrominances of 16 x 16 cells, and the shorter side, at most 255.
    """
    small = Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=3).convert("YCbCr")
    return b64encode(small.tobytes() + bytes([min(*pixels.shape[:2], 255)])).decode()


def clusters(signatures: Sequence[str]) -> Places:
    """A number for each image, the same for near-duplicates (N,).

    Candidates are neighbours by the low frequencies, as in the perceptual hash by DCT (Zauner 2010, Implementation and
    Benchmarking of Perceptual Image Hash Functions). They are near-duplicates where every cell of their thumbnails
    agrees, but for what encoding, a little brightness and a move by a pixel change. Every image of a cluster agrees
    with one of it, so that chains of likes end. An image that shows nothing is like no other.
    """
    distinct = sorted(set(signatures))
    if not distinct:
        return np.zeros(0, np.int64)
    looks = _looks(distinct)
    shown = np.flatnonzero(looks.contrast >= _FLAT)
    first, second = (shown[each] for each in _candidates(looks, shown))
    near = _agree(looks, first, second)
    numbers = _grown(looks, first[near], second[near])
    place = {each: number for number, each in enumerate(distinct)}
    places = np.array([place[each] for each in signatures])
    alone = len(distinct) + np.arange(len(places))
    return np.where(looks.contrast[places] >= _FLAT, numbers[places], alone)


@dataclass(frozen=True)
class _Looks:
    """Thumbnails, uint8 (N, 16, 16, 3): how much varies around each cell and in all, and the shorter side."""

    cells: Pixels
    spread: Pixels
    means: Levels
    contrast: Levels
    side: Levels


def _looks(signatures: Sequence[str]) -> _Looks:
    data = np.frombuffer(b"".join(map(b64decode, signatures)), np.uint8).reshape(len(signatures), -1)
    cells = data[:, :-1].reshape(-1, _SIDE, _SIDE, 3)
    window = (1, 3, 3, 1)
    return _Looks(
        cells=cells,
        spread=maximum_filter(cells, window) - minimum_filter(cells, window),
        means=cells.mean((1, 2), dtype=np.float32),
        contrast=cells[..., 0].std((1, 2), dtype=np.float32),
        side=data[:, -1].astype(np.float32),
    )


def _candidates(looks: _Looks, shown: Places) -> tuple[Places, Places]:
    """Pairs of places in ``shown``, each once: an image and the nearest ones around it."""
    levels = looks.cells[shown, ..., 0].astype(np.float32)
    shape = dctn(levels, axes=(1, 2), norm="ortho")[:, _ROWS, _COLUMNS]
    shape /= np.linalg.norm(shape, axis=1, keepdims=True).clip(1)
    means = looks.means[shown] * np.array([_BRIGHTNESS, _COLOUR, _COLOUR], np.float32)
    points = np.concatenate([means, shape], 1)
    tree = cKDTree(points, balanced_tree=False, compact_nodes=False)
    _, near = tree.query(points, _NEIGHBOURS, distance_upper_bound=_RADIUS, workers=-1)
    pairs = np.stack([np.repeat(np.arange(len(points)), _NEIGHBOURS), near.ravel()], 1)
    pairs = np.unique(np.sort(pairs[(near.ravel() < len(points)) & (pairs[:, 0] != pairs[:, 1])], 1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _agree(looks: _Looks, first: Places, second: Places) -> NDArray[np.bool_]:
    """Whether each pair is of near-duplicates (P,)."""
    near = (np.abs(looks.means[first] - looks.means[second]) <= _MEANS).all(1)
    pairs = np.flatnonzero(near)
    for start in range(0, len(pairs), _AT_ONCE):
        some = pairs[start : start + _AT_ONCE]
        one, two = first[some], second[some]
        gain = np.sqrt(looks.contrast[one] / looks.contrast[two]).clip(1 / _GAIN, _GAIN)[:, None, None, None]
        moved = (_MOVED * _SIDE / np.minimum(looks.side[one], looks.side[two])).clip(max=_MOVED_MOST)
        spread = np.maximum(looks.spread[one], looks.spread[two])
        differing = np.abs(_varying(looks, one) / gain - _varying(looks, two) * gain)
        near[some] = (differing <= _NOISE + moved[:, None, None, None] * spread).all((1, 2, 3))
    return near


def _varying(looks: _Looks, places: Places) -> Levels:
    return looks.cells[places] - looks.means[places][:, None, None]


def _grown(looks: _Looks, first: Places, second: Places) -> Places:
    """The clusters' numbers (N,), from pairs: each grows from its first image, as far as images agree with that."""
    n = len(looks.cells)
    both = np.concatenate([first, second]), np.concatenate([second, first])
    links = coo_array((np.ones(len(both[0]), np.bool_), both), shape=(n, n)).tocsr()

    def beside(places: Places) -> Places:
        rows = [links.indices[links.indptr[place] : links.indptr[place + 1]] for place in places]
        found = np.unique(np.concatenate(rows)).astype(np.int64)
        return found[numbers[found] < 0]

    numbers = np.full(n, -1)
    for seed in np.unique(first):
        if numbers[seed] >= 0:
            continue
        numbers[seed] = seed
        edge = beside(np.array([seed]))
        while len(edge):
            numbers[edge] = seed
            further = beside(edge)
            edge = further[_agree(looks, np.full(len(further), seed), further)]
    return np.where(numbers < 0, np.arange(n), numbers)
