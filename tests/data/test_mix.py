from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fit50.data.augment import Draws, draw, mix
from fit50.spec.training import Augment

MIXUP, CUTMIX, BOTH = Augment(mixup=0.5), Augment(cutmix=1.0), Augment(mixup=0.5, cutmix=1.0, mixing=0.7)


def drawn(how: Augment, n: int) -> Draws:
    return draw(n, how, (8, 6), (8, 6), torch.Generator().manual_seed(0))


def images(n: int) -> Tensor:
    return torch.randint(0, 256, (n, 8, 6, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("how", [Augment(), Augment(mixup=0.5, mixing=0)])
def test_nothing_asked_is_nothing_done(how: Augment) -> None:
    given, targets = (images(4),), torch.eye(4)
    mixed, labels = mix(given, targets, how, drawn(how, 4))
    assert mixed is given
    assert labels is targets


def test_mixup_blends_neighbours() -> None:
    given, draws = images(6), drawn(MIXUP, 6)
    (mixed,), labels = mix((given,), torch.eye(6), MIXUP, draws)
    for row, own in enumerate(draws.blend.tolist()):
        other = row ^ 1
        expected = own * given[row].double() + (1 - own) * given[other].double()
        assert (mixed[row].double() - expected).abs().max() <= 0.5001
        assert labels[row, row] == pytest.approx(own, abs=1e-6)
        assert labels[row, other] == pytest.approx(1 - own, abs=1e-6)
    assert mixed.dtype == torch.uint8


def test_floats_stay_floats() -> None:
    given, draws = images(6), drawn(BOTH, 6)
    (whole,), _ = mix((given,), torch.eye(6), BOTH, draws)
    (mixed,), _ = mix((given.float(),), torch.eye(6), BOTH, draws)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed.round().to(torch.uint8), whole)
    assert not torch.equal(mixed, mixed.round())


def test_cutmix_pastes_the_neighbours_pixels_in_place() -> None:
    given, draws = images(40), drawn(CUTMIX, 40)
    (mixed,), labels = mix((given,), torch.eye(40), CUTMIX, draws)
    expected = given.clone()
    for row, (top, left, height, width) in enumerate(draws.patch.tolist()):
        patch = slice(top, top + height), slice(left, left + width)
        expected[row][patch] = given[row ^ 1][patch]
        assert labels[row, row ^ 1] == pytest.approx(height * width / 48, abs=1e-6)
    assert torch.equal(mixed, expected)


@pytest.mark.parametrize("how", [MIXUP, CUTMIX, BOTH])
@pytest.mark.parametrize("n", [1, 7, 8])
def test_labels_sum_to_one_and_an_odd_last_sample_stays_alone(how: Augment, n: int) -> None:
    given, soft = images(n), torch.rand(n, 5).softmax(1)
    before = given.clone()
    (one, other), labels = mix((given, given.clone()), soft, how, drawn(how, n))
    assert torch.allclose(labels.sum(1), torch.ones(n))
    assert torch.equal(one, other)
    assert torch.equal(given, before)
    if n % 2:
        assert torch.equal(one[-1], given[-1])
        assert torch.equal(labels[-1], soft[-1])
