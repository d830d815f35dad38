"""What fit50 does for a step of training on the CPU: memory that is reused, and small maps as matrix products.

Steps of a ResNet-50 (forward, backward, fused SGD; channels last) as torch takes them, with memory reused, and with
both, in turns within one process. The ratios of a round are to its steps as torch takes them.

    python benchmarks/step.py --json benchmarks/step.json
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F

from fit50.nn.compose import compose
from fit50.spec import presets
from fit50.spec.files import write_text
from fit50.spec.machine import environment, has_bf16, physical_cores
from fit50.train.memory import reused
from fit50.train.products import products

BATCHES = {32: (128, 8), 64: (64, 4), 224: (16, 2)}
"""Images in a step, and steps in a turn, by pixels."""
WAYS = {"as torch": (), "memory": (reused,), "memory, products": (reused, products)}


def rates(size: int, precision: str, rounds: int) -> list[dict[str, float]]:
    """Images a second of each way in each round."""
    batch, steps = BATCHES[size]
    module = compose(presets.network("resnet50")).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9, nesterov=True, fused=True)
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.randint(1000, (batch,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = module(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    found: list[dict[str, float]] = []
    for _ in range(rounds + 1):  # the first one warms up
        row = {}
        for name, contexts in WAYS.items():
            with ExitStack() as stack:
                for context in contexts:
                    stack.enter_context(context(torch.device("cpu")))
                step()
                begun = time.monotonic()
                for _ in range(steps):
                    step()
                row[name] = batch * steps / (time.monotonic() - begun)
        found.append(row)
    return found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", choices=BATCHES, default=list(BATCHES))
    parser.add_argument("--precisions", nargs="+", default=["bf16", "float32"] if has_bf16() else ["float32"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--json", type=Path, default=Path("benchmarks/step.json"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    lines: list[dict[str, Any]] = []
    print(f"{'pixels':>6} {'':<8} {'way':<17} {'images/s':>9}   times as fast as torch takes it")
    for size in given.sizes:
        for precision in given.precisions:
            rows = rates(size, precision, given.rounds)
            for name in WAYS:
                faster = [row[name] / row["as torch"] for row in rows]
                rate = median(row[name] for row in rows)
                line = {"pixels": size, "batch": BATCHES[size][0], "precision": precision, "way": name}
                line |= {"rounds": [row[name] for row in rows], "images_per_second": rate}
                lines.append(line | {"faster": {"median": median(faster), "least": min(faster), "most": max(faster)}})
                spread = f"{median(faster):.2f} [{min(faster):.2f}, {max(faster):.2f}], n={len(faster)}"
                print(f"{size:>6} {precision:<8} {name:<17} {rate:>9.1f}   {spread}", flush=True)
    facts = {"environment": environment(given.threads).model_dump(), "rows": lines}
    write_text(given.json, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
