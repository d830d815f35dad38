"""Whether morphing is worth it: one trained ResNet-50, each technique, three ways to get it, accuracy over the steps.

For each technique and seed the grown network is (a) morphed from the trained one, (b) the trained weights with the new
parts inserted at their usual initialisation, (c) trained from scratch; then all three are trained alike, on the same
images in the same order. The paper's HFF is inserted as listed against ``gated``; a pyramid in place of what the
classifier sees against ``gated``; Swish at once against annealed. ``control`` is the trained network, trained on.

The learning rate is the best of RATES for each way and technique (a, b), and for a plain ResNet-50 (c), found on images
and a seed that are not reported. Images: Fashion-MNIST's training file alone, at 32x32: 10,000 to train the network,
``--images`` of them for each growth, 1,000 others to choose the rate, 2,000 others to report on.

    python benchmarks/morph.py --out runs/morph --json benchmarks/morph.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fit50.data.audit import Audit, Sizes
from fit50.data.dataset import Dataset, Images
from fit50.data.decode import fit_image
from fit50.evaluate.intervals import difference
from fit50.evaluate.metrics import correct
from fit50.nn.compose import initial
from fit50.nn.deployed import Deployed
from fit50.spec import presets
from fit50.spec.digest import edit
from fit50.spec.files import write_text
from fit50.spec.machine import environment, physical_cores
from fit50.spec.monitor import Monitor
from fit50.spec.network import Input, Network
from fit50.spec.recipe import AdamW, Augment, Edit, Morph, Train
from fit50.train import train
from fit50.weights.checkpoint import Checkpoint
from fit50.weights.surgery import morph

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from make_fashion_mini import CLASSES, read_idx

INPUT = Input(height=32, width=32, resize="stretch")
RATES = (5e-4, 2e-3)
TUNING_SEED = 100


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


def images(source: Path, numbers: np.ndarray) -> Images:
    """Some of the training file's images, fitted to INPUT."""
    pixels, labels = (read_idx(source / f"train-{name}.gz") for name in ("images-idx3-ubyte", "labels-idx1-ubyte"))
    fitted = [fit_image(np.repeat(pixels[i][..., None], 3, axis=2), INPUT) for i in numbers]
    return Images(np.stack(fitted), labels[numbers].astype(np.int64), tuple(Path(str(i)) for i in numbers))


def dataset(training: Images, validation: Images) -> Dataset:
    """The two as a data set that train() takes."""
    side = (28, 28)
    audit = Audit({}, Sizes(side, side, side), (), 0)
    return Dataset(CLASSES, {"train": training, "val": validation}, audit, "fashion-mnist")


class Curve(Monitor):
    """Keeps the validation accuracy of every epoch."""

    def __init__(self) -> None:
        self.accuracy: list[float] = []

    def record(self, event: str, facts: Mapping[str, object]) -> None:
        self.accuracy.append(100 * float(facts["val"]))  # type: ignore[arg-type]


def started(base: Checkpoint, technique: str, way: str, seed: int) -> Checkpoint:
    """The grown network as each way gives it, before any training."""
    grown = morph(base, TECHNIQUES.get(technique, Morph()), seed)
    if way == "morphed":
        return grown
    network = grown.network.settled()
    if way == "inserted" and technique in LISTED:
        network = edit(network, *LISTED[technique])
    tensors = initial(network, seed)
    return Checkpoint(network, tensors if way == "scratch" else inserted(tensors, base, network), base.classes)


def inserted(tensors: dict[str, Tensor], base: Checkpoint, network: Network) -> dict[str, Tensor]:
    """New parts as they usually start, new blocks' last batch norm at one among them; the trained weights elsewhere."""
    for key, fresh in tensors.items():
        old = base.tensors.get(key)
        if old is None:
            if key.endswith("bn3.weight"):
                fresh.fill_(1)
        else:
            fresh[tuple(slice(n) for n in old.shape)] = old
    return tensors


def answers(checkpoint: Checkpoint, split: Images) -> np.ndarray:
    """Whether each image is answered correctly (N,)."""
    return correct(Deployed(checkpoint.module()).eval(), split)


def run(start: Checkpoint, step: Train, data: Dataset, seed: int, out: Path) -> dict[str, Any]:
    """Accuracy before the first step and after every epoch, and the last answers."""
    curve = Curve()
    first = 100 * float(answers(start, data.split("val")).mean())
    trained = train(start, step, data, seed=seed, saved=out / "training", monitor=curve, save_seconds=1e9)
    last = answers(trained, data.split("val"))
    return {"curve": [first, *curve.accuracy], "correct": np.packbits(last).tobytes().hex()}


def step(epochs: int, rate: float) -> Train:
    return Train(epochs=epochs, optimizer=AdamW(lr=rate), ema=None, augment=Augment(shift=2))


def trained_resnet(given: argparse.Namespace) -> Checkpoint:
    """The one that everything grows from."""
    path = given.out / "base.safetensors"
    if not path.exists():
        network = presets.network("resnet50", classes=len(CLASSES)).model_copy(update={"inputs": (INPUT,)})
        fresh = Checkpoint(network, initial(network, 0), CLASSES)
        data = dataset(images(given.source, np.arange(10_000)), images(given.source, np.arange(50_000, 51_000)))
        curve = Curve()
        train(fresh, step(given.base_epochs, 2e-3), data, seed=0, saved=given.out / "training", monitor=curve).save(
            path
        )
        print("base", curve.accuracy, file=sys.stderr, flush=True)
    return Checkpoint.load(path)


class Case(NamedTuple):
    """One training."""

    technique: str
    way: str
    seed: int
    rate: float


def measured(case: Case, base: Checkpoint, validation: np.ndarray, given: argparse.Namespace) -> dict[str, Any]:
    """The training's curve and last answers, made now or found from before: a benchmark that was stopped goes on."""
    path = given.out / f"{'-'.join(map(str, case))}.json"
    if not path.exists():
        numbers = np.random.default_rng(case.seed).permutation(10_000)[: given.images]
        data = dataset(images(given.source, numbers), images(given.source, validation))
        start = started(base, case.technique, case.way, case.seed)
        write_text(path, json.dumps(run(start, step(given.epochs, case.rate), data, case.seed, given.out)))
        print(path.name, json.loads(path.read_text())["curve"], file=sys.stderr, flush=True)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def best_rate(base: Checkpoint, technique: str, way: str, given: argparse.Namespace) -> float:
    """The rate of RATES that ends best on the images for choosing; from scratch, the plain network's."""
    cases = [Case("control" if way == "scratch" else technique, way, TUNING_SEED, rate) for rate in RATES]
    ends = {case.rate: measured(case, base, np.arange(50_000, 51_000), given)["curve"][-1] for case in cases}
    return max(ends, key=lambda rate: ends[rate])


def runs(base: Checkpoint, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every technique, way and seed."""
    for seed in given.seeds:
        for technique, way in [("control", "morphed"), *((name, way) for name in TECHNIQUES for way in WAYS)]:
            case = Case(technique, way, seed, best_rate(base, technique, way, given))
            yield {**case._asdict(), **measured(case, base, np.arange(51_000, 53_000), given)}


def summary(rows: list[dict[str, Any]], given: argparse.Namespace) -> list[dict[str, Any]]:
    """For each technique and way the mean curve with its range, and how far morphing is ahead at the end."""
    lines = []
    for technique in ("control", *TECHNIQUES):
        last: dict[str, np.ndarray] = {}
        for way in WAYS:
            mine = [row for row in rows if (row["technique"], row["way"]) == (technique, way)]
            if not mine:
                continue
            bits = [np.unpackbits(np.frombuffer(bytes.fromhex(row["correct"]), np.uint8))[:2000] for row in mine]
            last[way] = np.mean(bits, 0)  # for each image, over the seeds
            curves = np.array([row["curve"] for row in mine])
            line = {"technique": technique, "way": way, "rate": mine[0]["rate"], "n": len(mine)}
            line |= {"mean": curves.mean(0).tolist(), "low": curves.min(0).tolist(), "high": curves.max(0).tolist()}
            if way != "morphed":
                line["morphed_ahead"] = difference(last["morphed"], last[way]).model_dump()
            lines.append(line)
    steps = [epoch * (given.images // 64) for epoch in range(given.epochs + 1)]
    print(f"{'technique':<10} {'way':<9} {'rate':>6} {'n':>2}  " + "".join(f"{f'step {s}':>10}" for s in steps))
    for line in lines:
        ahead = line.get("morphed_ahead")
        text = f"  morphed ahead by {ahead['points']:+.1f} [{ahead['low']:+.1f}, {ahead['high']:+.1f}]" if ahead else ""
        figures = "".join(f"{value:>10.1f}" for value in line["mean"])
        print(f"{line['technique']:<10} {line['way']:<9} {line['rate']:>6} {line['n']:>2}  {figures}{text}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=1280)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--base-epochs", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("runs/morph"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/morph.json"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(physical_cores())
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
