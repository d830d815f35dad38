"""What a teacher adds on 5,000 images: none, plain KD, and KD with logit standardisation (Sun et al. 2024).

The student is a ResNet-50 of half the width; the teacher, a ResNet-50 trained on 40,000 other images of Fashion-MNIST's
training file, is asked about every augmented image. The rate, found without a teacher, and each KD's weight and
temperature are chosen with a seed and on 2,000 images that are not reported; the trials are in the JSON. Every seed
draws its own 5,000 images and initial weights, the same ones for all ways; the figures are the accuracies on 4,000
further images of the training file.

    python benchmarks/distillation.py --out runs/distillation --json benchmarks/distillation.json

Finished trainings are kept in ``--out``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fashion_images import fashion_dataset
from seeds import ahead

from fit50.data.dataset import Dataset
from fit50.evaluate.metrics import correct
from fit50.nn.compose import initial
from fit50.nn.deployed import Deployed
from fit50.spec import presets
from fit50.spec.files import write_text
from fit50.spec.machine import environment, physical_cores
from fit50.spec.monitor import Monitor
from fit50.spec.network import Input, Network
from fit50.spec.training import KD, AdamW, Augment, Teacher, Train
from fit50.train import train
from fit50.train.teachers import ModuleTeacher
from fit50.weights.checkpoint import Checkpoint

INPUT = Input(channels=1, height=32, width=32, resize="stretch", mean=(0.286,), std=(0.353,))
AUGMENT = Augment(shift=2)
TUNING_SEED = 100
RATES = (1e-3, 2e-3, 4e-3)
SETTINGS: dict[str, tuple[Teacher | None, ...]] = {
    "no teacher": (None,),
    "KD": tuple(Teacher(after=1, weight=w, temperature=t) for w, t in ((0.5, 4), (0.9, 4), (0.9, 2), (0.9, 8))),
    "KD, standardised": tuple(
        Teacher(after=1, weight=w, temperature=t, method=KD(standardize=True))
        for w, t in ((0.5, 2), (0.9, 2), (0.9, 1), (0.9, 4))
    ),
}


def network(width: float) -> Network:
    """A ResNet-50 for Fashion-MNIST with so much of every width."""
    widths = tuple(round(width * each) for each in presets.WIDTHS)
    plain = presets.resnet(presets.DEPTHS[50], widths=widths)
    head = plain.head.model_copy(update={"classes": 10})
    return plain.model_copy(update={"inputs": (INPUT,), "head": head})


def data(train: np.ndarray, val: np.ndarray, cache: Path) -> Dataset:
    """Images of the training file, by their places in it: to learn from, and to watch or report on."""
    return fashion_dataset(INPUT, train=train, val=val, cache=cache)


def teacher(given: argparse.Namespace) -> Checkpoint:
    """The teacher, trained unless it was before."""
    kept = given.out / "teacher.safetensors"
    if kept.exists():
        return Checkpoint.load(kept)
    images = data(np.arange(40_000), np.arange(40_000, 42_000), given.out / "cache")
    start = Checkpoint(network(1), initial(network(1), 0), images.classes)
    step = Train(epochs=given.teacher_epochs, batch=128, optimizer=AdamW(lr=2e-3), ema=0.999, augment=AUGMENT)
    trained = train(start, step, images, seed=0, saved=given.out / "teacher.training", monitor=Said("teacher"))
    trained.save(kept)
    return trained


class Said(Monitor):
    """Prints every epoch."""

    def __init__(self, what: str) -> None:
        self.what = what

    def record(self, event: str, facts: Any) -> None:
        """One line."""
        print(f"  {self.what}: {event} {dict(facts)}", flush=True)


def answers(
    way: str, setting: Teacher | None, rate: float, seed: int, reported: np.ndarray, given: argparse.Namespace
) -> np.ndarray:
    """Whether the student, trained unless it was before, answers each of the reported images correctly (N,)."""
    told = "" if setting is None else f"-w{setting.weight}-t{setting.temperature}"
    kept = given.out / f"{way.replace(', ', '-').replace(' ', '-')}{told}-{rate:g}-{seed}.json"
    if kept.exists():
        return np.array(json.loads(kept.read_text(encoding="utf-8"))["correct"])
    chosen = 42_000 + np.random.default_rng(seed).permutation(12_000)[:5_000]
    images = data(chosen, reported, given.out / "cache")
    start = Checkpoint(network(0.5), initial(network(0.5), seed), images.classes)
    step = Train(epochs=given.epochs, batch=64, optimizer=AdamW(lr=rate), ema=0.99, augment=AUGMENT, teacher=setting)
    taught = None if setting is None else ModuleTeacher(teacher(given).module(), (INPUT,))
    begun = time.monotonic()
    saved = given.out / f"{kept.stem}.training"
    after = train(start, step, images, seed=seed, saved=saved, monitor=Monitor(), teaching=taught)
    found = correct(Deployed(after.module()).eval(), images.split("val"))
    write_text(kept, json.dumps({"seconds": time.monotonic() - begun, "correct": found.tolist()}))
    print(f"{kept.stem}: {100 * found.mean():.2f} %, {time.monotonic() - begun:.0f} s", flush=True)
    return found


def chosen(way: str, given: argparse.Namespace) -> tuple[Teacher | None, float, dict[str, float]]:
    """The setting and the rate that are best on the tuning images, and what each trial gave there.

    The rate is found without a teacher, and is that of all ways; then the setting at that rate.
    """
    tuning = np.arange(54_000, 56_000)

    def score(way: str, setting: Teacher | None, rate: float) -> float:
        return 100 * float(answers(way, setting, rate, TUNING_SEED, tuning, given).mean())

    rates = {rate: score("no teacher", None, rate) for rate in RATES}
    rate = max(rates, key=lambda each: rates[each])
    settings = {setting: score(way, setting, rate) for setting in SETTINGS[way]}
    best = max(settings, key=lambda each: settings[each])
    trials = {f"weight {s.weight}, temperature {s.temperature}": found for s, found in settings.items() if s}
    trials |= {f"without a teacher, rate {rate:g}": found for rate, found in rates.items()}
    return best, rate, trials


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--teacher-epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--out", type=Path, default=Path("runs/distillation"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/distillation.json"))
    given = parser.parse_args()
    if TUNING_SEED in given.seeds:
        parser.error(f"--seeds: {TUNING_SEED} is the seed that the settings are found with")
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(given.threads)
    reported = np.arange(56_000, 60_000)
    found = {way: chosen(way, given) for way in SETTINGS}
    hits = {
        way: np.array([answers(way, setting, rate, seed, reported, given) for seed in given.seeds])
        for way, (setting, rate, _) in found.items()
    }
    lines = []
    for way, (setting, rate, trials) in found.items():
        each = 100 * hits[way].mean(1)
        line: dict[str, Any] = {"way": way, "rate": rate, "trials": trials, "seeds": each.tolist()}
        line |= {
            "teacher": setting and setting.canonical(),
            "mean": float(each.mean()),
            "spread": float(each.std(ddof=1)),
        }
        text = f"{way:<17} {each.mean():.2f} % (n={len(each)} seeds, standard deviation {each.std(ddof=1):.2f})"
        for other in list(found)[: list(found).index(way)]:
            gap = ahead(hits[way], hits[other])
            points = 100 * (hits[way].mean(1) - hits[other].mean(1))
            line[f"ahead of {other}"] = gap.model_dump() | {"seeds": points.tolist()}
            text += f"; ahead of {other} by {gap.points:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]"
        print(text)
        lines.append(line)
    watched = data(np.arange(8), reported, given.out / "cache").split("val")
    known = float(correct(Deployed(teacher(given).module()).eval(), watched).mean())
    print(f"{'teacher':<17} {100 * known:.2f} %")
    facts = {
        "environment": environment().model_dump(),
        "settings": {name: value for name, value in vars(given).items() if not isinstance(value, Path)},
        "teacher": 100 * known,
        "summary": lines,
    }
    write_text(given.json, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
