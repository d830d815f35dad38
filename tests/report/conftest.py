"""Outcomes to report on."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import pytest

from fit50.spec.outcome import (
    Accuracy,
    Candidate,
    Difference,
    Environment,
    Latency,
    Outcome,
    Score,
    Throughput,
    Trial,
)
from fit50.spec.request import Budget, Effort, Request
from fit50.spec.training import Train

IMAGES = 1200


def accuracy(correct: int, n: int = IMAGES) -> Accuracy:
    """So many correct answers, with the normal approximation's interval."""
    share = correct / n
    reach = 196 * sqrt(share * (1 - share) / n)
    return Accuracy(correct=correct, n=n, low=max(100 * share - reach, 0), high=min(100 * share + reach, 100))


def make_candidate(
    name: str, correct: int | None = 1100, ms: float | None = 5.0, size: float | None = 50.0, **fields: Any
) -> Candidate:
    """A candidate with the given figures; any of them may be unknown."""
    score = Score(
        accuracy=None if correct is None else accuracy(correct),
        latency=ms and Latency(median=ms, low=0.98 * ms, high=1.03 * ms, p95=1.2 * ms, n=400),
        throughput=ms and Throughput(median=1800 / ms, low=1700 / ms, high=1900 / ms, batch=16, n=50),
        size=size,
        memory=size and 80 + 2.1 * size,
    )
    defaults = {"network": "resnet50", "precision": "float32", "runtime": "openvino", "run": "0f" * 8}
    return Candidate(
        **({"name": name, "parameters": 23_520_842, "gmacs": 4.087, "score": score} | defaults | fields),
    )


def make_outcome(*candidates: Candidate, **fields: Any) -> Outcome:
    """An outcome of these candidates; the chosen one is that with the verdict."""
    chosen = next((each.name for each in candidates if each.verdict == "chosen"), candidates[0].name)
    train = Train(epochs=4)
    request = Request(data="photos", effort=Effort(train=train, grow=train, recover=train), budget=Budget(latency=5.0))
    environment = Environment(
        processor="Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
        isa=("avx2", "avx512f", "avx512_vnni", "amx_int8"),
        cores=8,
        threads=4,
        memory_gb=31.3,
        system="Linux 6.8 (glibc 2.39)",
        versions={"fit50": "0.1.0", "openvino": "2025.3.0", "onnxruntime": "1.23.0", "torch": "2.9.0"},
    )
    defaults = {
        "request": request,
        "classes": ("cat", "dog", "fox"),
        "images": {"train": 8000, "val": IMAGES, "test": 1500},
        "environment": environment,
        "trials": (),
        "candidates": candidates,
        "chosen": chosen,
        "sentence": f"{chosen} is the most accurate file within the budget.",
        "test": accuracy(1362, 1500),
        "seconds": 5421.0,
    }
    return Outcome(**(defaults | fields))


def difference(points: float) -> Difference:
    """A paired difference with an interval of 1.4 points."""
    return Difference(points=points, low=points - 0.7, high=points + 0.7, n=IMAGES)


def make_demo() -> Outcome:
    """A job with fourteen candidates of every verdict, three trials, and a budget with all its limits."""
    rows = (
        ("resnet50/torch", 1103, 41.0, 94.3, "float32", "torch", "reference", "eager, for comparison", 0.0),
        ("resnet50/openvino/float32", 1103, 14.1, 94.1, "float32", "openvino", "over-budget", "14.1 ms > 8 ms", 0.0),
        ("resnet50/onnxruntime/float32", 1103, 17.8, 94.0, "float32", "onnxruntime", "over-budget", "17.8 ms", 0.0),
        ("resnet50/openvino/int8", 1099, 4.2, 24.0, "int8", "openvino", "front", "", -0.33),
        ("resnet50/onnxruntime/int8", 1096, 6.9, 23.9, "int8", "onnxruntime", "dominated", "", -0.58),
        ("resnet50-se/openvino/float32", 1115, 15.9, 104.2, "float32", "openvino", "over-budget", "15.9 ms", 1.0),
        ("resnet50-se/openvino/int8", 1112, 5.6, 26.9, "int8", "openvino", "chosen", "most accurate in budget", 0.75),
        ("resnet50-se/onnxruntime/int8", 1109, 9.8, 26.8, "int8", "onnxruntime", "over-budget", "9.80 ms > 8 ms", 0.5),
        ("resnet50-keep50/openvino/float32", 1091, 8.4, 47.5, "float32", "openvino", "over-budget", "8.4 ms", -1.0),
        ("resnet50-keep50/openvino/int8", 1088, 2.7, 12.3, "int8", "openvino", "front", "", -1.25),
        ("resnet50-keep50/onnxruntime/int8", 1086, 3.9, 12.2, "int8", "onnxruntime", "dominated", "", -1.42),
        ("resnet50-keep25/openvino/float32", 1064, 5.1, 23.0, "float32", "openvino", "over-budget", "92.2 %", -3.25),
        ("resnet50-keep25/openvino/int8", 1061, 1.8, 6.1, "int8", "openvino", "over-budget", "drops 3.5 points", -3.5),
    )
    measured = [
        make_candidate(
            name, correct, ms, size, precision=precision, runtime=runtime, verdict=verdict, reason=reason,
            network=name.split("/")[0], against_baseline=difference(points) if points else None,
        )
        for name, correct, ms, size, precision, runtime, verdict, reason, points in rows
    ]  # fmt: skip
    refused = make_candidate(
        "resnet50-swish/openvino/int8", None, None, None, precision="int8", verdict="refused",
        reason="openvino: no int8 kernel for swish",
    )  # fmt: skip
    train = Train(epochs=4)
    request = Request(
        data="photos",
        effort=Effort(train=train, grow=train, recover=train),
        budget=Budget(latency=8.0, size=60.0, max_drop=2.5),
    )
    trials = (
        Trial(name="control", run="aa01", accuracy=accuracy(1105), against="resnet50", difference=difference(0.2)),
        Trial(
            name="se", run="aa02", accuracy=accuracy(1115), against="control", difference=difference(1.0), kept=True,
            reason="the interval leaves out zero",
        ),
        Trial(
            name="deeper", run="aa03", accuracy=accuracy(1107), against="control", difference=difference(0.2),
            reason="not distinguishable from the control",
        ),
    )  # fmt: skip
    return make_outcome(
        *measured,
        refused,
        request=request,
        trials=trials,
        set_aside=("cat/0034.jpg: truncated JPEG", "dog/copy of 12.jpg: near-duplicate of dog/12.jpg"),
        sentence=(
            "resnet50-se/openvino/int8 answers in 5.60 ms (7.3 times as fast as the torch reference) and is right on "
            "92.7 % of the validation images, +0.8 points [+0.0, +1.4] against the baseline."
        ),
    )


@pytest.fixture
def demo() -> Outcome:
    """Fourteen candidates of every verdict."""
    return make_demo()


@pytest.fixture
def candidate() -> Callable[..., Candidate]:
    """Makes a candidate."""
    return make_candidate


@pytest.fixture
def outcome() -> Callable[..., Outcome]:
    """Makes an outcome of candidates."""
    return make_outcome
