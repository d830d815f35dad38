from __future__ import annotations

import random
from dataclasses import fields

import numpy as np
import pytest
import torch

from fit50.data.draws import Draws, draw
from fit50.spec.training import Augment, RandAugment

EVERYTHING = Augment(shift=2, crop=(0.1, 1), policy=RandAugment(), erase=5, erasing=0.5, mixup=0.4, cutmix=1)
N = 4000


def drawn(how: Augment, source: tuple[int, int] = (64, 64), target: tuple[int, int] = (32, 48), n: int = N) -> Draws:
    return draw(n, how, source, target, torch.Generator().manual_seed(0))


def test_rows_are_taken_from_every_tensor() -> None:
    draws = drawn(EVERYTHING, n=9)
    part = draws[2:6]
    assert (len(draws), len(part), part.size) == (9, 4, (32, 48))
    for field in fields(Draws)[1:]:
        assert torch.equal(getattr(part, field.name), getattr(draws, field.name)[2:6])


def test_no_other_generator_is_touched() -> None:
    before = torch.get_rng_state(), str(np.random.get_state()), random.getstate()
    drawn(EVERYTHING)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (str(np.random.get_state()), random.getstate()) == before[1:]


def test_nothing_asked_draws_what_changes_nothing() -> None:
    draws = drawn(Augment(flip=0))
    assert not draws.flip.any()
    assert not draws.shift.any()
    assert (draws.box == torch.tensor([0, 0, 64, 64])).all()
    assert draws.operations.shape == (N, 0)
    assert draws.holes.shape == (N, 0, 4)
    assert not draws.patch.any()
    assert (draws.blend == 1).all()
    assert (draws.share == 1).all()


def test_flips_and_shifts_are_as_likely_as_said() -> None:
    draws = drawn(Augment(flip=0.3, shift=2))
    assert draws.flip.float().mean() == pytest.approx(0.3, abs=0.03)
    for moves in draws.shift.T:
        assert torch.bincount(moves + 2).tolist() == pytest.approx([N / 5] * 5, rel=0.15)
    assert drawn(Augment(flip=1)).flip.all()


def test_crops_have_the_areas_and_ratios_and_lie_anywhere() -> None:
    top, left, height, width = drawn(Augment(crop=(0.1, 0.5)), source=(200, 300)).box.double().T
    area, ratio = height * width / 60_000, (width / height).log()
    assert area.min() > 0.097
    assert area.max() < 0.503
    assert area.mean() == pytest.approx(0.3, abs=0.01)
    assert ratio.exp().min() > 0.74
    assert ratio.exp().max() < 1.35
    assert ratio.mean() == pytest.approx(0, abs=0.01)
    assert ((top >= 0) & (left >= 0) & (top + height <= 200) & (left + width <= 300)).all()
    for place in (top / (200 - height), left / (300 - width)):
        assert place.mean() == pytest.approx(0.5, abs=0.02)
        assert place.min() < 0.01
        assert place.max() > 0.99


@pytest.mark.parametrize(("source", "kept"), [((30, 100), (30, 40)), ((100, 30), (40, 30)), ((50, 50), (50, 50))])
def test_a_crop_that_never_fits_is_the_whole_image_cut_to_the_nearest_ratio(
    source: tuple[int, int], kept: tuple[int, int]
) -> None:
    box = drawn(Augment(crop=(1, 1)), source=source, n=50).box
    if source[0] != source[1]:
        assert (box[:, 2:] == torch.tensor(kept)).all()
        assert len(box[:, :2].unique(dim=0)) > 10
    assert (box[:, 2:] <= torch.tensor(source)).all()
    assert (box[:, 2:].prod(1) >= 0.9 * kept[0] * kept[1]).all()


def test_holes() -> None:
    square, hole = drawn(Augment(erase=5, erasing=0.25), target=(100, 80)).holes.unbind(1)
    assert (square[:, 2:] == 5).all()
    centre = square[:, :2] + 2
    assert centre.amin(0).tolist() == [0, 0]
    assert centre.amax(0).tolist() == [99, 79]
    erased = hole[:, 2] > 0
    assert erased.float().mean() == pytest.approx(0.25, abs=0.03)
    assert not hole[~erased].any()
    top, left, height, width = hole[erased].double().T
    area = height * width / 8000
    assert area.min() > 0.017
    assert area.max() < 0.335
    assert area.mean() == pytest.approx(0.175, abs=0.01)
    assert (width / height).min() > 0.27
    assert (width / height).max() < 3.6
    assert ((top + height <= 100) & (left + width <= 80)).all()


@pytest.mark.parametrize("target", [(32, 256), (3, 300)])
def test_where_no_hole_fits_there_is_none(target: tuple[int, int]) -> None:
    hole = drawn(Augment(erasing=1), target=target).holes[:, 0]
    area = hole[:, 2:].prod(1) / (target[0] * target[1])
    assert area.max() < 0.35, "the largest that is drawn, not the largest that fits"
    assert not hole[area == 0].any()
    assert (area == 0).any()


def test_pairs_draw_the_same() -> None:
    draws = drawn(Augment(mixup=0.4, cutmix=1, mixing=0.5))
    for name in ("patch", "blend", "share"):
        both = getattr(draws, name)
        assert torch.equal(both[::2], both[1::2])
    assert drawn(EVERYTHING, n=7).share.shape == (7,)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_draws_betas(alpha: float) -> None:
    draws = drawn(Augment(mixup=alpha))
    assert torch.equal(draws.share, draws.blend)
    assert not draws.patch.any()
    share = draws.share[::2]
    assert share.mean() == pytest.approx(0.5, abs=0.03)
    assert share.var() == pytest.approx(1 / (8 * alpha + 4), rel=0.08)


def test_cutmix_keeps_the_share_outside_the_patch() -> None:
    draws = drawn(Augment(cutmix=1.0))
    top, left, height, width = draws.patch.T
    assert ((top >= 0) & (left >= 0) & (top + height <= 32) & (left + width <= 48)).all()
    assert torch.allclose(draws.share, 1 - (height * width) / (32 * 48))
    assert (draws.blend == 1).all()
    inside = (top > 0) & (left > 0) & (top + height < 32) & (left + width < 48) & (height > 9)
    assert (width[inside] / height[inside]).mean() == pytest.approx(48 / 32, rel=0.02)


def test_a_pair_is_blended_or_pasted_or_neither() -> None:
    draws = drawn(Augment(mixup=1.0, cutmix=1.0, mixing=0.6))
    blended, pasted = draws.blend < 1, draws.patch.any(1)
    assert not (blended & pasted).any()
    assert blended.float().mean() == pytest.approx(0.3, abs=0.04)
    assert pasted.float().mean() == pytest.approx(0.3, abs=0.04)
    assert (draws.share[~(blended | pasted)] == 1).all()
