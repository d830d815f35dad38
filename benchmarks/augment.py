"""What augmentation costs beside training: images a second of each ingredient, and its share of a ResNet-50's step.

The step is forward, backward and SGD in bfloat16, channels last, on as many images as are augmented. Each round takes
one step, then each ingredient once, draws included; the medians over the rounds are compared. An image that is cropped
is stored at 8/7 of its wanted size, as 256 is to 224.

    python benchmarks/augment.py --json benchmarks/augment.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F

from fit50.data.augment import augment, draw, mix
from fit50.nn.compose import initial
from fit50.spec import presets
from fit50.spec.files import write_text
from fit50.spec.machine import environment
from fit50.spec.training import Augment, RandAugment, TrivialAugment
from fit50.weights.checkpoint import Checkpoint

CLASSES = 10
BATCHES = {32: 128, 64: 64, 224: 16}
CROP = (0.08, 1.0)
INGREDIENTS = {
    "flip": Augment(),
    "flip, shift": Augment(shift=2),
    "crop": Augment(flip=0, crop=CROP),
    "randaugment": Augment(flip=0, policy=RandAugment()),
    "trivialaugment": Augment(flip=0, policy=TrivialAugment()),
    "cutout": Augment(flip=0, erase=8),
    "erasing": Augment(flip=0, erasing=0.25),
    "mixup": Augment(flip=0, mixup=0.2),
    "cutmix": Augment(flip=0, cutmix=1.0),
    "flip, crop, randaugment, mixup, cutmix": Augment(crop=CROP, policy=RandAugment(), mixup=0.1, cutmix=1.0),
}


def augmenting(how: Augment, size: int, device: torch.device) -> Callable[[], object]:
    """One batch's draws and all that is done with them."""
    generator = torch.Generator().manual_seed(0)
    stored = size * 8 // 7 if how.crop else size
    images = torch.randint(0, 256, (BATCHES[size], stored, stored, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(CLASSES, (BATCHES[size],), generator=generator)
    images, targets = images.to(device), F.one_hot(labels, CLASSES).float().to(device)

    def once() -> object:
        draws = draw(len(images), how, (stored, stored), (size, size), generator)
        return mix(augment((images,), how, draws), targets, how, draws)

    return once


def training(size: int, device: torch.device) -> Callable[[], object]:
    """One batch's step."""
    network = presets.network("resnet50", classes=CLASSES)
    checkpoint = Checkpoint(network, initial(network, 0), tuple(map(str, range(CLASSES))))
    module = checkpoint.module().train().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    images = torch.randn(BATCHES[size], 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(BATCHES[size], device=device) % CLASSES

    def once() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            logits = module(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return once


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long it takes until it is done, on the device too."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measured(size: int, threads: int, rounds: int, device: torch.device) -> list[dict[str, Any]]:
    """A row for the step and for each ingredient."""
    torch.set_num_threads(threads)
    works = {"training step": training(size, device)}
    works |= {name: augmenting(how, size, device) for name, how in INGREDIENTS.items()}
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            taken = seconds(work, device)
            if turn:  # the first warms up
                times[name].append(taken)
    step = median(times["training step"])
    return [
        {
            "size": size,
            "threads": threads,
            "batch": BATCHES[size],
            "ingredient": name,
            "images_per_second": BATCHES[size] / median(taken),
            "range": [BATCHES[size] / max(taken), BATCHES[size] / min(taken)],
            "share_of_step": median(taken) / step,
        }
        for name, taken in times.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", choices=BATCHES, default=list(BATCHES))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/augment.json"))
    given = parser.parse_args()
    rows = []
    print(f"{'size':>4} {'threads':>7}  {'ingredient':<40} {'images/s':>10} {'of a step':>10}")
    for size in given.sizes:
        for threads in given.threads:
            for row in measured(size, threads, given.rounds, given.device):
                rows.append(row)
                figures = f"{row['images_per_second']:>10.0f} {row['share_of_step']:>10.2%}"
                print(f"{size:>4} {threads:>7}  {row['ingredient']:<40} {figures}", flush=True)
    facts = {"environment": environment().model_dump(), "device": str(given.device), "rows": rows}
    write_text(given.json, json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
