"""The named trainings against what their papers print, and what another batch or size makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from fit50.spec.errors import SpecError
from fit50.spec.presets import EFFORTS
from fit50.spec.recipes import RECIPES, recipe, scaled
from fit50.spec.training import LAMB, SGD, AdamW, RandAugment, Steps, Train, TrivialAugment


@pytest.mark.parametrize("name", RECIPES)
def test_each_is_a_valid_value_that_survives_being_written(name: str) -> None:
    step = recipe(name)
    assert Train.parse(step.canonical()) == step
    assert RECIPES[name].__doc__


@pytest.mark.parametrize(
    ("name", "facts"),
    [  # epochs, batch, optimizer, rate, decay, warm-up epochs, smoothing, mixup, cutmix, drop path, pixels
        ("classic", (90, 256, "sgd", 0.1, 1e-4, 0, 0.0, 0.0, 0.0, None, None)),
        ("tv2", (600, 1024, "sgd", 0.5, 2e-5, 5, 0.1, 0.2, 1.0, None, 176)),
        ("a1", (600, 2048, "lamb", 5e-3, 0.01, 5, 0.1, 0.2, 1.0, 0.05, None)),
        ("a2", (300, 2048, "lamb", 5e-3, 0.02, 5, 0.0, 0.1, 1.0, 0.05, None)),
        ("a3", (100, 2048, "lamb", 8e-3, 0.02, 5, 0.0, 0.1, 1.0, None, 160)),
    ],
)
def test_the_published_figures(name: str, facts: tuple[Any, ...]) -> None:
    step = recipe(name)
    optimizer, augment = step.optimizer, step.augment
    assert facts == (
        step.epochs,
        step.batch,
        optimizer.kind,
        optimizer.lr,
        optimizer.weight_decay,
        pytest.approx(step.warmup * step.epochs),
        step.label_smoothing,
        augment.mixup,
        augment.cutmix,
        step.drop_path,
        step.size,
    )
    assert augment.crop == (0.08, 1.0) and augment.flip == 0.5 and augment.mixing == 1.0


def test_what_sets_the_recipes_apart() -> None:
    assert recipe("quick") == EFFORTS["quick"].train
    assert recipe("classic").schedule == Steps(at=(1 / 3, 2 / 3), factor=0.1)
    assert recipe("tv2").augment.policy == TrivialAugment() and recipe("tv2").augment.erasing == 0.1
    for name, magnitude in (("a1", 7), ("a2", 7), ("a3", 6)):
        assert recipe(name).augment.policy == RandAugment(ops=2, magnitude=magnitude, spread=0.5)
        assert recipe(name).loss == "bce" and recipe(name).clip == 1.0 and recipe(name).ema is None
    tuned = recipe("finetune")
    assert tuned.frozen == 0.1 and tuned.stage_decay == pytest.approx(0.385, abs=1e-3)


def test_the_average_of_tv2_forgets_as_torchvisions_does() -> None:
    forgets = (1 - 0.99998) * 8 * 128 * 32 / 600  # every 32 steps, by its training script
    assert recipe("tv2").ema == pytest.approx((1 - forgets) ** (1 / 32), abs=1e-6)


@pytest.mark.parametrize(("name", "size", "pixels"), [("tv2", 224, 176), ("a3", 32, 23), ("a1", 32, None)])
def test_training_images_keep_their_share_of_the_input(name: str, size: int, pixels: int | None) -> None:
    assert recipe(name, size=size).size == pixels


def test_an_unknown_name_is_answered_with_a_known_one() -> None:
    with pytest.raises(SpecError, match="recipe 'finetun': unknown; did you mean 'finetune'"):
        recipe("finetun")


@pytest.mark.parametrize(("optimizer", "lr"), [(SGD(lr=0.1), 0.4), (AdamW(lr=0.1), 0.2), (LAMB(lr=0.1), 0.2)])
def test_another_batch_takes_another_rate(optimizer: SGD | AdamW | LAMB, lr: float) -> None:
    step = Train(batch=64, optimizer=optimizer, ema=0.9)
    wider = scaled(step, 256)
    assert (wider.batch, wider.optimizer.lr) == (256, pytest.approx(lr))
    assert wider.ema == pytest.approx(0.9**4)
    assert scaled(wider, 64).optimizer.lr == pytest.approx(0.1)
    assert scaled(step, 64) == step
    assert scaled(step.model_copy(update={"ema": None}), 256).ema is None
