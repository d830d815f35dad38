"""Ways to a tenth of the multiply-accumulates: channels, in one round or in three, blocks, and pixels.

A ResNet-50 of half the width learns 8,000 images of Fashion-MNIST's training file, stretched to 32x32. Each way then
takes it to a tenth of its GMACs and recovers for as many epochs in all, taught by the whole network; rounds are
compared after three times as many epochs too. Judged are the OpenVINO files in float32: on all 10,000 test images, of
which nothing is chosen, and by the latency of one image, all files of a seed in turns.

    python benchmarks/smaller.py --seeds 0 1 2 --out runs/smaller --json benchmarks/smaller.json

Stopped and called again, it goes on where it was. Seeds that the JSON has already are kept beside the new ones.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from fashion_images import photo_folder
from seeds import gathered

from fit50.cli.screen import Screen
from fit50.data.dataset import Dataset, open_dataset
from fit50.evaluate.intervals import accuracy, difference
from fit50.nn.cost import cost
from fit50.pipeline.answers import split_answers
from fit50.pipeline.exporting import exported
from fit50.pipeline.realise import realise
from fit50.pipeline.store import Store
from fit50.runtimes.base import Bundle
from fit50.runtimes.place import Place
from fit50.search.space import pruning_rounds
from fit50.spec import presets
from fit50.spec.files import write_text
from fit50.spec.machine import environment, isa
from fit50.spec.network import Network
from fit50.spec.recipe import Load, Prune, Recipe, Resize, Step
from fit50.spec.training import AdamW, Augment, Teacher, Train

SIZE, KEEP = 32, 0.1
SPLITS = {"train": ("train", slice(0, 8000)), "val": ("train", slice(58_000, 60_000)), "test": ("test", slice(None))}
AUGMENT = Augment(flip=0.5, shift=2)
TRAINING = Train(epochs=8, optimizer=AdamW(lr=2e-3), augment=AUGMENT)
PRUNED, LONGER = "channels, one round", "channels, one round, longer"


def recovery(epochs: int) -> Train:
    """Training taught by the whole network."""
    return TRAINING.model_copy(update={"epochs": epochs, "teacher": Teacher(after=2)})


def network() -> Network:
    """A ResNet-50 of half the width."""
    return presets.resnet(presets.DEPTHS[50], widths=tuple(width // 2 for width in presets.WIDTHS)).sized(SIZE)


def fewer_pixels(size: int) -> tuple[Step, ...]:
    """Smaller images, and so many channels that the cost is the same."""
    whole, smaller = cost(network()).gmacs, cost(network().sized(size)).gmacs
    return Resize(size=size), Prune(keep=KEEP * whole / smaller), recovery(6)


WAYS: dict[str, tuple[Step, ...]] = {
    PRUNED: (Prune(keep=KEEP), recovery(6)),
    "channels, three rounds": pruning_rounds(Prune(keep=KEEP), 3, recovery(2), begun=2),
    "blocks and channels": (Prune(keep=KEEP, depths=(2, 3, 4, 2)), recovery(6)),
    "24 pixels and channels": fewer_pixels(24),
    "16 pixels and channels": fewer_pixels(16),
    LONGER: (Prune(keep=KEEP), recovery(18)),
    "channels, three rounds, longer": pruning_rounds(Prune(keep=KEEP), 3, recovery(6), begun=2),
}


def bundles(seed: int, dataset: Dataset, given: argparse.Namespace) -> dict[str, Bundle]:
    """The whole network's file, and each way's."""
    whole = Recipe(steps=(Load(network=network()), TRAINING), seed=seed)
    store, found = Store(given.out / "steps"), {}
    for name, recipe in {"whole": whole, **{way: whole.then(*steps) for way, steps in WAYS.items()}}.items():
        checkpoint = realise(recipe, dataset, store, Screen())
        run = store.run(recipe, dataset.identity)
        found[name] = exported(run, checkpoint, "openvino", isa(), lambda: None)
    return found


def measured(seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """What a seed's files cost, and what they know."""
    folder = photo_folder(given.out / "fashion", SPLITS)
    dataset = open_dataset(str(folder), network().inputs, cache=given.out / "cache", seed=seed)
    files = bundles(seed, dataset, given)
    right = split_answers(Place(), files, dataset, "test", given.threads)
    scores = Place().measure(files, given.threads, rounds=60, batch=1, memory=False)
    whole, rows = scores["whole"].latency, []
    assert whole is not None
    gmacs = {name: cost(file.manifest.network).gmacs for name, file in files.items()}
    for name, score in scores.items():
        assert score.latency is not None
        other = LONGER if name.endswith("longer") else PRUNED
        against = {} if name in ("whole", other) else {"ahead": difference(right[name], right[other]).model_dump()}
        rows.append(
            {
                "way": name,
                "gmacs": gmacs[name] / gmacs["whole"],
                "size": files[name].size / files["whole"].size,
                "latency": score.latency.median / whole.median,
                "latency_ms": score.latency.model_dump(),
                "accuracy": accuracy(right[name]).model_dump(),
                **against,
            }
        )
    return {"seed": seed, "environment": environment(given.threads).model_dump(), "ways": rows}


def table(seeds: list[dict[str, Any]]) -> None:
    """Prints each way's means over the seeds, and by how much it is ahead of pruning channels at once, as long."""
    for rows in zip(*(seed["ways"] for seed in seeds), strict=True):
        gmacs, size, latency = (mean(row[name] for row in rows) for name in ("gmacs", "size", "latency"))
        right = mean(100 * row["accuracy"]["correct"] / row["accuracy"]["n"] for row in rows)
        text = f"{rows[0]['way']:<30} GMACs {gmacs:.2f}, size {size:.2f}, latency {latency:.2f}, accuracy {right:.2f} %"
        if gaps := [row["ahead"] for row in rows if "ahead" in row]:
            each = ", ".join(f"{gap['points']:+.2f} [{gap['low']:+.2f}, {gap['high']:+.2f}]" for gap in gaps)
            text += f", ahead by {mean(gap['points'] for gap in gaps):+.2f}: {each}"
        print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1, help="that train, and that latencies are measured with")
    parser.add_argument("--out", type=Path, default=Path("runs/smaller"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/smaller.json"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    settings = {
        "training": TRAINING.canonical(),
        "ways": {way: [step.canonical() for step in steps] for way, steps in WAYS.items()},
    }
    facts = gathered(given.json, settings, (measured(seed, given) for seed in given.seeds))
    table(facts["seeds"])
    write_text(given.json, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
