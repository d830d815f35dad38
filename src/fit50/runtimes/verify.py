"""Whether a bundle is what it says, anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle, Images, sha256
from fit50.spec.errors import BundleError


@dataclass(frozen=True)
class Verification:
    """How far this machine's answers lie from the golden ones (largest difference of a probability)."""

    largest_difference: float
    tolerance: float
    same_answers: int
    images: int


def sample(bundle: Bundle, count: int) -> tuple[Images, ...]:
    """So many of the golden images (N, H, W, C) for each input, repeated as needed."""
    images, _ = bundle.golden()
    return tuple(np.resize(array, (count, *array.shape[1:])) for array in images)


def verify(bundle: Bundle, threads: int) -> Verification:
    """Checks the files' digests, then runs the golden images. Raises BundleError where anything differs."""
    for name, expected in bundle.manifest.files.items():
        path = bundle.folder / name
        if not path.is_file():
            raise BundleError(f"{path}: expected a model file, found none; the bundle is incomplete")
        if (found := sha256(path)) != expected:
            raise BundleError(
                f"{path}: expected SHA-256 {expected[:12]}..., found {found[:12]}...; the file was changed"
            )
    images, golden = bundle.golden()
    answers = runtime(bundle.manifest.runtime).open(bundle, threads).run(*images)
    if answers.shape != golden.shape:
        raise BundleError(f"{bundle.folder}: expected probabilities {golden.shape}, found {answers.shape}")
    largest = float(np.abs(answers - golden).max())
    if not largest <= bundle.manifest.tolerance:  # so that NaN differs too
        raise BundleError(
            f"{bundle.folder}: this machine's probabilities differ from the golden ones by {largest:.2g}, more than "
            f"{bundle.manifest.tolerance:.2g}; export and evaluate on this machine"
        )
    same = int((answers.argmax(1) == golden.argmax(1)).sum())
    return Verification(largest, bundle.manifest.tolerance, same, len(golden))
