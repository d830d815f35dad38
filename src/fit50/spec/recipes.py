"""The named trainings, each with its paper, what was published of it, and where ours is another.

Published accuracies are ImageNet top-1 in per cent of a ResNet-50 at 224x224 with 1000 classes. Two differences are the
same everywhere: norms and biases do not decay, and a warm-up begins at a rate of zero.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

from fit50.spec.errors import SpecError
from fit50.spec.presets import EFFORTS
from fit50.spec.training import LAMB, SGD, Augment, RandAugment, Steps, Train, TrivialAugment
from fit50.spec.value import suggestion

PUBLISHED_AT = 224
"""Pixels of the inputs for which the sizes of training images were published."""
INCEPTION = (0.08, 1.0)
"""The areas of random resized crops (Szegedy et al. 2015)."""


def quick() -> Train:
    """What ``--effort quick`` trains with: 30 epochs of AdamW with averaged weights. Nothing published."""
    return EFFORTS["quick"].train


def classic() -> Train:
    """He et al. 2015: SGD in batches of 256, its rate of 0.1 divided by ten when the error stops falling: 75.3.

    In 90 epochs, divided at 30 and 60, as torchvision does: 76.13. Published with decay of everything. The paper
    trained for 120 epochs on crops of images whose shorter side was 256 to 480 pixels, colours altered; ours are
    torchvision's random resized crops.
    """
    return Train(
        epochs=90,
        batch=256,
        optimizer=SGD(lr=0.1, nesterov=False, weight_decay=1e-4),
        schedule=Steps(at=(30 / 90, 60 / 90)),
        warmup=0.0,
        label_smoothing=0.0,
        ema=None,
        clip=None,
        augment=Augment(crop=INCEPTION),
    )


def tv2() -> Train:
    """The second recipe of torchvision (Vryniotis 2021): 600 epochs of SGD in batches of 1024: 80.86.

    There one batch is mixed by one method, here each pair draws its own, and the average took in every 32nd step; ours
    takes in each one, at the same rate (1 - 2e-5 * 1024 / 600). Tested on the centre of images of 232 pixels: an
    input's ``crop_fraction`` of 0.966.
    """
    return Train(
        epochs=600,
        batch=1024,
        repeats=4,
        optimizer=SGD(lr=0.5, nesterov=False, weight_decay=2e-5),
        warmup=5 / 600,
        label_smoothing=0.1,
        ema=0.999966,
        clip=None,
        augment=Augment(crop=INCEPTION, policy=TrivialAugment(), erasing=0.1, mixup=0.2, cutmix=1.0),
        size=176,
    )


def a1() -> Train:
    """Procedure A1 of "ResNet strikes back" (Wightman et al. 2021, table 2): 600 epochs in batches of 2048: 80.4.

    Published with timm's RandAugment, whose 15 operations are each left out half of the time, ours are 14 and never
    left out; and with one method of mixing for each batch, where each pair draws its own here. Tested at a
    ``crop_fraction`` of 0.95. The limit of 1 on the gradient's norm is that of LAMB's implementations.
    """
    return _strikes_back(
        epochs=600, lr=5e-3, decay=0.01, magnitude=7, mixup=0.2, label_smoothing=0.1, drop_path=0.05, repeats=3
    )


def a2() -> Train:
    """Procedure A2 (Wightman et al. 2021): 300 epochs in batches of 2048: 79.8. Differs as A1 does."""
    return _strikes_back(epochs=300, lr=5e-3, decay=0.02, magnitude=7, mixup=0.1, drop_path=0.05, repeats=3)


def a3() -> Train:
    """Procedure A3 (Wightman et al. 2021): 100 epochs in batches of 2048, at 160 pixels, tested at 224: 78.1.

    Differs as A1 does; without its repeated augmentation.
    """
    return _strikes_back(epochs=100, lr=8e-3, decay=0.02, magnitude=6, mixup=0.1, size=160)


def _strikes_back(
    *,
    epochs: int,
    lr: float,
    decay: float,
    magnitude: float,
    mixup: float,
    label_smoothing: float = 0.0,
    drop_path: float | None = None,
    repeats: int = 1,
    size: int | None = None,
) -> Train:
    policy = RandAugment(ops=2, magnitude=magnitude, spread=0.5)
    return Train(
        epochs=epochs,
        batch=2048,
        repeats=repeats,
        optimizer=LAMB(lr=lr, weight_decay=decay),
        warmup=5 / epochs,
        loss="bce",
        label_smoothing=label_smoothing,
        ema=None,
        clip=1.0,
        drop_path=drop_path,
        augment=Augment(crop=INCEPTION, policy=policy, mixup=mixup, cutmix=1.0),
        size=size,
    )


def finetune() -> Train:
    """From trained weights, as Howard and Ruder 2018 do for text: the head alone first, then all, the stem slowest.

    Theirs are the ratio of 2.6 between the rates of neighbouring depths and the rise over a tenth of the training; they
    thaw a layer an epoch, ours thaws all at once. Nesterov's SGD and the cosine are those of Kornblith et al. 2019, who
    searched for rate and decay on each data set: search yours. The other figures are ours, and nothing is published.
    """
    return Train(
        epochs=20,
        optimizer=SGD(lr=0.02, weight_decay=1e-4),
        warmup=0.1,
        stage_decay=1 / 2.6,
        frozen=0.1,
        augment=Augment(crop=(0.25, 1.0)),
    )


def lowdata() -> Train:
    """From scratch on little data: long, in small batches, with strong decay, augmentation and stochastic depth.

    Brigato et al. 2021 found that cross-entropy with a well chosen rate, decay and batch does better on 50 images a
    class or so than all but one of eight special methods. They searched on each data set, which beats any preset, and
    augmented less. The figures here are ours, and nothing is published.
    """
    return Train(
        epochs=200,
        batch=32,
        optimizer=SGD(lr=0.02, weight_decay=2e-3),
        warmup=0.05,
        ema=0.999,
        drop_path=0.1,
        augment=Augment(crop=(0.25, 1.0), policy=TrivialAugment(), erasing=0.25, cutmix=1.0, mixing=0.5),
    )


RECIPES: dict[str, Callable[[], Train]] = {
    "quick": quick,
    "classic": classic,
    "tv2": tv2,
    "a1": a1,
    "a2": a2,
    "a3": a3,
    "finetune": finetune,
    "lowdata": lowdata,
}


def recipe(name: str, *, size: int = PUBLISHED_AT) -> Train:
    """A named training for inputs of so many pixels, of which its images keep their share. Raises SpecError."""
    if name not in RECIPES:
        raise SpecError(f"recipe {name!r}: unknown{suggestion(name, RECIPES)}")
    step = RECIPES[name]()
    return step if step.size is None else step.model_copy(update={"size": round(step.size * size / PUBLISHED_AT)})


def scaled(step: Train, batch: int) -> Train:
    """The same training in batches of another size.

    The rate of SGD grows with the batch (Goyal et al. 2017), that of AdamW and LAMB with its square root (You et al.
    2020, Malladi et al. 2022), and the average forgets as much for each image as before (Busbridge et al. 2023).
    """
    ratio = batch / step.batch
    factor = ratio if isinstance(step.optimizer, SGD) else sqrt(ratio)
    optimizer = step.optimizer.model_copy(update={"lr": step.optimizer.lr * factor})
    ema = step.ema**ratio if step.ema is not None else None
    return step.model_copy(update={"batch": batch, "optimizer": optimizer, "ema": ema})
