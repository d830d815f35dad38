"""Training images a second: fit50 against timm's training script and torchvision's reference, in turns, on the CPU.

Each trains in a process of its own, which waits while it is not its turn; a round is one turn of each. What is
compared are the medians over the rounds. Before that every loop finds its best settings: workers and the way of
augmentation first, then whether compiling pays. After its turn a loop's workers fill their queue again, untimed, which
gives it at most a queue of images; a turn is longer than that. Some of fit50's speed is from keeping freed memory,
which neither script asks for but anybody can set from outside: the others also run with it, as rows of their own.

fit50 decodes all images once, before; the others do so in every epoch. The seconds it takes are shown beside. As it is
meant to be used, it keeps images at 8/7 of the wanted size where files are larger, and crops these.

    python benchmarks/throughput.py --size 64 --json benchmarks/throughput-64.json
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import torch
from rivals import AREA, CLASSES, DECAY, LR, MOMENTUM, SMOOTHING, Job, Settings, Tick, timm_loop, torchvision_loop
from sample_photos import write_photos

from fit50.data.dataset import Dataset, open_dataset
from fit50.nn.compose import initial
from fit50.spec import presets
from fit50.spec.files import write_text
from fit50.spec.machine import environment, has_bf16, physical_cores
from fit50.spec.monitor import Monitor
from fit50.spec.network import Input
from fit50.spec.training import SGD, Augment, Train
from fit50.train import train
from fit50.train.memory import reused
from fit50.weights.checkpoint import Checkpoint

Loop = Callable[[Job, Settings, Tick], None]


@dataclass(frozen=True)
class Size:
    """What is measured at a size: the files' shorter side, the side fit50 keeps, images in a step, steps in a turn."""

    files: tuple[int, int]
    kept: int
    batch: int
    steps: int


SIZES = {64: Size((64, 64), 64, 64, 20), 224: Size((256, 500), 256, 16, 10)}


class Ticking(Monitor):
    """Passes every step on."""

    def __init__(self, tick: Tick) -> None:
        self.tick = tick

    def progress(self, label: str, done: int, total: int) -> None:
        """A step is done."""
        if label.startswith("train"):
            self.tick()


def opened(job: Job) -> tuple[Dataset, Input]:
    """The images as fit50 keeps them, decoded the first time."""
    side = SIZES[job.size].kept
    image = Input(height=side, width=side)
    return open_dataset(job.root, (image,), cache=job.root.parent / "cache"), image


def fit50_loop(job: Job, settings: Settings, tick: Tick) -> None:
    """Our own training, as the command line runs it."""
    dataset, image = opened(job)
    network = presets.network("resnet50", classes=CLASSES).model_copy(update={"inputs": (image,)})
    step = Train(
        epochs=1000,
        batch=job.batch,
        optimizer=SGD(lr=LR, momentum=MOMENTUM, weight_decay=DECAY),
        label_smoothing=SMOOTHING,
        ema=None,
        clip=None,
        augment=Augment(crop=AREA),
        size=job.size,
        precision="bf16" if job.bf16 else "float32",
        compile="default" if settings.compiled else "none",
    )
    start = Checkpoint(network, initial(network, 0), dataset.classes)
    train(start, step, dataset, seed=0, saved=job.root / "unfinished", monitor=Ticking(tick), save_seconds=1e9)


LOOPS: dict[str, Loop] = {"fit50": fit50_loop, "timm": timm_loop, "torchvision": torchvision_loop}
KEPT = ", memory kept"


class Turns:
    """Lets a loop take as many steps as the other end of the line asks for, and answers how many seconds they took."""

    def __init__(self, line: Connection) -> None:
        self.line, self.left, self.begun = line, 1, time.perf_counter()

    def __call__(self) -> None:
        """A step is done. Waits while it is not this loop's turn; ends the process when it is asked for no step."""
        self.left -= 1
        if not self.left:
            self.line.send(time.perf_counter() - self.begun)
            self.left = self.line.recv()
            if not self.left:
                raise SystemExit
            self.begun = time.perf_counter()


def _work(name: str, job: Job, settings: Settings, threads: int, line: Connection) -> None:
    torch.set_num_threads(threads)
    with reused(torch.device("cpu")) if settings.memory else nullcontext():
        LOOPS[name](job, settings, Turns(line))


class Contender:
    """A loop in a process of its own."""

    def __init__(self, name: str, job: Job, settings: Settings, threads: int) -> None:
        self.name, self.settings = name, settings
        context = multiprocessing.get_context("spawn")
        self.line, far = context.Pipe()
        self.process = context.Process(target=_work, args=(name.removesuffix(KEPT), job, settings, threads, far))
        self.process.start()
        far.close()
        self.line.recv()  # the first step, with all that comes before it

    def seconds(self, steps: int) -> float:
        """For so many steps; returns when all its processes are idle."""
        self.line.send(steps)
        taken = float(self.line.recv())
        self._rest()
        return taken

    def close(self) -> None:
        """Ends the loop."""
        self.line.send(0)
        self.process.join()

    def _rest(self) -> None:
        processes = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        before = -1.0
        while (now := sum(sum(process.cpu_times()[:2]) for process in processes)) > before:
            before = now
            time.sleep(0.2)


@contextmanager
def running(name: str, job: Job, settings: Settings, threads: int, steps: int) -> Iterator[Contender]:
    """A contender that has warmed up for a turn."""
    contender = Contender(name, job, settings, threads)
    try:
        contender.seconds(steps)
        yield contender
    finally:
        contender.close()


def best(name: str, job: Job, given: argparse.Namespace, steps: int) -> tuple[Settings, list[dict[str, Any]]]:
    """The fastest settings of a loop, and the images a second of all that were tried."""
    tried: dict[Settings, float] = {}

    def rate(settings: Settings) -> float:
        if settings not in tried:
            with running(name, job, settings, given.threads, steps) as contender:
                tried[settings] = job.batch * steps / min(contender.seconds(steps) for _ in range(2))
            print(f"  {name}, {_told(name, settings)}: {tried[settings]:.1f} images/s", flush=True)
        return tried[settings]

    loading = [Settings(workers, tensors) for workers in given.workers for tensors in (False, True)]
    found = max(loading, key=rate) if name != "fit50" else Settings()
    if given.compile == "auto":
        found = max((found, replace(found, compiled=True)), key=rate)
    return found, [{**asdict(settings), "images_per_second": each} for settings, each in tried.items()]


def _told(name: str, settings: Settings) -> str:
    compiled = "compiled" if settings.compiled else "not compiled"
    loading = f"{settings.workers} workers, {'tensors' if settings.tensors else 'images'}, "
    return compiled if name == "fit50" else loading + compiled


def compared(found: dict[str, Settings], job: Job, given: argparse.Namespace, steps: int) -> dict[str, list[float]]:
    """Images a second of each loop in every round."""
    rates: dict[str, list[float]] = {name: [] for name in found}
    with ExitStack() as stack:
        contenders = [
            stack.enter_context(running(name, job, settings, given.threads, steps)) for name, settings in found.items()
        ]
        for _ in range(given.rounds):
            for contender in contenders:
                rates[contender.name].append(job.batch * steps / contender.seconds(steps))
    return rates


def summary(found: dict[str, Settings], rates: dict[str, list[float]]) -> list[dict[str, Any]]:
    """A row for each loop, with how many times faster fit50 is: the median, least and most over the rounds."""
    rows = []
    print(f"{'loop':<24} {'images/s':>25}   {'fit50 is faster by':>25}   settings")
    for name, mine in rates.items():
        ratios = [ours / each for ours, each in zip(rates["fit50"], mine, strict=True)]
        row = {"loop": name, "settings": asdict(found[name]), "rounds": mine}
        row |= {"images_per_second": _spread(mine), "fit50_faster_by": _spread(ratios)}
        rows.append(row)
        cells = [
            f"{each['median']:.{digits}f} [{each['least']:.{digits}f}, {each['most']:.{digits}f}]"
            for each, digits in ((row["images_per_second"], 1), (row["fit50_faster_by"], 2))
        ]
        print(f"{name:<24} {cells[0]:>25}   {cells[1]:>25}   {_told(name, found[name])}")
    return rows


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "least": min(values), "most": max(values), "n": len(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, choices=SIZES, default=64)
    parser.add_argument("--batch", type=int, help="images in a step; by default 64 at 64 pixels, 16 at 224")
    parser.add_argument("--steps", type=int, help="steps in a turn; by default 20 at 64 pixels, 10 at 224")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--compile", choices=("auto", "off"), default="auto")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/throughput.json"))
    given = parser.parse_args()
    size = SIZES[given.size]
    batch, steps = given.batch or size.batch, given.steps or size.steps
    with TemporaryDirectory() as folder:
        job = Job(Path(folder, "photos"), given.size, batch, has_bf16())
        train_images = batch * steps * (given.rounds + 3)  # so that nobody begins an epoch while it is timed
        write_photos(job.root, size.files, {"train": train_images, "val": CLASSES, "test": CLASSES})
        started = time.perf_counter()
        opened(job)
        decoding = time.perf_counter() - started
        print(f"{train_images:,} images; fit50 decodes them once, in {decoding:.1f} s")
        choices = {name: best(name, job, given, steps) for name in LOOPS}
        found = {name: settings for name, (settings, _) in choices.items()}
        others = {
            f"{name}{KEPT}": replace(settings, memory=True) for name, settings in found.items() if name != "fit50"
        }
        found |= others
        rows = summary(found, compared(found, job, given, steps))
    facts = {
        "environment": environment(given.threads).model_dump(),
        "versions": {name: version(name) for name in ("timm", "torchvision", "pillow")},
        "settings": {"size": given.size, "batch": batch, "steps": steps, "rounds": given.rounds, "bf16": job.bf16},
        "images": train_images,
        "decoding_seconds": decoding,
        "tried": {name: tried for name, (_, tried) in choices.items()},
        "rows": rows,
    }
    write_text(given.json, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
