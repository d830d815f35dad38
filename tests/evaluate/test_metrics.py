"""What a model answers, image by image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from fit50.data.images import Images
from fit50.evaluate.metrics import correct, largest_difference, probabilities
from fit50.spec.network import Network
from fit50.weights.checkpoint import Checkpoint

N = 10


@pytest.mark.parametrize("batch", [1, 3, 10, 100])
def test_each_image_has_its_own_answer_in_the_splits_order(batch: int) -> None:
    pixels = np.arange(N, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
    images = Images((pixels,), labels, tuple(map(str, range(N))))
    sizes = []

    def answer(pixels: Tensor) -> Tensor:
        """The image's number modulo 3, but for images 4 and 9."""
        assert torch.is_inference_mode_enabled()
        sizes.append(len(pixels))
        number = pixels[:, 0, 0, 0].long()
        return torch.nn.functional.one_hot((number + ((number == 4) | (number == 9))) % 3, 3) * 2.5

    found = correct(answer, images, batch=batch)
    assert found.dtype == np.bool_
    assert np.flatnonzero(~found).tolist() == [4, 9]
    assert max(sizes) == min(batch, N)


def test_the_largest_difference_of_any_logit(
    narrow: Callable[..., Network], lived_in: Callable[..., Checkpoint]
) -> None:
    before = lived_in(narrow((1, 1)))
    tensors = dict(before.tensors)
    tensors["fc.bias"] = tensors["fc.bias"] + torch.tensor([0.0, -0.5, 0.25, 0.0])
    images = Images((np.zeros((5, 16, 16, 3), np.uint8),), np.zeros(5, np.int64), ("x",) * 5)
    assert largest_difference(before, before, images) == 0
    assert largest_difference(before, before.with_(tensors=tensors), images, batch=2) == pytest.approx(0.5, abs=1e-5)


def test_an_answer_takes_an_array_for_each_input() -> None:
    first, second = (
        np.full((N, 2, 2, c), c, np.uint8) * np.arange(N, dtype=np.uint8)[:, None, None, None] for c in (3, 1)
    )
    images = Images((first, second), np.zeros(N, np.int64), ("",) * N)

    def answer(one: Tensor, other: Tensor) -> Tensor:
        return torch.stack([one[:, 0, 0, 0], other[:, 0, 0, 0]], 1).to(torch.bfloat16)

    found = probabilities(answer, images, batch=4)
    assert found.dtype == np.float32
    assert np.array_equal(found, np.outer(np.arange(N), [3, 1]))
