"""How accurate a ResNet-50 becomes on the whole of Fashion-MNIST within the time given: 60,000 and 10,000 images.

Each seed trains a ResNet-50 of a quarter of the width once, on all but 3,000 of the training images, which are
validation; the network was chosen on these with another seed: half the width with a stem of stride 2, which costs as
much, was worse after as many images. The weights after the last epoch are kept, and the test images are read once, at
the end.

    python benchmarks/fashion.py --seeds 0 1 2 --out runs/fashion --json benchmarks/fashion.json

Stopped and called again, it goes on where it was; the seconds are those of all parts. Seeds that the JSON has, by the
same recipe, are not trained again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fashion_images import fashion_dataset

from fit50.evaluate.intervals import accuracy
from fit50.evaluate.metrics import correct
from fit50.nn.compose import initial
from fit50.nn.cost import cost
from fit50.nn.deployed import Deployed
from fit50.spec import presets
from fit50.spec.digest import edit
from fit50.spec.files import write_text
from fit50.spec.machine import environment, physical_cores
from fit50.spec.monitor import Monitor
from fit50.spec.network import Input, Network
from fit50.spec.training import SGD, Augment, Train
from fit50.train import train
from fit50.weights.checkpoint import Checkpoint

INPUT = Input(channels=1, height=28, width=28, resize="stretch", mean=(0.286,), std=(0.353,))
RECIPE = Train(
    epochs=20,
    batch=128,
    optimizer=SGD(lr=0.1, weight_decay=5e-4),
    warmup=0.2,
    ema=0.998,
    clip=5.0,
    start_size=16,
    augment=Augment(flip=0.5, shift=2),
)


def network() -> Network:
    """A ResNet-50 of a quarter of the width, whose stem, a 3x3 of stride 1 without pooling, keeps all of 28 pixels."""
    plain = presets.resnet(presets.DEPTHS[50], widths=tuple(width // 4 for width in presets.WIDTHS))
    plain = edit(plain, "stem", {"kind": "low-resolution", "out": 16})
    head = plain.head.model_copy(update={"classes": 10})
    return plain.model_copy(update={"inputs": (INPUT,), "head": head})


class Log(Monitor):
    """Prints and keeps every epoch, with the seconds of all that came before."""

    def __init__(self, file: Path) -> None:
        self.file, self.begun = file, time.monotonic()
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        self.epochs: list[dict[str, Any]] = [json.loads(line) for line in lines]
        self.before = self.epochs[-1]["total"] if self.epochs else 0.0

    def record(self, event: str, facts: Mapping[str, object]) -> None:
        """One line."""
        self.epochs.append({**facts, "total": self.before + time.monotonic() - self.begun})
        write_text(self.file, "".join(f"{json.dumps(each)}\n" for each in self.epochs))
        print(f"  {self.epochs[-1]}", flush=True)


def measured(seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """One training, and its answers to the test images."""
    known = json.loads(given.json.read_text(encoding="utf-8")) if given.json.exists() else {}
    if known.get("recipe") == RECIPE.canonical() and (rows := [row for row in known["seeds"] if row["seed"] == seed]):
        return rows[0]
    kept = given.out / f"{seed}.json"
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    images = fashion_dataset(INPUT, train=np.arange(57_000), val=np.arange(57_000, 60_000), cache=given.out / "cache")
    start = Checkpoint(network(), initial(network(), seed), images.classes)
    log = Log(given.out / f"{seed}.jsonl")
    after = train(start, RECIPE, images, seed=seed, saved=given.out / f"{seed}.training", monitor=log)
    after.save(given.out / f"{seed}.safetensors")
    module = Deployed(after.module()).eval()
    row = {
        "seed": seed,
        "threads": given.threads,
        "seconds": log.epochs[-1]["total"],
        "epochs": log.epochs,
        "val": accuracy(correct(module, images.split("val"))).model_dump(),
        "test": accuracy(correct(module, images.split("test"))).model_dump(),
    }
    write_text(kept, json.dumps(row))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--out", type=Path, default=Path("runs/fashion"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/fashion.json"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(given.threads)
    rows = [measured(seed, given) for seed in given.seeds]
    percent = {split: [100 * row[split]["correct"] / row[split]["n"] for row in rows] for split in ("val", "test")}
    for row, val, test in zip(rows, percent["val"], percent["test"], strict=True):
        print(f"seed {row['seed']}: val {val:.2f} %, test {test:.2f} %, {row['seconds'] / 60:.0f} min")
    mean = float(np.mean(percent["test"]))
    spread = float(np.std(percent["test"], ddof=1)) if len(rows) > 1 else None
    print(f"test {mean:.2f} %, n={len(rows)} seeds, standard deviation {spread and round(spread, 2)}")
    facts = {
        "environment": environment(given.threads).model_dump(),
        "network": cost(network())._asdict(),
        "recipe": RECIPE.canonical(),
        "test": {"mean": mean, "spread": spread, "n": len(rows)},
        "seeds": rows,
    }
    write_text(given.json, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
