"""Quantisation-aware training: weights learn to be rounded, from the answers of the float network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import torch

from fit50.data.dataset import Dataset
from fit50.nn.resnet import ResNet
from fit50.runtimes.base import Calibration
from fit50.runtimes.qat import Rounding, learned_ranges, trained_tensors
from fit50.runtimes.reference import TorchSession
from fit50.spec.monitor import Monitor
from fit50.spec.numerics import Int8, Learned
from fit50.spec.recipe import Quantize
from fit50.spec.training import SGD, Teacher, Train
from fit50.train import train
from fit50.train.statistics import SAMPLES, recalibrated
from fit50.train.teachers import teaching
from fit50.weights.checkpoint import Checkpoint


def trained_to_round(
    checkpoint: Checkpoint,
    step: Quantize,
    dataset: Dataset,
    judges: Calibration,
    *,
    seed: int,
    saved: Path,
    monitor: Monitor,
) -> Checkpoint:
    """The checkpoint with weights that were trained through the rounding, and with the ranges that this found.

    The batch statistics are estimated anew first, and then stay, so that what is trained is what the file computes.

    Args:
        checkpoint: the float network, which is also the teacher.
        step: epochs, rate, augmentation, for which processors.
        dataset: whose training split is learned from.
        judges: by whose validation images the float network's accuracy is remembered.
        seed: decides everything random.
        saved: where the state is kept.
        monitor: told of every step and epoch.

    Raises:
        RuntimeRefusal, MissingExtraError: see ``Rounding``.
    """
    teacher = Teacher(after=1, weight=step.distillation)  # the checkpoint at hand, whatever came before
    training = Train(
        epochs=step.epochs,
        batch=step.batch,
        optimizer=SGD(lr=step.lr),
        augment=step.augment,
        ema=None,
        precision="float32",
        teacher=teacher,
    )
    learned = train(
        recalibrated(checkpoint, dataset.split("train").take(SAMPLES, seed)),
        training,
        dataset,
        seed=seed,
        saved=saved,
        monitor=monitor,
        teaching=teaching(teacher, checkpoint, checkpoint.network.inputs, dataset.classes),
        build=lambda start: cast(ResNet, Rounding(start, step.saturates)),  # for it takes and gives the same
    ).tensors
    ranges = Learned(
        ranges=learned_ranges(learned), accuracy=judges.accuracy(TorchSession(torch, checkpoint, None).run)
    )
    return replace(
        checkpoint,
        tensors=dict(checkpoint.tensors) | trained_tensors(learned),
        numerics=Int8(
            dataset=dataset.identity, samples=len(dataset.split("train")), max_drop=step.max_drop, learned=ranges
        ),
    )
