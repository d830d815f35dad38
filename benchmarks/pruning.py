"""Pruned to equal measured latencies, by fit50 and by Torch-Pruning: which network is more accurate?

A ResNet-50 of half the width learns 10,000 images of Fashion-MNIST's training file, of 48x48 pixels. From that one
network each way prunes to 0.7, 0.5, 0.35 and 0.25 of the latency of its OpenVINO file, measured in turns with the whole
network's; then batch statistics are estimated anew from the same images, and the same recovery follows, taught by the
whole network. The accuracy is that of the test images, which nothing is chosen by.

fit50 prunes by ``Prune(of="latency")``. Torch-Pruning 1.6 prunes globally, coupled channels together, with Taylor and
with group-norm importance, rounded to 8 channels and, for Taylor, to 16, never more than nine tenths of a layer (as
fit50's floor); its ratio is found by bisection until the file is as fast as asked for, from just below.

    pip install torch-pruning==1.6.1
    python benchmarks/pruning.py --out runs/pruning --json benchmarks/pruning.json

Finished parts are kept in ``--out``.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torch_pruning as tp
from fashion_images import fashion_dataset
from seeds import ahead

from fit50.compress import prune
from fit50.compress.groups import groups, narrowed
from fit50.compress.prune import recalibrated
from fit50.data.dataset import Dataset
from fit50.evaluate.metrics import correct
from fit50.nn.compose import initial
from fit50.nn.cost import cost
from fit50.nn.deployed import Deployed, Normalize
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle
from fit50.runtimes.measure import measure
from fit50.spec import presets
from fit50.spec.files import write_text
from fit50.spec.machine import environment, physical_cores
from fit50.spec.monitor import Monitor
from fit50.spec.network import Input, Network
from fit50.spec.recipe import Prune
from fit50.spec.training import AdamW, Augment, Teacher, Train
from fit50.train import train
from fit50.train.teachers import ModuleTeacher
from fit50.weights.checkpoint import Checkpoint

INPUT = Input(channels=1, height=48, width=48, resize="stretch", mean=(0.286,), std=(0.353,))
AUGMENT = Augment(flip=0.5, shift=3)
KEEPS = (0.7, 0.5, 0.35, 0.25)
SAMPLES, FLOOR, WITHIN, ATTEMPTS = 1024, 0.1, 0.05, 10
RIVALS: dict[str, tuple[type, int]] = {
    "Torch-Pruning, Taylor, 8": (tp.importance.GroupTaylorImportance, 8),
    "Torch-Pruning, Taylor, 16": (tp.importance.GroupTaylorImportance, 16),
    "Torch-Pruning, norm, 8": (tp.importance.GroupMagnitudeImportance, 8),
}
WAYS = ("fit50", *RIVALS)


def network() -> Network:
    """A ResNet-50 of half the width."""
    plain = presets.resnet(presets.DEPTHS[50], widths=tuple(width // 2 for width in presets.WIDTHS))
    head = plain.head.model_copy(update={"classes": 10})
    return plain.model_copy(update={"inputs": (INPUT,), "head": head})


def base(seed: int, images: Dataset, given: argparse.Namespace) -> Checkpoint:
    """The network that is pruned, trained unless it was before."""
    kept = given.out / f"base-{seed}.safetensors"
    if not kept.exists():
        start = Checkpoint(network(), initial(network(), seed), images.classes)
        step = Train(epochs=given.epochs, batch=64, optimizer=AdamW(lr=2e-3), ema=0.99, augment=AUGMENT)
        train(start, step, images, seed=seed, saved=given.out / f"base-{seed}.training", monitor=Monitor()).save(kept)
    return Checkpoint.load(kept)


def exported(checkpoints: dict[str, Checkpoint], folder: Path) -> dict[str, Bundle]:
    """The OpenVINO file of each, in float32."""
    return {name: runtime("openvino").export(each, folder / name) for name, each in checkpoints.items()}


def latencies(bundles: dict[str, Bundle], threads: int) -> dict[str, float]:
    """The median milliseconds of each file with one image, measured in turns."""
    scores = measure(bundles, threads, rounds=30, batch=1, memory=False)
    return {name: score.latency.median for name, score in scores.items() if score.latency}


def pruned_by_rival(whole: Checkpoint, way: str, ratio: float, images: Dataset, seed: int) -> Checkpoint:
    """What Torch-Pruning leaves at a ratio of channels, as a checkpoint."""
    kind, multiple = RIVALS[way]
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
        round_to=multiple,
        ignored_layers=[module.fc],
    ).step()
    tensors = {key: tensor.detach().clone() for key, tensor in module.state_dict().items()}
    widths = {
        group.field: tensors[group.slots[0].key].shape[group.slots[0].dim]
        for group in groups(whole.network)
        if group.field is not None
    }
    return whole.with_(network=narrowed(whole.network, widths), tensors=tensors)


def pruned(
    whole: Checkpoint, way: str, keep: float, images: Dataset, seed: int, given: argparse.Namespace
) -> Checkpoint:
    """A network that is as fast as asked for, before recovery."""
    if way == "fit50":
        step = Prune(keep=keep, of="latency", threads=given.threads, samples=SAMPLES, floor=FLOOR)
        return prune(whole, step, images, seed=seed)
    low, high = 0.0, 0.95
    best: tuple[float, Checkpoint] | None = None
    with tempfile.TemporaryDirectory() as folder:
        files = exported({"whole": whole}, Path(folder))
        for attempt in range(ATTEMPTS):
            ratio = (low + high) / 2
            made = pruned_by_rival(whole, way, ratio, images, seed)
            files |= {"pruned": exported({str(attempt): made}, Path(folder))[str(attempt)]}
            found = latencies(files, given.threads)
            share = found["pruned"] / (keep * found["whole"])
            if share <= 1 and (best is None or share > best[0]):
                best = share, made
            if 1 - WITHIN <= share <= 1:
                break
            low, high = (ratio, high) if share > 1 else (low, ratio)
    assert best is not None, f"{way}: nothing found for {keep}"
    return recalibrated(best[1], images.split("train").take(SAMPLES, seed))


def trial(way: str, keep: float, seed: int, images: Dataset, given: argparse.Namespace) -> dict[str, Any]:
    """One pruning with its recovery, unless it was done before: accuracy before and after, and which are right."""
    recovered = file(way, keep, seed, given)
    kept, start = recovered.with_suffix(".json"), recovered.with_suffix(".pruned")
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    whole = base(seed, images, given)
    if not start.exists():
        pruned(whole, way, keep, images, seed, given).save(start)
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


def final_latencies(keep: float, seed: int, images: Dataset, given: argparse.Namespace) -> dict[str, float]:
    """The latencies of the whole network and of every way's, all in turns."""
    recovered = {way: Checkpoint.load(file(way, keep, seed, given)) for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        return latencies(exported({"whole": base(seed, images, given), **recovered}, Path(folder)), given.threads)


def whole_accuracy(seed: int, images: Dataset, given: argparse.Namespace) -> float:
    """Percent of the test images that the whole network answers correctly."""
    return 100 * float(correct(Deployed(base(seed, images, given).module()).eval(), images.split("test")).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--keeps", type=float, nargs="+", default=KEEPS)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--recovery", type=int, default=3)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--out", type=Path, default=Path("runs/pruning"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/pruning.json"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(given.threads)
    places = np.arange(given.images)
    images = fashion_dataset(INPUT, train=places, val=np.arange(58_000, 60_000), cache=given.out / "cache")
    rows = [trial(way, keep, seed, images, given) for seed in given.seeds for keep in given.keeps for way in WAYS]
    lines: list[dict[str, Any]] = []
    for keep in given.keeps:
        found = [final_latencies(keep, seed, images, given) for seed in given.seeds]
        hits = {
            way: np.array([row["correct"] for row in rows if (row["way"], row["keep"]) == (way, keep)]) for way in WAYS
        }
        for way in WAYS:
            line: dict[str, Any] = {"keep": keep, "way": way, "latency": [each[way] / each["whole"] for each in found]}
            line |= {"accuracy": (100 * hits[way].mean(1)).tolist(), "mean": 100 * float(hits[way].mean())}
            text = f"{keep:<5} {way:<26} {np.median(line['latency']):.3f} of the latency, {line['mean']:.2f} %"
            if way != "fit50":
                gap = ahead(hits["fit50"], hits[way])
                line["fit50 ahead"] = gap.model_dump()
                text += f"; fit50 is ahead by {gap.points:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]"
            print(text)
            lines.append(line)
    facts = {
        "environment": environment(given.threads).model_dump(),
        "settings": {name: value for name, value in vars(given).items() if not isinstance(value, Path)},
        "torch-pruning": tp.__version__,
        "whole": [whole_accuracy(seed, images, given) for seed in given.seeds],
        "summary": lines,
        "rows": [{name: value for name, value in row.items() if name != "correct"} for row in rows],
    }
    write_text(given.json, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
