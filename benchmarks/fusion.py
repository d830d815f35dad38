"""Whether two inputs know more than one: M-MFFnet on noisy digits and their noisy spoken names.

Each seed trains, with one recipe, on the same pairs: a ResNet-50 on the images alone, one on the spectrograms alone,
the two fused (norms for each input, and now and then one input hidden), and the control, fused too, whose spectrograms
are of any digit. The weights after the last epoch are kept: nothing is chosen. The test pairs, of images and voices
that occur nowhere else, are read once for each. Needs Debian's espeak-ng.

    python benchmarks/fusion.py --out runs/fusion --json benchmarks/fusion.json

Finished trainings are kept in ``--out``; those that the JSON has, by the same recipe, are not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pairs import build, shuffled

from fit50.data.dataset import Dataset, open_dataset
from fit50.data.images import Images
from fit50.evaluate.intervals import accuracy
from fit50.evaluate.metrics import correct
from fit50.nn.compose import initial
from fit50.nn.deployed import Deployed
from fit50.spec import presets
from fit50.spec.files import write_text
from fit50.spec.machine import environment, physical_cores
from fit50.spec.monitor import Monitor
from fit50.spec.network import Fusion, Input, Network
from fit50.spec.training import AdamW, Augment, Train
from fit50.train import train
from fit50.weights.checkpoint import Checkpoint

SIDE = 32
RECIPE = Train(epochs=15, batch=64, optimizer=AdamW(lr=2e-3), ema=0.99, augment=Augment(flip=0, shift=2))
WAYS = ("image", "sound", "fused", "shuffled")


def network(way: str) -> Network:
    """A ResNet-50 for one input, or M-MFFnet with its backbone shared and its norms of each input."""
    inputs = tuple(
        Input(name=name, channels=1, height=SIDE, width=SIDE, resize="stretch", mean=(0.5,), std=(0.25,))
        for name in ("image", "sound")
    )
    plain = presets.network("resnet50")
    head = plain.head.model_copy(update={"classes": 10})
    fused = way in ("fused", "shuffled")
    update: dict[str, Any] = {"inputs": inputs if fused else inputs[:1], "head": head}
    if fused:
        update["fusion"] = Fusion(width=256, norm="per-input", modality_dropout=0.2)
    return Network.parse(plain.model_copy(update=update).canonical(), way)


def pairs(root: Path, way: str, cache: Path) -> Dataset:
    """The data of a way, opened as a user would."""
    inputs, others = network(way).inputs, {"fused": "sound", "shuffled": "shuffled"}
    first = root / ("sound" if way == "sound" else "image")
    pair = root / others[way] if way in others else None
    return open_dataset(first, inputs, cache=cache, pair=pair)


def hidden(images: Images, missing: int) -> Images:
    """The split with one input missing, which is an image of zeros."""
    pixels = [np.zeros_like(each) if index == missing else each for index, each in enumerate(images.pixels)]
    return Images(tuple(pixels), images.labels, images.names)


def measured(way: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """One training, unless it was done before, and its answers to the test pairs."""
    known = json.loads(given.json.read_text(encoding="utf-8")) if given.json.exists() else {}
    recipe = RECIPE.model_copy(update={"epochs": given.epochs})
    for row in known.get("runs", []) if known.get("recipe") == recipe.canonical() else []:
        if (row["way"], row["seed"]) == (way, seed):
            return row
    kept = given.out / f"{way}-{seed}.json"
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    data = pairs(given.out / "pairs", way, given.out / "cache")
    start = Checkpoint(network(way), initial(network(way), seed), data.classes)
    begun = time.monotonic()
    trained = train(start, recipe, data, seed=seed, saved=given.out / f"{way}-{seed}.training", monitor=Monitor())
    seconds, test = time.monotonic() - begun, data.split("test")
    module = Deployed(trained.module()).eval()
    row: dict[str, Any] = {"way": way, "seed": seed, "seconds": seconds}
    row["correct"] = text(correct(module, test))
    if way == "fused":
        row["without image"] = text(correct(module, hidden(test, 0)))
        row["without sound"] = text(correct(module, hidden(test, 1)))
    write_text(kept, json.dumps(row))
    print(f"{way} seed {seed}: test {accuracy(hits(row['correct']))}, {seconds:.0f} s", flush=True)
    return row


def text(correct: NDArray[np.bool_]) -> str:
    """A digit an image: 1 where it is answered correctly."""
    return "".join(str(int(each)) for each in correct)


def hits(text: str) -> NDArray[np.bool_]:
    """What ``text`` wrote (N,)."""
    return np.frombuffer(text.encode(), np.uint8) == ord("1")


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each way the test accuracy of each seed, its mean, and the interval over images of that mean."""
    lines = []
    for name in (*WAYS, "without image", "without sound"):
        mine = [row for row in rows if row["way"] == (name if name in WAYS else "fused")]
        found = np.array([hits(row["correct" if name in WAYS else name]) for row in mine])  # (seeds, N)
        each = [accuracy(row) for row in found]
        random, n = np.random.default_rng(0), found.shape[1]
        means = found.mean(0)[random.integers(n, size=(2000, n))].mean(1)
        low, high = 100 * np.percentile(means, [2.5, 97.5])
        line = {"way": name, "n": n, "seeds": [a.model_dump() for a in each], "mean": 100 * float(found.mean())}
        lines.append(line | {"low": float(low), "high": float(high)})
        spread = ", ".join(f"{a.percent:.1f} [{a.low:.1f}, {a.high:.1f}]" for a in each)
        print(f"{name:<14} {line['mean']:5.1f} % [{low:.1f}, {high:.1f}]   seeds: {spread}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--out", type=Path, default=Path("runs/fusion"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/fusion.json"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if not (given.out / "pairs").exists():
        build(given.out / "pairs", seed=0)
        shuffled(given.out / "pairs", seed=0)
    rows = [measured(way, seed, given) for seed in given.seeds for way in WAYS]
    facts = {
        "environment": environment().model_dump(),
        "settings": {name: value for name, value in vars(given).items() if not isinstance(value, Path)},
        "recipe": RECIPE.model_copy(update={"epochs": given.epochs}).canonical(),
        "summary": summary(rows),
        "runs": rows,
    }
    write_text(given.json, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
