"""Which techniques survive int8: the accuracy of float and int8 files of networks that differ in one technique.

Each is a ResNet-50 of a quarter of the width, trained from scratch by one recipe on 8,000 images of Fashion-MNIST's
training file, at 32x32. Its int8 files are calibrated on 300 of these, and made without accuracy control, so that they
lose what they lose; or they are trained through the rounding, taught by the float network (QAT), for two epochs at the
default rate. Judged are all 10,000 test images, of which nothing is chosen.

    python benchmarks/int8.py --seeds 0 1 2 --out runs/int8 --json benchmarks/int8.json

Networks that were trained before are kept in ``--out``; ``--qat-epochs 0`` leaves QAT out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fashion_images import fashion_dataset
from seeds import ahead

from fit50.compress.quantize import calibration, quantize
from fit50.data.dataset import Dataset
from fit50.nn.compose import initial
from fit50.pipeline.answers import files_answers
from fit50.runtimes import runtime
from fit50.runtimes.place import Place
from fit50.spec import presets
from fit50.spec.digest import edit_all
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.files import write_text
from fit50.spec.machine import environment, physical_cores
from fit50.spec.monitor import Monitor
from fit50.spec.network import Input, Network
from fit50.spec.recipe import Quantize
from fit50.spec.training import AdamW, Augment, Train
from fit50.train import train
from fit50.weights.checkpoint import Checkpoint

INPUT = Input(channels=1, height=32, width=32, resize="stretch", mean=(0.286,), std=(0.353,))
ATTENTION = "stages[*].blocks[*].attention"
TECHNIQUES: dict[str, tuple[dict[str, Any], list[tuple[str, Any]]]] = {
    "plain": ({}, []),
    "SE": ({}, [(ATTENTION, "se")]),
    "CBAM": ({}, [(ATTENTION, "cbam")]),
    "Swish": ({}, [("activation", "swish")]),
    "SE, Swish": ({}, [(ATTENTION, "se"), ("activation", "swish")]),
    "ResNeXt, 8 groups": ({"groups": 8}, []),
    "wide, 2x": ({"widening": 2}, []),
    "HFF": ({}, [("stages[*].fusion", {"kind": "hff", "form": "paper"})]),
}
RECIPE = Train(epochs=8, batch=64, optimizer=AdamW(lr=2e-3), augment=Augment(flip=0.5, shift=2))
RUNTIMES = ("openvino", "onnxruntime")
TRAINING, SAMPLES = 8_000, 300


def network(technique: str) -> Network:
    """A ResNet-50 of a quarter of the width, with the technique."""
    options, edits = TECHNIQUES[technique]
    plain = presets.resnet(presets.DEPTHS[50], widths=tuple(width // 4 for width in presets.WIDTHS), **options)
    head = plain.head.model_copy(update={"classes": 10})
    return edit_all(plain.model_copy(update={"inputs": (INPUT,), "head": head}), edits)


def slug(technique: str) -> str:
    """A technique's name in names of files."""
    return technique.replace(", ", "-").replace(" ", "-")


def trained(technique: str, seed: int, images: Dataset, out: Path) -> Checkpoint:
    """The network, trained unless it was before."""
    kept = out / f"{slug(technique)}-{seed}.safetensors"
    if not kept.exists():
        start = Checkpoint(network(technique), initial(network(technique), seed), images.classes)
        train(start, RECIPE, images, seed=seed, saved=kept.with_suffix(".training"), monitor=Monitor()).save(kept)
    return Checkpoint.load(kept)


def rounded(
    checkpoint: Checkpoint, technique: str, seed: int, images: Dataset, given: argparse.Namespace
) -> Checkpoint:
    """The network after QAT, trained unless it was before."""
    step = Quantize(method="qat", epochs=given.qat_epochs, max_drop=100, augment=RECIPE.augment)
    kept = given.out / f"{slug(technique)}-{seed}-qat-{step.epochs}.safetensors"
    if not kept.exists():
        saved = kept.with_suffix(".training")
        quantize(checkpoint, step, images, seed=seed, saved=saved, monitor=Monitor()).save(kept)
    return Checkpoint.load(kept)


def answers(technique: str, seed: int, images: Dataset, given: argparse.Namespace) -> dict[str, Any]:
    """Which test images each runtime's files answer rightly, by runtime and numerics; or why there is no file."""
    found: dict[str, Any] = {}
    checkpoint = trained(technique, seed, images, given.out)
    forms = {"float32": checkpoint, "int8": quantize(checkpoint, Quantize(samples=SAMPLES, max_drop=100), images)}
    if given.qat_epochs:
        forms["qat"] = rounded(checkpoint, technique, seed, images, given)
    with tempfile.TemporaryDirectory() as folder:
        bundles = {}
        for name, (kind, form) in product(RUNTIMES, forms.items()):
            label = f"{name} {kind}"
            try:
                needed = calibration(form, images, seed=seed)
                bundles[label] = runtime(name).export(form, Path(folder) / label, needed)
            except RuntimeRefusal as refusal:
                found[label] = str(refusal)
        return found | files_answers(Place(), bundles, images.split("test"), given.threads)


def row(technique: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """What a technique's int8 loses in each runtime, over the seeds."""
    line: dict[str, Any] = {"technique": technique, "seeds": len(found)}
    for name in RUNTIMES:
        floats = np.array([each[f"{name} float32"] for each in found])
        line[name] = {"float32": (100 * floats.mean(1)).tolist()}
        for kind in ("int8", "qat"):
            right = [each[f"{name} {kind}"] for each in found if f"{name} {kind}" in each]
            if refused := [each for each in right if isinstance(each, str)]:
                line[name][f"{kind} refused"] = refused[0]
            elif right:
                ints = np.array(right)
                line[name] |= {kind: (100 * ints.mean(1)).tolist(), f"{kind} ahead": ahead(ints, floats).model_dump()}
    return line


def words(of: dict[str, Any], kind: str) -> str:
    """What a kind of int8 changes, or why there is no such file."""
    if f"{kind} refused" in of:
        return f"{kind} refused: {of[f'{kind} refused']}"
    gap = of[f"{kind} ahead"]
    return f"{kind} {gap['points']:+.2f} [{gap['low']:+.2f}, {gap['high']:+.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--techniques", nargs="+", choices=TECHNIQUES, default=list(TECHNIQUES))
    parser.add_argument("--qat-epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--out", type=Path, default=Path("runs/int8"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/int8.json"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(given.threads)
    training, validation = np.arange(TRAINING), np.arange(57_000, 60_000)
    images = fashion_dataset(INPUT, train=training, val=validation, cache=given.out / "cache")
    facts: dict[str, Any] = {
        "environment": environment(given.threads).model_dump(),
        "recipe": RECIPE.canonical(),
        "qat epochs": given.qat_epochs,
        "seeds": given.seeds,
        "techniques": [],
    }
    for technique in given.techniques:
        line = row(technique, [answers(technique, seed, images, given) for seed in given.seeds])
        kinds = ("int8", "qat") if given.qat_epochs else ("int8",)
        cells = [f"float32 {np.mean(line[RUNTIMES[0]]['float32']):.2f} %"]
        cells += [f"{name}: {', '.join(words(line[name], kind) for kind in kinds)}" for name in RUNTIMES]
        print(f"{technique:<18} {' | '.join(cells)}", flush=True)
        facts["techniques"].append(line)
        write_text(given.json, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
