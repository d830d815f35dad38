"""The demo's claims, over several seeds: the chosen file against the trained ResNet-50 and a support-vector machine.

For each seed the whole main job runs on fashion-mini, at the demo's settings. The support-vector machine gets the same
training images at their full 28x28 pixels, scaled to 0..1; kernel, C and gamma are chosen on the same validation
images, and it is then fitted to training and validation images together, which our networks never are.

    python benchmarks/demo.py --seeds 0 1 2 --out runs/benchmark --json benchmarks/demo.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.svm import SVC

from fit50.cli.screen import Screen
from fit50.data.dataset import Dataset, open_dataset
from fit50.optimize import job_folder, optimize
from fit50.spec.files import write_text
from fit50.spec.machine import environment
from fit50.spec.network import Input
from fit50.spec.outcome import Outcome
from fit50.spec.presets import EFFORTS
from fit50.spec.request import Budget, Request

GRID = [("rbf", c, gamma) for c in (1, 3, 10, 30, 100) for gamma in ("scale", 0.005, 0.01, 0.02, 0.05)]
GRID += [("linear", c, "scale") for c in (0.01, 0.03, 0.1)]


def support_vector_machine(out: Path, seed: int) -> dict[str, Any]:
    """Test accuracy (percent) of the best of the grid on validation."""
    inputs = (Input(height=28, width=28, resize="stretch"),)
    dataset = open_dataset("fashion-mini", inputs, cache=out / "cache", seed=seed)
    (x, y), (vx, vy), (tx, ty) = (pixels(dataset, name) for name in ("train", "val", "test"))
    scores = {case: _fit(case, x, y).score(vx, vy) for case in GRID}
    best = max(scores, key=lambda case: scores[case])
    final = _fit(best, np.concatenate([x, vx]), np.concatenate([y, vy]))
    return {"kernel": best[0], "C": best[1], "gamma": best[2], "test": 100 * float(final.score(tx, ty))}


def _fit(case: tuple[str, float, object], x: np.ndarray, y: np.ndarray) -> SVC:
    kernel, c, gamma = case
    return SVC(kernel=kernel, C=c, gamma=gamma).fit(x, y)


def pixels(dataset: Dataset, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Grey pixels (N, 784) from 0 to 1, and labels (N,)."""
    ((images,), labels) = next(dataset.split(split).batches(10_000))
    return images.numpy()[..., 0].reshape(len(images), -1) / 255, labels.numpy()


def row(outcome: Outcome) -> dict[str, Any]:
    """The figures of one run."""
    chosen = next(c for c in outcome.candidates if c.verdict == "chosen")
    reference = next(c for c in outcome.candidates if c.verdict == "reference")
    score, before = chosen.score, reference.score
    assert score.latency and before.latency and score.accuracy and before.accuracy and score.size and before.size
    assert outcome.test
    return {
        "seed": outcome.request.seed,
        "chosen": chosen.name,
        "latency_ms": score.latency.model_dump(),
        "torch_eager_ms": before.latency.model_dump(),
        "speedup": before.latency.median / score.latency.median,
        "smaller": before.size / score.size,
        "validation": score.accuracy.percent,
        "trained_float_validation": before.accuracy.percent,
        "drop": before.accuracy.percent - score.accuracy.percent,
        "test": outcome.test.percent,
        "trials": [trial.model_dump(mode="json", exclude={"run"}) for trial in outcome.trials],
        "seconds": outcome.seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/demo.json"))
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in given.seeds:
        budget = Budget(latency=20.0, max_drop=2.0)
        request = Request(data="fashion-mini", effort=EFFORTS["demo"], budget=budget, seed=seed)
        outcome = optimize(request, given.out, Screen())
        rows.append(row(outcome) | {"svm": support_vector_machine(given.out, seed)})
        print(f"seed {seed}: {job_folder(request, given.out)}", file=sys.stderr)
    names = ("chosen", "ms", "torch", "faster", "smaller", "drop", "test", "SVM")
    print(" seed {:<33} {:>6} {:>6} {:>7} {:>8} {:>5} {:>5} {:>5}".format(*names))
    for r in rows:
        print(
            f"{r['seed']:>5} {r['chosen']:<33} {r['latency_ms']['median']:>6.2f} {r['torch_eager_ms']['median']:>6.2f} "
            f"{r['speedup']:>6.1f}x {r['smaller']:>7.1f}x {r['drop']:>5.1f} {r['test']:>5.1f} {r['svm']['test']:>5.1f}"
        )
    summary = {}
    for name in ("speedup", "smaller", "drop", "test", "seconds"):
        values = [r[name] for r in rows]
        median = statistics.median(values)
        summary[name] = {"median": median, "least": min(values), "most": max(values), "n": len(values)}
        print(f"{name}: median {median:.2f} [{min(values):.2f}, {max(values):.2f}], n={len(values)}")
    facts = {"environment": environment().model_dump(), "runs": rows, "summary": summary}
    write_text(given.json, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
