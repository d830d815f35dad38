"""How fast ResNet-50 and its variants are at 224x224: every runtime and precision, beside torch eager and the floor.

The weights are random: speed and size do not depend on them. All files of a network are measured in turns, by what
``fit50 benchmark`` runs, with one image and with sixteen. Torch runs eagerly in float32 with channels last, which is
faster than its default.

    python benchmarks/runtimes.py --out runs/runtimes --json benchmarks/runtimes.json

Networks that were measured before are kept in ``--out``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from fit50.nn.compose import initial
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle, Calibration
from fit50.runtimes.benchmark import benchmark
from fit50.runtimes.graph import golden_images
from fit50.spec import presets
from fit50.spec.benchmark import Load, Measured, Until
from fit50.spec.digest import edit_all
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.files import write_text
from fit50.spec.machine import physical_cores
from fit50.spec.network import Network
from fit50.spec.numerics import Precision, uncalibrated
from fit50.spec.request import Device
from fit50.weights.checkpoint import Checkpoint

NETWORKS = {
    "ResNet-50": "resnet50",
    "SE, Swish": "resnet50",
    "ResNeXt-50 32x4d": "resnext50-32x4d",
    "Wide ResNet-50-2": "wide-resnet50-2",
    "HFF-SEnet": "hff-senet",
}
RUNTIMES = ("torch", "openvino", "onnxruntime", "executorch")
REFERENCE = "torch float32"


def network(name: str) -> Network:
    """The network of that line."""
    found = presets.network(NETWORKS[name])
    if name == "SE, Swish":
        found = edit_all(found, [("stages[*].blocks[*].attention", "se"), ("activation", "swish")])
    return found


def files(name: str, folder: Path) -> tuple[dict[str, Bundle], dict[str, str]]:
    """Every file that can be made, and why the others cannot."""
    checkpoint = Checkpoint(network(name), initial(network(name), 0))
    images = tuple(golden_images(image, 16) for image in checkpoint.network.inputs)
    calibration = Calibration(images, images, np.zeros(16, np.int64), max_drop=100)
    made, refused = {}, {}
    for called in RUNTIMES:
        for precision in get_args(Precision):
            label = f"{called} {precision}"
            chosen = runtime(called)
            try:
                if refusal := chosen.refusal(checkpoint.network, Device(), precision):
                    raise RuntimeRefusal(refusal)
                made[label] = chosen.export(
                    replace(checkpoint, numerics=uncalibrated(precision)), folder / label, calibration
                )
            except RuntimeRefusal as error:
                refused[label] = str(error)
    return made, refused


def row(label: str, bundle: Bundle, found: dict[tuple[str, int], Measured], batches: list[int]) -> dict[str, Any]:
    """What one file takes, against torch's and OpenVINO's float32, and the floor."""
    line: dict[str, Any] = {"file": label, "megabytes": bundle.size}
    for batch in batches:
        mine = found[label, batch]
        line[f"batch {batch}"] = {
            "milliseconds": mine.latency.median,
            "interval": [mine.latency.low, mine.latency.high],
            "n": mine.latency.n,
            "times torch": found[REFERENCE, batch].latency.median / mine.latency.median,
            "times OpenVINO float32": found["openvino float32", batch].latency.median / mine.latency.median,
            "images per second": mine.throughput.median,
            "times the floor": mine.times_floor,
        }
    return line


def measured(name: str, loads: list[Load], seconds: float) -> dict[str, Any]:
    """All files of a network under all loads."""
    with tempfile.TemporaryDirectory() as folder:
        made, refused = files(name, Path(folder))
        result = benchmark(made, loads, Until(seconds=seconds))
    found = {(each.file, each.load.batch): each for each in result.measured}
    rows = [row(label, bundle, found, [load.batch for load in loads]) for label, bundle in made.items()]
    facts = {"network": name, "files": rows, "refused": refused, "noise": result.noise.model_dump()}
    return facts | {"environment": result.environment.model_dump()}


def show(facts: dict[str, Any]) -> None:
    """Prints one network's table."""
    print(f"\n{facts['network']}")
    for each in facts["files"]:
        text = f"  {each['file']:<22} {each['megabytes']:7.1f} MB"
        for at in (value for key, value in each.items() if key.startswith("batch ")):
            text += f" | {at['milliseconds']:8.2f} ms, {at['times torch']:5.2f}x torch"
            text += f", {at['times OpenVINO float32']:5.2f}x OpenVINO float32, {at['times the floor']:4.1f}x floor"
        print(text, flush=True)
    for label, reason in facts["refused"].items():
        print(f"  {label}: refused: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--seconds", type=float, default=60.0, help="For each load of each network.")
    parser.add_argument("--out", type=Path, default=Path("runs/runtimes"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/runtimes.json"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(given.threads)
    loads = [Load(threads=given.threads, batch=batch) for batch in given.batches]
    networks = []
    for name in given.networks:
        kept = given.out / f"{name.replace(', ', '-').replace(' ', '-')}.json"
        if not kept.exists():
            write_text(kept, json.dumps(measured(name, loads, given.seconds)))
        networks.append(json.loads(kept.read_text(encoding="utf-8")))
        show(networks[-1])
    write_text(given.json, json.dumps({"networks": networks}, indent=1) + "\n")


if __name__ == "__main__":
    main()
