"""The training loop, on one screen."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Literal

import torch
from lightning_fabric import Fabric
from torch import nn

from fit50.data.augment import augment
from fit50.data.dataset import Dataset
from fit50.evaluate.metrics import correct
from fit50.nn.activation import anneal
from fit50.nn.deployed import Normalize
from fit50.spec.errors import CheckpointError, DataError, TrainingDiverged
from fit50.spec.machine import has_bf16
from fit50.spec.monitor import Monitor
from fit50.spec.training import Train
from fit50.train import snapshot
from fit50.train.losses import loss
from fit50.train.optim import averaged, optimizer, rate
from fit50.weights.checkpoint import Checkpoint


def precision(step: Train) -> Literal["bf16-mixed", "32-true"]:
    """Fabric's name for the precision of a training on this machine."""
    native = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else has_bf16()
    return "bf16-mixed" if step.precision == "bf16" or (step.precision == "auto" and native) else "32-true"


def train(
    checkpoint: Checkpoint,
    step: Train,
    dataset: Dataset,
    *,
    seed: int,
    saved: Path,
    monitor: Monitor,
    teacher: nn.Module | None = None,
    save_seconds: float = 30.0,
) -> Checkpoint:
    """Trains a checkpoint on the dataset's training split.

    Every epoch draws from a generator of its own, so that a training resumed after an epoch ends with the same bits.
    An activation that has a ``start`` is annealed, and the result's network has it at its end.

    Args:
        checkpoint: where to start; its input says the size of the images.
        step: epochs, optimizer, schedule, augmentation.
        dataset: its train split is learned from; its val split is only reported.
        seed: decides the order of the images, their augmentation, and dropout.
        saved: where an unfinished training is kept, at the end of an epoch, ``save_seconds`` apart; it is continued
            from there.
        monitor: told of every epoch.
        teacher: a module in evaluation mode, for ``step.teacher``.

    Raises:
        CheckpointError: ``saved`` holds another training.
        DataError: fewer training images than make one batch of two.
        TrainingDiverged: the loss is no longer finite.
    """
    images, image = dataset.split("train"), checkpoint.network.image
    batch = min(step.batch, len(images))
    if batch < 2:
        raise DataError(f"train: expected at least 2 training images (batch statistics need them), found {len(images)}")
    steps = len(images) // batch

    fabric = Fabric(accelerator="auto", devices=1, precision=precision(step))
    module = checkpoint.module().train().to(memory_format=torch.channels_last)
    average = averaged(module, step.ema).to(fabric.device) if step.ema is not None else None
    optim = optimizer(module, step.optimizer)
    model, optim_ = fabric.setup(module, optim)
    epochs_done = snapshot.restore(saved, module, optim, average)
    if epochs_done >= step.epochs:
        raise CheckpointError(f"{saved}: holds {epochs_done} epochs of another training; remove it")
    normalize = Normalize(image).to(fabric.device)
    if teacher is not None:
        teacher = teacher.to(fabric.device).to(memory_format=torch.channels_last)
    label = f"train {step.epochs} epochs"
    last_save = time.monotonic()

    for epoch in range(epochs_done, step.epochs):
        generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
        torch.manual_seed(seed * 100_003 + epoch)  # dropout draws from the global generator
        total, started = torch.zeros((), device=fabric.device), time.monotonic()
        for index, (pixels, labels) in enumerate(images.batches(batch, generator, drop_last=True)):
            position = (epoch * steps + index + 1) / (step.epochs * steps)
            for group in optim.param_groups:
                group["lr"] = step.optimizer.lr * rate(position, step.warmup)
            pixels, labels = pixels.to(fabric.device), labels.to(fabric.device)
            anneal(module, position / step.anneal)
            x = normalize(augment(pixels, step.augment, generator))  # (N, C, H, W), channels last
            with torch.no_grad(), fabric.autocast():
                taught = teacher(x) if teacher is not None else None
            objective = loss(step, model(x), labels, taught)
            fabric.backward(objective)
            if step.clip is not None:
                fabric.clip_gradients(model, optim_, max_norm=step.clip, error_if_nonfinite=False)
            optim_.step()
            optim_.zero_grad()
            if average is not None:
                average.update_parameters(module)
            total += objective.detach()
            monitor.progress(label, epoch * steps + index + 1, step.epochs * steps)
        mean = float(total) / steps
        if not math.isfinite(mean):
            raise TrainingDiverged(
                f"train: the loss became {mean} in epoch {epoch + 1}; lower the learning rate "
                f"(found {step.optimizer.lr}) or clip the gradient (found {step.clip})"
            )
        seconds = time.monotonic() - started
        current = average.module if average is not None else module
        anneal(current, position / step.anneal)
        monitor.record(
            "epoch",
            {"epoch": epoch + 1, "loss": mean, "seconds": seconds, "val": _accuracy(current, dataset, normalize)},
        )
        if time.monotonic() - last_save > save_seconds and epoch + 1 < step.epochs:
            snapshot.save(saved, epoch + 1, module, optim, average)
            last_save = time.monotonic()

    kept = average.module if average is not None else module
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in kept.state_dict().items()}
    return checkpoint.with_(network=checkpoint.network.settled(), tensors=tensors)


def _accuracy(module: nn.Module, dataset: Dataset, normalize: Normalize) -> float:
    """The fraction of validation images that a module answers correctly now."""
    training = module.training
    module.eval()
    answers = correct(lambda pixels: module(normalize(pixels)), dataset.split("val"), normalize.scale.device)
    module.train(training)
    return float(answers.mean())
