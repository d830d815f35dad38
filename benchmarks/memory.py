"""What reusing freed memory saves a training on the CPU: steps of a ResNet-50 in bf16 with and without, in turns.

python benchmarks/memory.py --json benchmarks/memory.json
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F

from fit50.nn.compose import compose
from fit50.spec import presets
from fit50.spec.files import write_text
from fit50.spec.machine import environment, physical_cores
from fit50.train.memory import reused

BATCHES = {64: (64, 6), 224: (16, 3)}
"""Images in a step, and steps in a turn, by pixels."""


def ratios(size: int, rounds: int) -> list[dict[str, float]]:
    """Images a second in each round, as memory is by default and reused."""
    batch, steps = BATCHES[size]
    module = compose(presets.network("resnet50")).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9, nesterov=True, fused=True)
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.randint(1000, (batch,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            logits = module(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    found: list[dict[str, float]] = []
    for _ in range(rounds + 1):  # the first one warms up
        row = {}
        for name, context in (("default", nullcontext()), ("reused", reused(torch.device("cpu")))):
            with context:
                step()
                begun = time.monotonic()
                for _ in range(steps):
                    step()
                row[name] = batch * steps / (time.monotonic() - begun)
        found.append(row)
    return found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--json", type=Path, default=Path("benchmarks/memory.json"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    sizes = {}
    for size in BATCHES:
        rows = ratios(size, given.rounds)
        faster = [row["reused"] / row["default"] for row in rows]
        sizes[str(size)] = {"rounds": rows, "median": median(faster), "low": min(faster), "high": max(faster)}
        spread = f"[{min(faster):.2f}, {max(faster):.2f}], n={len(faster)} rounds"
        print(f"{size} px: {median(faster):.2f} times as fast {spread}")
    facts = {"environment": environment(given.threads).model_dump(), "sizes": sizes}
    write_text(given.json, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
