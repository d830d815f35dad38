"""Images that show the same, though their bytes differ: scaled, encoded anew, a little brighter, cropped by a pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fit50.data.decode import Pixels

_HASH = 32
"""Pixels of the side that the hash is computed on."""
_SIDE = 8
"""Of the hash, in frequencies, and of the thumbnail, in pixels."""
_BITS = 6
"""By how many of 64 bits the hashes of near-duplicates may differ."""
_LEVELS = 4.0
"""How far the thumbnails of near-duplicates may lie apart, of 255: the root of the mean square, brightness aside. Of
the 6,000 first training images of Fashion-MNIST, one pair is within both limits."""


def signature(pixels: Pixels) -> str:
    """What near-duplicates have nearly in common: a perceptual hash, and the image in 64 pixels of grey.

    The hash says which of the 63 lowest frequencies of the discrete cosine transform of 32 x 32 pixels of grey are
    above their median (pHash, Zauner 2010).

    Args:
        pixels: uint8 (H, W, 3), of any size.

    Returns:
        144 hexadecimal digits.
    """
    grey = Image.fromarray(pixels).convert("L")
    small = np.asarray(grey.resize((_HASH, _HASH), Image.Resampling.BOX), float)
    low = dctn(small, norm="ortho")[:_SIDE, :_SIDE].ravel()
    low[0] = np.median(low[1:])
    thumbnail = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BOX))
    return np.packbits(low > low[0]).tobytes().hex() + thumbnail.tobytes().hex()


def clusters(signatures: Sequence[str]) -> NDArray[np.int64]:
    """A number for each image, int64 (N,), that near-duplicates share.

    Two are near-duplicates if their hashes agree in all but 6 bits and their thumbnails are alike; so are those that a
    chain of such pairs connects. Images of about one colour are never.
    """
    n = len(signatures)
    known = np.frombuffer(bytes.fromhex("".join(signatures)), np.uint8).reshape(n, _SIDE + _SIDE**2)
    hashes, thumbnails = known[:, :_SIDE], known[:, _SIDE:].astype(np.float32)
    thumbnails = thumbnails - thumbnails.mean(1, keepdims=True)
    shown = np.flatnonzero(np.abs(thumbnails).max(1, initial=0) > _LEVELS)
    found = [np.zeros((2, 0), np.int64)]
    for first, second in _candidates(hashes, shown):
        near = np.bitwise_count(hashes[first] ^ hashes[second]).sum(1) <= _BITS
        apart = np.square(thumbnails[first[near]] - thumbnails[second[near]]).mean(1)
        alike = np.flatnonzero(near)[apart <= _LEVELS**2]
        found.append(np.stack([first[alike], second[alike]]))
    pairs = np.concatenate(found, axis=1)
    graph = coo_array((np.ones(pairs.shape[1], bool), (pairs[0], pairs[1])), shape=(n, n))
    numbers: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return numbers


def _candidates(
    hashes: NDArray[np.uint8], shown: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of images, among them all whose hashes differ in at most 6 bits: 2 of their 8 bytes are the same."""
    for one, other in combinations(range(_SIDE), _SIDE - _BITS):
        keys = hashes[shown, one].astype(np.int32) * 256 + hashes[shown, other]
        order = np.argsort(keys, kind="stable")
        keys, images, starts, step = keys[order], shown[order], np.arange(len(shown)), 1
        while len(starts := starts[starts + step < len(keys)]):
            starts = starts[keys[starts] == keys[starts + step]]
            yield images[starts], images[starts + step]
            step += 1
