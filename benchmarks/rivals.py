"""The other training loops: torchvision's reference and timm's script, each with the settings that suit it best.

Each trains a ResNet-50 for ten classes on the same files by the same recipe: random resized crop, mirroring, ImageNet's
normalisation, label smoothing, SGD with Nesterov momentum (fused), channels last, bfloat16 where the processor computes
in it, no average of the weights. What the scripts do for people (meters, logs, checkpoints) is left out where it costs
time. Both never end by themselves: they call ``tick`` after every step.

torchvision: references/classification of its repository, 0.29: ``ImageFolder``, ``DataLoader``, transforms v2 on PIL
images or on tensors (its ``--backend``).

timm: train.py of its repository, 1.0.31, ``--opt sgd --opt-kwargs fused=True --amp --amp-dtype bfloat16
--channels-last --smoothing 0.1 --color-jitter 0 --train-interpolation bilinear``, with and without ``--no-prefetcher``
and ``--torchcompile``; its own defaults otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

Tick = Callable[[], None]

CLASSES = 10
LR, MOMENTUM, DECAY, SMOOTHING = 0.01, 0.9, 5e-5, 0.1
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AREA = (0.08, 1.0)


@dataclass(frozen=True)
class Job:
    """What is the same for all: the folder ``train/<class>/*`` below ``root``, pixels of a side, images in a step."""

    root: Path
    size: int
    batch: int
    bf16: bool

    def autocast(self) -> AbstractContextManager[object]:
        """bfloat16 in matrix products and convolutions, or nothing."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.bf16)


@dataclass(frozen=True)
class Settings:
    """What each may choose for itself.

    Attributes:
        workers: processes that load images; 0 for loading between the steps.
        tensors: images are augmented as tensors instead of as PIL images (torchvision); are collated as bytes, and
            normalised as a batch by timm's prefetcher instead of one by one (timm).
        compiled: by torch.compile.
        memory: freed memory is kept, as fit50 does by itself; others can be told so from outside.
    """

    workers: int = 0
    tensors: bool = False
    compiled: bool = False
    memory: bool = False


def torchvision_loop(job: Job, settings: Settings, tick: Tick) -> None:
    """References/classification/train.py."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.models import resnet50
    from torchvision.transforms import v2

    to_tensor = v2.PILToTensor()
    crop = (v2.RandomResizedCrop(job.size, scale=AREA, antialias=True), v2.RandomHorizontalFlip())
    normalize = (v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD))
    steps = (to_tensor, *crop) if settings.tensors else (*crop, to_tensor)
    loader: Iterable[tuple[Tensor, Tensor]] = DataLoader(
        ImageFolder(job.root / "train", v2.Compose([*steps, *normalize])),
        batch_size=job.batch,
        shuffle=True,
        drop_last=True,
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
    )
    model: nn.Module = resnet50(num_classes=CLASSES).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(
        model.parameters(), LR, momentum=MOMENTUM, weight_decay=DECAY, nesterov=True, fused=True
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    if settings.compiled:
        model = torch.compile(model)
    while True:
        for images, labels in loader:
            with job.autocast():
                loss = criterion(model(images.contiguous(memory_format=torch.channels_last)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            tick()


def timm_loop(job: Job, settings: Settings, tick: Tick) -> None:
    """train.py, assembled from the parts that the package has."""
    import timm
    from timm.data import create_dataset, create_loader
    from timm.optim import create_optimizer_v2
    from timm.task import ClassificationTask

    device = torch.device("cpu")
    model = timm.create_model("resnet50", num_classes=CLASSES).to(memory_format=torch.channels_last)
    loader = create_loader(
        create_dataset("", root=str(job.root), split="train", is_training=True),
        input_size=(3, job.size, job.size),
        batch_size=job.batch,
        is_training=True,
        scale=AREA,
        color_jitter=0.0,
        interpolation="bilinear",
        mean=MEAN,
        std=STD,
        num_workers=settings.workers,
        device=device,
        use_prefetcher=settings.tensors,
    )
    optimizer = create_optimizer_v2(model, "sgd", lr=LR, weight_decay=DECAY, momentum=MOMENTUM, fused=True)
    task = ClassificationTask(model, criterion_kwargs={"smoothing": SMOOTHING}, device=device, verbose=False)
    if settings.compiled:
        task.compile()
    task.train()
    while True:
        for images, labels in loader:
            with job.autocast():
                loss = task(images.contiguous(memory_format=torch.channels_last), labels)["loss"]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            tick()
