"""The whole chain on Fashion-MNIST: the file that fit50 chooses, beside the trained ResNet-50 in torch eager.

20,000 images of the training file, stretched to 64x64, train; 4,000 others of it are validation, and all 10,000 of the
test file are the test. The main job gets a budget of one point of validation accuracy and nothing else, so it delivers
the fastest file that keeps to it; latencies are of one image, measured in turns, with as many threads for all. When the
choice is made, the test images are read once by each of the two files.

    python benchmarks/chain.py --seeds 0 1 2 --out runs/chain --json benchmarks/chain.json

Stopped and called again, it goes on where it was. Seeds that the JSON has already are kept beside the new ones.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

from demo import row
from fashion_images import photo_folder
from seeds import gathered

from fit50.cli.screen import Screen
from fit50.data.dataset import open_dataset
from fit50.evaluate.intervals import accuracy, difference
from fit50.optimize import job_folder, optimize
from fit50.pipeline.answers import split_answers
from fit50.runtimes.base import Bundle
from fit50.runtimes.place import Place
from fit50.spec.files import write_text
from fit50.spec.request import Budget, Effort, Request
from fit50.spec.training import AdamW, Augment, Train

SIZE = 64
SPLITS = {"train": ("train", slice(0, 20_000)), "val": ("train", slice(56_000, 60_000)), "test": ("test", slice(None))}
AUGMENT = Augment(flip=0.5, shift=3)
EFFORT = Effort(
    train=Train(epochs=8, optimizer=AdamW(lr=2e-3), augment=AUGMENT, start_size=32),
    grow=Train(epochs=1, optimizer=AdamW(lr=3e-4), augment=AUGMENT),
    recover=Train(epochs=6, optimizer=AdamW(lr=2e-3), augment=AUGMENT),
    techniques=(),
    keeps=(0.35, 0.2),
)


def measured(seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """One whole job, and the test accuracy of the chosen file and of the trained network."""
    request = Request(
        data=str(photo_folder(given.out / "fashion", SPLITS)),
        image_size=SIZE,
        effort=EFFORT,
        budget=Budget(max_drop=1.0),
        seed=seed,
    )
    outcome = optimize(request, given.out, Screen())
    found = {
        role: Bundle.open(given.out / str(next(each.bundle for each in outcome.candidates if each.verdict == role)))
        for role in ("chosen", "reference")
    }
    network, threads = found["chosen"].manifest.network, outcome.environment.threads
    record = job_folder(request, given.out) / "splits.json"
    dataset = open_dataset(request.data, network.inputs, cache=given.out / "cache", record=record, seed=seed)
    right = split_answers(Place(), found, dataset, "test", threads)
    lost = difference(right["chosen"], right["reference"])
    return row(outcome) | {
        "environment": outcome.environment.model_dump(),
        "candidates": [each.model_dump() for each in outcome.candidates],
        "test of torch": accuracy(right["reference"]).model_dump(),
        "test of the chosen": accuracy(right["chosen"]).model_dump(),
        "test difference": lost.model_dump(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/chain"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/chain.json"))
    given = parser.parse_args()
    facts = gathered(given.json, EFFORT.canonical(), (measured(seed, given) for seed in given.seeds))
    rows = facts["seeds"]
    for each in rows:
        gap = each["test difference"]
        print(
            f"seed {each['seed']}: {each['chosen']}: {each['latency_ms']['median']:.2f} ms against "
            f"{each['torch_eager_ms']['median']:.2f}, {each['speedup']:.1f}x faster, {each['smaller']:.1f}x smaller; "
            f"validation {each['validation']:.1f} % against {each['trained_float_validation']:.1f} %; test "
            f"{each['test']:.1f} %, {gap['points']:+.1f} [{gap['low']:+.1f}, {gap['high']:+.1f}] points"
        )
    summary = {name: median(each[name] for each in rows) for name in ("speedup", "smaller", "drop")}
    print(", ".join(f"{name}: median {value:.2f}" for name, value in summary.items()), f"n={len(rows)}")
    write_text(given.json, json.dumps(facts | {"median": summary}, indent=1) + "\n")


if __name__ == "__main__":
    main()
