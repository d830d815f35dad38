"""The training loop, on one screen."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric

from fit50.data.dataset import Dataset
from fit50.data.resident import nearest
from fit50.data.split import Split, chunks
from fit50.nn.resnet import ResNet
from fit50.spec.digest import digest
from fit50.spec.errors import TrainingDiverged
from fit50.spec.monitor import Monitor
from fit50.spec.training import Train
from fit50.train import snapshot
from fit50.train.devices import ONE, Devices, anyone, launched, summed
from fit50.train.feed import Feed
from fit50.train.learner import LOWER, Learner
from fit50.train.memory import reused
from fit50.train.products import products
from fit50.train.snapshot import State
from fit50.train.statistics import SAMPLES, recalibrated
from fit50.train.stopping import stop_requests
from fit50.train.teachers import Teaching
from fit50.weights.checkpoint import Checkpoint

ATTEMPTS = 3
"""How often a rate is lowered before a training is given up."""
_CHECKED = 100
"""Steps after which the loss is looked at, which waits for the device."""
_ASKED = 10
"""Steps after which several processes agree on whether to stop."""


class _NotFinite(Exception):
    """The loss became NaN or infinite."""


def train(
    checkpoint: Checkpoint,
    step: Train,
    dataset: Dataset,
    *,
    seed: int,
    saved: Path,
    monitor: Monitor,
    teaching: Teaching | None = None,
    devices: Devices = ONE,
    save_seconds: float = 30.0,
    build: Callable[[Checkpoint], ResNet] = Checkpoint.module,
) -> Checkpoint:
    """Trains a checkpoint on the dataset's training split.

    Every step draws from a seed of its own, so that a training resumed after any step ends, on the CPU, with the same
    bits. A loss that is no longer finite takes the training back to what was last kept, with a lower rate. An
    activation that has a ``start`` is annealed, and the result's network has it at its end. After few steps, running
    averages of batch statistics still hold what was before (at worst, an annealed activation's beginning): those of a
    training of less than 200 steps are estimated anew from training images, unless it held them still.

    Args:
        checkpoint: where to start; its inputs say the size of the images.
        step: epochs, optimizer, schedule, augmentation.
        dataset: its train split is learned from; its val split is only reported.
        seed: decides the order of the images, their augmentation, and dropout.
        saved: where the state is kept, at times and when a signal asks to stop; the training is continued from there.
        monitor: told of every step and epoch.
        teaching: answers for ``step.teacher``.
        devices: how many; each takes its part of every batch, and all together learn what one alone would.
        save_seconds: between two writings of the state.
        build: the module that learns; its state dict is what the result holds.

    Raises:
        CheckpointError: ``saved`` holds another training.
        DataError: too few training images for a batch.
        TrainingDiverged: the loss is not finite, even at rates lowered three times.
        Stopped, KeyboardInterrupt: a signal asked for it; the state is kept.
    """
    fabric = launched(devices, step, checkpoint.network)
    images = nearest(dataset.split("train"), fabric.device)
    feed = Feed.of(images, step, seed, fabric.global_rank, fabric.world_size)
    training = _identity(checkpoint, step, dataset, seed)
    keep = partial(snapshot.save, saved, training=training)
    lowered = 0
    while True:
        learner = Learner(checkpoint, step, feed, fabric, monitor, teaching, build)
        fabric.barrier()
        if saved.exists():
            snapshot.restore(saved, learner.state, training)
        lowered = learner.state.lowered = max(lowered, learner.state.lowered)
        try:
            _run(learner, dataset.split("val"), keep, monitor, save_seconds)
            result = learner.result(checkpoint)
            if learner.settled:
                return result
            few = dataset.split("train").take(SAMPLES, seed)
            monitor.say(f"batch statistics are estimated anew: {feed.total} steps are too few to settle them")
            return recalibrated(result, few)
        except _NotFinite:
            monitor.record("not finite", {"step": learner.state.done, "lr": learner.rate})
            lowered, rate = lowered + 1, step.optimizer.lr * LOWER**lowered
        finally:
            learner.close()
        if lowered > ATTEMPTS:
            raise TrainingDiverged(
                f"train: the loss is not finite, even at a learning rate lowered {ATTEMPTS} times, to {rate:.3g}; "
                f"lower the learning rate (found {step.optimizer.lr}) or clip the gradient (found {step.clip})"
            )
        place = f"what was kept in {saved.name}" if saved.exists() else "its beginning"
        monitor.say(f"the loss is no longer finite: back to {place}, at {LOWER**lowered:g} of the learning rate")


def _run(learner: Learner, val: Split, keep: Callable[[State], None], monitor: Monitor, save_seconds: float) -> None:
    """All steps that are left. Raises _NotFinite."""
    state, feed, fabric, step = learner.state, learner.feed, learner.fabric, learner.step
    kept = started = time.monotonic()
    plain = step.compile == "none"
    with reused(fabric.device), products(fabric.device) if plain else nullcontext(), stop_requests() as stop:
        for index, chosen, batch in feed.after(state.done):
            learner.learn(index, chosen, batch)
            monitor.progress(f"train {step.epochs} epochs", state.done, feed.total)
            ended = state.done % feed.steps == 0
            if (ended or state.done % _CHECKED == 0) and anyone(fabric, not state.loss.isfinite()):
                raise _NotFinite
            if ended:
                facts = {
                    "epoch": state.done // feed.steps,
                    "loss": float(summed(fabric, state.loss)) / (feed.steps * fabric.world_size),
                    "lr": learner.rate,
                    "seconds": time.monotonic() - started,
                    "val": accuracy(learner, val),
                }
                monitor.record("epoch", facts)
                state.loss.zero_()
                started = time.monotonic()
            last = state.done == feed.total
            if last and anyone(fabric, not state.finite):
                raise _NotFinite
            looks = fabric.world_size == 1 or last or state.done % _ASKED == 0
            asked = looks and anyone(fabric, stop.signal is not None)
            if last and not asked:
                return
            due = asked or time.monotonic() - kept > save_seconds
            if due and fabric.is_global_zero and state.finite:
                keep(state)
                kept = time.monotonic()
            if asked:
                fabric.barrier()
                stop.end()


def _identity(checkpoint: Checkpoint, step: Train, dataset: Dataset, seed: int) -> str:
    """Which training it is, by all but the weights that it starts from."""
    parts = (digest(step), digest(checkpoint.network), dataset.identity, str(seed))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def accuracy(learner: Learner, val: Split) -> float:
    """The fraction of validation images that the weights to be kept answer correctly now; each process takes a part."""
    fabric: Fabric = learner.fabric
    hits = torch.zeros((), device=fabric.device)
    every = list(chunks(len(val), 128))
    with torch.inference_mode(), learner.evaluating() as answer:
        for images, labels in val.read(every[fabric.global_rank :: fabric.world_size]):
            found = answer(*(each.to(fabric.device) for each in images)).argmax(1)
            hits += (found == labels.to(fabric.device)).sum()
    return float(summed(fabric, hits)) / len(val)
