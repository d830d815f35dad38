"""Whether morphing is worth it: one trained ResNet-50, each technique, three ways to get it, accuracy over the steps.

For each technique and seed the grown network is (a) morphed from the trained one, (b) the trained weights with the new
parts inserted at their usual initialisation, (c) trained from scratch; then all three are trained alike, on the same
images in the same order. What is inserted of HFF is the paper's listing, of a pyramid the ``plain`` one, of which the
classifier is new, of Swish the plain replacement; their morphs are ``gated``, ``gated`` and annealed. ``control`` is
the trained network, trained on. From scratch there are as few steps as after growing: it shows where these alone lead.

Learning rates are found with a seed and on images that are not reported: for (b) for each technique, for (a) only for
``control`` and for Swish, whose morph alone changes while it trains, and for (c) only for the plain network.

Images: Fashion-MNIST's training file alone, at 32x32: the first 10,000 train the network, each seed draws ``--images``
of the next 40,000 to train on after growing, 1,000 others choose the rates, and 1,500 others are reported on.

    python benchmarks/morph.py --out runs/morph --json benchmarks/morph.json

Finished trainings are kept in ``--out``, so that several processes may share the work by ``--techniques``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from seeds import ahead
from torch import Tensor

from fit50.data.audit import Audit, Sizes
from fit50.data.dataset import Dataset
from fit50.data.decode import fit_image
from fit50.data.images import Images
from fit50.evaluate.metrics import correct
from fit50.nn.compose import initial
from fit50.nn.deployed import Deployed
from fit50.spec import presets
from fit50.spec.digest import edit
from fit50.spec.files import write_text
from fit50.spec.machine import environment, physical_cores
from fit50.spec.monitor import Monitor
from fit50.spec.network import Input, Network
from fit50.spec.recipe import Edit, Morph
from fit50.spec.training import AdamW, Augment, Train
from fit50.train import train
from fit50.weights.checkpoint import Checkpoint
from fit50.weights.surgery import morph

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from make_fashion_mini import CLASSES, read_idx

SOURCE = Path("/usr/share/datasets/fashion-mnist")
INPUT = Input(height=32, width=32, resize="stretch")
RATES = {"morphed": (2e-4, 6e-4, 2e-3), "inserted": (2e-4, 6e-4, 2e-3), "scratch": (6e-4, 2e-3, 6e-3)}
TUNING_SEED = 100
BATCH = 64


def _set(path: str, value: object) -> Morph:
    return Morph(edits=(Edit(path=path, value=value),))


TECHNIQUES = {
    "se": _set("stages[*].blocks[*].attention", "se"),
    "cbam": _set("stages[*].blocks[*].attention", "cbam"),
    "eca": _set("stages[*].blocks[*].attention", "eca"),
    "deeper": Morph(depths=(3, 4, 9, 3)),
    "wider": Morph(widening=2),
    "swish": _set("activation", "swish"),
    "hff": _set("stages[*].fusion", "hff"),
    "fpn": _set("neck", "fpn"),
}
LISTED = {
    "hff": ("stages[*].fusion", {"kind": "hff", "form": "paper"}),
    "fpn": ("neck", {"kind": "fpn", "form": "plain"}),
}
WAYS = ("morphed", "inserted", "scratch")


@cache
def file(kind: str) -> np.ndarray:
    """Fashion-MNIST's training images or labels."""
    return read_idx(SOURCE / f"train-{kind}.gz")


def images(numbers: np.ndarray) -> Images:
    """Some of them, fitted to INPUT."""
    fitted = [fit_image(np.repeat(file("images-idx3-ubyte")[i][..., None], 3, axis=2), INPUT) for i in numbers]
    labels = file("labels-idx1-ubyte")[numbers].astype(np.int64)
    return Images((np.stack(fitted),), labels, tuple(map(str, numbers)))


def dataset(training: np.ndarray, validation: np.ndarray) -> Dataset:
    """The images of these numbers as a data set that train() takes."""
    side = (28, 28)
    audit = Audit({}, Sizes(side, side, side), (), 0)
    return Dataset(CLASSES, {"train": images(training), "val": images(validation)}, audit, "fashion-mnist")


class Curve(Monitor):
    """Keeps the validation accuracy of every epoch."""

    def __init__(self) -> None:
        self.accuracy: list[float] = []

    def record(self, event: str, facts: Mapping[str, object]) -> None:
        self.accuracy.append(100 * float(facts["val"]))  # type: ignore[arg-type]


class Case(NamedTuple):
    """One training."""

    technique: str
    way: str
    seed: int
    rate: float


def trained(start: Checkpoint, rate: float, epochs: int, data: Dataset, seed: int, out: Path) -> Iterator[Any]:
    """The trained checkpoint, then the accuracy of every epoch."""
    step, curve = (
        Train(epochs=epochs, batch=BATCH, optimizer=AdamW(lr=rate), ema=None, augment=Augment(shift=2)),
        Curve(),
    )
    yield train(start, step, data, seed=seed, saved=out / "unfinished", monitor=curve, save_seconds=1e9)
    assert len(curve.accuracy) == epochs
    yield curve.accuracy


def trained_resnet(given: argparse.Namespace) -> Checkpoint:
    """The one that everything grows from."""
    path = given.out / "base.safetensors"
    if not path.exists():
        network = presets.network("resnet50", classes=len(CLASSES)).model_copy(update={"inputs": (INPUT,)})
        start = Checkpoint(network, initial(network, 0), CLASSES)
        data = dataset(np.arange(10_000), np.arange(50_000, 51_000))
        checkpoint, curve = trained(start, 2e-3, given.base_epochs, data, 0, given.out)
        checkpoint.save(path)
        print("base", curve, file=sys.stderr, flush=True)
    return Checkpoint.load(path)


def started(base: Checkpoint, case: Case) -> Checkpoint:
    """The grown network as each way gives it, before any training."""
    grown = morph(base, TECHNIQUES.get(case.technique, Morph()), case.seed)
    if case.way == "morphed":
        return grown
    network = grown.network.settled()
    if case.way == "inserted" and case.technique in LISTED:
        network = edit(network, *LISTED[case.technique])
    tensors = initial(network, case.seed)
    return Checkpoint(network, tensors if case.way == "scratch" else inserted(tensors, base, network), base.classes)


def inserted(tensors: dict[str, Tensor], base: Checkpoint, network: Network) -> dict[str, Tensor]:
    """New parts as they usually start, new blocks' last batch norm at one among them; the trained weights elsewhere."""
    for key, fresh in tensors.items():
        old = base.tensors.get(key)
        if old is None:
            if key.endswith("bn3.weight"):
                fresh.fill_(1)
        elif key != "fc.weight" or old.shape == fresh.shape:  # a pyramid's classifier sees something else
            fresh[tuple(slice(n) for n in old.shape)] = old
    return tensors


def answers(checkpoint: Checkpoint, split: Images) -> np.ndarray:
    """Whether each image is answered correctly (N,)."""
    return correct(Deployed(checkpoint.module()).eval(), split)


def measured(case: Case, base: Checkpoint, validation: np.ndarray, given: argparse.Namespace) -> dict[str, Any]:
    """The curve from before the first step to the result, and its answers: made now, or found from before."""
    path = given.out / f"{'-'.join(map(str, case))}-{given.images}x{given.epochs}.json"
    if not path.exists():
        numbers = 10_000 + np.random.default_rng(case.seed).permutation(40_000)[: given.images]
        data, start = dataset(numbers, validation), started(base, case)
        first = 100 * float(answers(start, data.split("val")).mean())
        checkpoint, curve = trained(start, case.rate, given.epochs, data, case.seed, given.out)
        last = answers(checkpoint, data.split("val"))
        curve = [first, *curve[:-1], 100 * float(last.mean())]
        write_text(path, json.dumps({"curve": curve, "correct": last.astype(int).tolist()}))
        print(path.name, [round(value, 1) for value in curve], file=sys.stderr, flush=True)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def best_rate(base: Checkpoint, technique: str, way: str, given: argparse.Namespace) -> float:
    """The rate of RATES that ends best on the images for choosing."""
    name = technique if way == "inserted" or (technique, way) == ("swish", "morphed") else "control"
    cases = [Case(name, way, TUNING_SEED, rate) for rate in RATES[way]]
    ends = {case.rate: measured(case, base, np.arange(50_000, 51_000), given)["curve"][-1] for case in cases}
    return max(ends, key=lambda rate: ends[rate])


def runs(base: Checkpoint, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every technique, way and seed."""
    for seed in given.seeds:
        for technique, way in [("control", "morphed"), *((name, way) for name in given.techniques for way in WAYS)]:
            case = Case(technique, way, seed, best_rate(base, technique, way, given))
            yield {**case._asdict(), **measured(case, base, np.arange(51_000, 52_500), given)}


def summary(rows: list[dict[str, Any]], given: argparse.Namespace) -> list[dict[str, Any]]:
    """For each technique and way the mean curve with its range, and how far morphing is ahead at the end.

    The interval is the bootstrap's over seeds and images (``ahead``); each seed's difference stands beside it.
    """
    lines = []
    for technique in ("control", *given.techniques):
        last: dict[str, np.ndarray] = {}
        for way in WAYS:
            mine = [row for row in rows if (row["technique"], row["way"]) == (technique, way)]
            if not mine:
                continue
            last[way] = np.array([row["correct"] for row in mine])  # (seeds, N)
            curves = np.array([row["curve"] for row in mine])
            line = {"technique": technique, "way": way, "rate": mine[0]["rate"], "n": len(mine)}
            line |= {"mean": curves.mean(0).tolist(), "low": curves.min(0).tolist(), "high": curves.max(0).tolist()}
            if way != "morphed":
                line["morphed_ahead"] = ahead(last["morphed"], last[way]).model_dump()
                line["seeds"] = (100 * (last["morphed"].mean(1) - last[way].mean(1))).tolist()
            lines.append(line)
    steps = [epoch * (given.images // BATCH) for epoch in range(given.epochs + 1)]
    print(f"{'technique':<10} {'way':<9} {'rate':>6} {'n':>2}  " + "".join(f"{f'step {s}':>10}" for s in steps))
    for line in lines:
        gap = line.get("morphed_ahead")
        text = f"  morphed ahead by {gap['points']:+.1f} [{gap['low']:+.1f}, {gap['high']:+.1f}]" if gap else ""
        if gap:
            text += f" (seeds {', '.join(f'{value:+.1f}' for value in line['seeds'])})"
        figures = "".join(f"{value:>10.1f}" for value in line["mean"])
        print(f"{line['technique']:<10} {line['way']:<9} {line['rate']:>6} {line['n']:>2}  {figures}{text}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--techniques", nargs="+", choices=TECHNIQUES, default=list(TECHNIQUES))
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--images", type=int, default=1280)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--base-epochs", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("runs/morph"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/morph.json"))
    given = parser.parse_args()
    if TUNING_SEED in given.seeds:
        parser.error(f"--seeds: {TUNING_SEED} is the seed that the rates are found with")
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(given.threads)
    rows = list(runs(trained_resnet(given), given))
    facts = {
        "environment": environment().model_dump(),
        "settings": {name: value for name, value in vars(given).items() if not isinstance(value, Path)},
        "summary": summary(rows, given),
        "runs": [{key: value for key, value in row.items() if key != "correct"} for row in rows],
    }
    write_text(given.json, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
