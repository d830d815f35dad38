"""Pruned by fit50 and by Torch-Pruning: which network is more accurate at the same measured latency?

A ResNet-50 learns 10,000 images of Fashion-MNIST's training file, of 32x32 pixels. From that one network each way
prunes to a little under 0.7, 0.5, 0.35 and 0.25 of the latency of its OpenVINO file; then batch statistics are
estimated anew from the same images, and the same recovery follows, taught by the whole network. At the end all files of
a seed are measured in turns, with one image. Between the two files of a way that lie around a latency, accuracy is
interpolated, linearly in the latency's logarithm; the whole network is each way's slowest file. The accuracy is that of
the test images, which nothing is chosen by.

fit50 prunes by ``Prune(of="latency")``. Torch-Pruning 1.6 prunes globally, coupled channels together, with Taylor and
with group-norm importance, rounded to 8 channels, never more than nine tenths of a layer (as fit50's floor); which of
its ratios leads to which latency is interpolated from a few that are measured in turns.

    pip install torch-pruning==1.6.1
    python benchmarks/pruning.py --out runs/pruning --json benchmarks/pruning.json

Finished parts are kept in ``--out``; seeds that the JSON has already are kept beside the new ones.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import mean, median
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
import torch_pruning as tp
from fashion_images import fashion_dataset
from numpy.typing import NDArray
from seeds import ahead, gathered

from fit50.compress import prune
from fit50.compress.groups import groups, narrowed
from fit50.data.dataset import Dataset
from fit50.evaluate.metrics import correct
from fit50.nn.compose import initial
from fit50.nn.cost import cost
from fit50.nn.deployed import Deployed, Normalize
from fit50.runtimes import runtime
from fit50.runtimes.measure import measure
from fit50.spec import presets
from fit50.spec.files import write_text
from fit50.spec.machine import environment, physical_cores
from fit50.spec.monitor import Monitor
from fit50.spec.network import Input, Network
from fit50.spec.recipe import Prune
from fit50.spec.training import AdamW, Augment, Teacher, Train
from fit50.train import train
from fit50.train.statistics import recalibrated
from fit50.train.teachers import ModuleTeacher
from fit50.weights.checkpoint import Checkpoint

INPUT = Input(channels=1, height=32, width=32, resize="stretch", mean=(0.286,), std=(0.353,))
AUGMENT = Augment(flip=0.5, shift=3)
KEEPS = {0.7: 0.68, 0.5: 0.48, 0.35: 0.33, 0.25: 0.23}
"""The latencies that are compared at, and those that are pruned to, so that files lie around them."""
RATIOS = (0.15, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.88)
"""Of Torch-Pruning, whose latencies are measured."""
SAMPLES, FLOOR, ROUNDS = 1024, 0.1, 40
RIVALS: dict[str, type] = {
    "Torch-Pruning, Taylor, 8": tp.importance.GroupTaylorImportance,
    "Torch-Pruning, norm, 8": tp.importance.GroupMagnitudeImportance,
}
WAYS = ("fit50", *RIVALS)
K = TypeVar("K", str, float)


def network() -> Network:
    """A ResNet-50 for small grey images of ten classes."""
    return presets.network("resnet50", classes=10).model_copy(update={"inputs": (INPUT,)})


def base(seed: int, images: Dataset, given: argparse.Namespace) -> Checkpoint:
    """The network that is pruned, trained unless it was before."""
    kept = given.out / f"base-{seed}.safetensors"
    if not kept.exists():
        start = Checkpoint(network(), initial(network(), seed), images.classes)
        step = Train(epochs=given.epochs, batch=64, optimizer=AdamW(lr=2e-3), ema=0.99, augment=AUGMENT)
        train(start, step, images, seed=seed, saved=given.out / f"base-{seed}.training", monitor=Monitor()).save(kept)
    return Checkpoint.load(kept)


def shares(whole: Checkpoint, others: Mapping[K, Checkpoint], threads: int) -> dict[K, float]:
    """The median latency of each one's OpenVINO file in float32 as a fraction of the whole network's, all in turns."""
    with tempfile.TemporaryDirectory() as folder:
        files = {
            str(index): runtime("openvino").export(each, Path(folder) / str(index))
            for index, each in enumerate((whole, *others.values()))
        }
        found = [
            score.latency.median
            for score in measure(files, threads, rounds=ROUNDS, batch=1, memory=False).values()
            if score.latency
        ]
    return {name: latency / found[0] for name, latency in zip(others, found[1:], strict=True)}


def pruned_by_rival(whole: Checkpoint, way: str, ratio: float, images: Dataset, seed: int) -> Checkpoint:
    """What Torch-Pruning leaves at a ratio of channels, as a checkpoint."""
    kind = RIVALS[way]
    module = copy.deepcopy(whole.module()).eval()
    normalize = Normalize(INPUT)
    if kind is tp.importance.GroupTaylorImportance:
        chosen = images.split("train").take(SAMPLES, seed)
        for (pixels,), labels in chosen.batches(64):
            F.cross_entropy(module(normalize(pixels)), labels, reduction="sum").div(len(chosen)).backward()
    tp.pruner.BasePruner(
        module,
        torch.zeros(1, INPUT.channels, INPUT.height, INPUT.width),
        kind(),
        global_pruning=True,
        pruning_ratio=ratio,
        max_pruning_ratio=1 - FLOOR,
        round_to=8,
        ignored_layers=[module.fc],
    ).step()
    tensors = {key: tensor.detach().clone() for key, tensor in module.state_dict().items()}
    widths = {
        group.field: tensors[group.slots[0].key].shape[group.slots[0].dim]
        for group in groups(whole.network)
        if group.field is not None
    }
    return whole.with_(network=narrowed(whole.network, widths), tensors=tensors)


def prune_all(way: str, seed: int, images: Dataset, given: argparse.Namespace) -> None:
    """Writes what a way makes of the whole network for each latency, before recovery, unless it is there."""
    starts = {aim: file(way, keep, seed, given).with_suffix(".pruned") for keep, aim in KEEPS.items()}
    if all(start.exists() for start in starts.values()):
        return
    whole = base(seed, images, given)
    if way == "fit50":
        for aim, start in starts.items():
            step = Prune(keep=aim, of="latency", threads=given.threads, samples=SAMPLES, floor=FLOOR)
            prune(whole, step, images, seed=seed).save(start)
        return
    tried = {ratio: pruned_by_rival(whole, way, ratio, images, seed) for ratio in RATIOS}
    found = np.array(sorted((share, ratio) for ratio, share in shares(whole, tried, given.threads).items()))
    few = images.split("train").take(SAMPLES, seed)
    for aim, start in starts.items():
        ratio = float(np.interp(aim, found[:, 0], found[:, 1]))
        recalibrated(pruned_by_rival(whole, way, ratio, images, seed), few).save(start)


def trial(way: str, keep: float, seed: int, images: Dataset, given: argparse.Namespace) -> dict[str, Any]:
    """One pruning with its recovery, unless it was done before: accuracy before and after, and which are right."""
    recovered = file(way, keep, seed, given)
    kept, start = recovered.with_suffix(".json"), recovered.with_suffix(".pruned")
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    prune_all(way, seed, images, given)
    whole = base(seed, images, given)
    small = Checkpoint.load(start)
    before = correct(Deployed(small.module()).eval(), images.split("test"))
    step = Train(
        epochs=given.recovery, batch=64, optimizer=AdamW(lr=1e-3), ema=0.99, augment=AUGMENT, teacher=Teacher(after=1)
    )
    taught = ModuleTeacher(whole.module(), (INPUT,))
    saved = recovered.with_suffix(".training")
    after = train(small, step, images, seed=seed, saved=saved, monitor=Monitor(), teaching=taught)
    after.save(recovered)
    right = correct(Deployed(after.module()).eval(), images.split("test"))
    counted = cost(after.network)
    facts = {"way": way, "keep": keep, "seed": seed, "gmacs": counted.gmacs, "parameters": counted.parameters}
    facts |= {"before recovery": 100 * before.mean(), "accuracy": 100 * right.mean(), "correct": right.tolist()}
    write_text(kept, json.dumps(facts))
    print(
        f"{recovered.stem}: {facts['before recovery']:.2f} % before recovery, {facts['accuracy']:.2f} % after",
        flush=True,
    )
    return facts


def file(way: str, keep: float, seed: int, given: argparse.Namespace) -> Path:
    """Where a trial's network is kept; beside it, by other suffixes, what else it has found."""
    return given.out / f"{way.replace(', ', '-').replace(' ', '-')}-{round(100 * keep)}-{seed}.safetensors"


Points = list[tuple[float, NDArray[np.float64]]]
"""Of one way and seed: shares of the whole network's latency, and for each image 1 where the network is right."""


def points(seed: int, rows: list[dict[str, Any]], images: Dataset, given: argparse.Namespace) -> dict[str, Points]:
    """Each way's files and the whole network, by ascending latency, measured unless they were before."""
    kept = given.out / f"shares-{seed}.json"
    named = {f"{row['way']} {row['keep']}": row for row in rows}
    whole = base(seed, images, given)
    if not kept.exists():
        files = {name: Checkpoint.load(file(row["way"], row["keep"], seed, given)) for name, row in named.items()}
        write_text(kept, json.dumps(shares(whole, files, given.threads)))
    found = json.loads(kept.read_text(encoding="utf-8"))
    most = (1.0, correct(Deployed(whole.module()).eval(), images.split("test")).astype(np.float64))
    ways: dict[str, Points] = {way: [most] for way in WAYS}
    for name, row in named.items():
        row["share"] = found[name]
        ways[row["way"]].append((found[name], np.array(row["correct"], np.float64)))
    return {way: sorted(each, key=lambda point: point[0]) for way, each in ways.items()}


def interpolated(front: Points, keep: float) -> NDArray[np.float64]:
    """How right a way is on each image at a share of the latency; below its fastest file, as that one."""
    logs = np.log([share for share, _ in front])
    weights = np.array([np.interp(np.log(keep), logs, row) for row in np.eye(len(front))])
    return weights @ np.stack([right for _, right in front])


def measured(seed: int, images: Dataset, given: argparse.Namespace) -> dict[str, Any]:
    """All trials of a seed, and each way's accuracy at the latencies that are compared at."""
    rows = [trial(way, keep, seed, images, given) for way in WAYS for keep in KEEPS]
    fronts = points(seed, rows, images, given)
    lines: list[dict[str, Any]] = []
    for keep in KEEPS:
        hits = {way: interpolated(fronts[way], keep) for way in WAYS}
        for way in WAYS:
            line = {"keep": keep, "way": way, "fastest": fronts[way][0][0], "accuracy": 100 * float(hits[way].mean())}
            if way != "fit50":
                line["fit50 ahead"] = ahead(hits["fit50"][None], hits[way][None]).model_dump()
            lines.append(line)
    return {
        "seed": seed,
        "environment": environment(given.threads).model_dump(),
        "torch-pruning": version("torch-pruning"),
        "whole": 100 * fronts["fit50"][-1][1].mean(),
        "compared": lines,
        "trials": [{name: value for name, value in row.items() if name != "correct"} for row in rows],
    }


def table(seeds: list[dict[str, Any]]) -> None:
    """Prints each seed's accuracies, and by how much fit50 is ahead in each and on average."""
    print(f"the whole networks: {', '.join(format(seed['whole'], '.2f') for seed in seeds)} %")
    for lines in zip(*(seed["compared"] for seed in seeds), strict=True):
        text = f"{lines[0]['keep']:<5} {lines[0]['way']:<26} {mean(line['accuracy'] for line in lines):.2f} %"
        text += f", fastest file {median(line['fastest'] for line in lines):.3f}"
        if gaps := [line["fit50 ahead"] for line in lines if "fit50 ahead" in line]:
            each = ", ".join(f"{gap['points']:+.2f} [{gap['low']:+.2f}, {gap['high']:+.2f}]" for gap in gaps)
            text += f"; fit50 is ahead by {mean(gap['points'] for gap in gaps):+.2f}: {each}"
        print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--recovery", type=int, default=3)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=1, help="that latencies are measured with")
    parser.add_argument("--out", type=Path, default=Path("runs/pruning"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/pruning.json"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(physical_cores())
    places = np.arange(given.images)
    images = fashion_dataset(INPUT, train=places, val=np.arange(58_000, 60_000), cache=given.out / "cache")
    settings = {name: getattr(given, name) for name in ("epochs", "recovery", "images", "threads")}
    facts = gathered(given.json, settings, (measured(seed, images, given) for seed in given.seeds))
    table(facts["seeds"])
    write_text(given.json, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
