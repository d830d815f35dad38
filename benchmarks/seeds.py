"""What several seeds say: of two ways on the same images, and together when each was measured on another day."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fit50.spec.outcome import Difference

_RESAMPLED = 4000


def ahead(ours: NDArray[np.bool_ | np.float64], theirs: NDArray[np.bool_ | np.float64], seed: int = 0) -> Difference:
    """Points by which one way is ahead, with the 95 % interval of a bootstrap over both the seeds and the images.

    Args:
        ours: whether each seed's network (S, N) answers each image rightly, or how much so, from 0 to 1.
        theirs: the same of the other way, seed by seed.
        seed: of the resampling.
    """
    gained = 100.0 * (ours.astype(np.float64) - theirs.astype(np.float64))
    generator, (seeds, images) = np.random.default_rng(seed), gained.shape
    drawn = []
    for _ in range(_RESAMPLED):
        of_seeds = gained[generator.integers(seeds, size=seeds)].mean(0)
        drawn.append(of_seeds[generator.integers(images, size=images)].mean())
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Difference(points=float(gained.mean()), low=float(low), high=float(high), n=images)


def gathered(file: Path, settings: dict[str, Any], rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What to write to a file: these seeds' rows and those of other seeds that it has, in the seeds' order.

    Raises:
        SystemExit: the file's rows were found with other settings.
    """
    found = {row["seed"]: row for row in rows}
    if file.exists():
        earlier = json.loads(file.read_text(encoding="utf-8"))
        if earlier["settings"] != settings:
            raise SystemExit(f"{file} has other settings: {earlier['settings']}, now {settings}; give another --json")
        found = {row["seed"]: row for row in earlier["seeds"]} | found
    return {"settings": settings, "seeds": [found[seed] for seed in sorted(found)]}
