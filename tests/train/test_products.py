"""Convolutions as products: the same results, and only where they are meant to be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fit50.train.products import products

CPU = torch.device("cpu")


def results(convolution: nn.Conv2d, x: Tensor, *, faster: bool, bf16: bool = False) -> tuple[Tensor, ...]:
    """The output, and the gradients of input and weight of a weighted sum of it."""
    convolution.zero_grad()
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        if faster:
            with products(CPU):
                found = convolution(x)
        else:
            found = convolution(x)
    torch.manual_seed(1)
    (found.float() * torch.randn(found.shape)).sum().backward()
    assert x.grad is not None
    assert convolution.weight.grad is not None
    return found.detach(), x.grad, convolution.weight.grad.clone()


@pytest.mark.parametrize("side", [1, 2, 5, 8])
@pytest.mark.parametrize(
    "shape",
    [
        {"kernel_size": 1},
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": (1, 3), "padding": (0, 1), "stride": (2, 1)},
        {"kernel_size": 7, "padding": 3, "stride": 2},
    ],
    ids=str,
)
def test_products_equal_the_convolution(shape: dict[str, int], side: int) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(6, 10, **shape, bias=False).to(memory_format=torch.channels_last)  # type: ignore[arg-type]
    x = torch.randn(4, 6, side, side + 1).contiguous(memory_format=torch.channels_last)
    plain, faster = (results(convolution, x, faster=each) for each in (False, True))
    for wanted, found in zip(plain, faster, strict=True):
        assert found.dtype == wanted.dtype
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert faster[0].is_contiguous(memory_format=torch.channels_last)


def test_products_compute_in_what_autocast_says() -> None:
    torch.manual_seed(0)
    for convolution in (nn.Conv2d(16, 32, 1, 2, bias=False), nn.Conv2d(16, 32, 3, 1, 1, bias=False)):
        x = torch.randn(8, 16, 6, 6)
        plain, faster = (results(convolution, x, faster=each, bf16=True) for each in (False, True))
        assert faster[0].dtype == torch.bfloat16
        for wanted, found in zip(plain, faster, strict=True):
            assert found.dtype == wanted.dtype
            assert (found - wanted).abs().max() <= 0.02 * wanted.abs().max()


def test_only_small_maps_that_learn_are_products() -> None:
    convolution, small, large = nn.Conv2d(4, 4, 1, bias=False), torch.randn(2, 4, 4, 4), torch.randn(2, 4, 64, 64)

    def name(convolution: nn.Conv2d, x: Tensor) -> str:
        with products(CPU):
            function = convolution(x).grad_fn
        return type(function).__name__

    assert name(convolution, small) == "_PointwiseBackward"
    assert name(nn.Conv2d(4, 4, 3, bias=False), small) == "_SpatialBackward"
    assert name(convolution, large) == "ConvolutionBackward0"
    assert name(nn.Conv2d(4, 4, 1, groups=2, bias=False), small) == "ConvolutionBackward0"
    assert name(nn.Conv2d(4, 4, 1), small) == "ConvolutionBackward0"
    assert name(nn.Conv2d(4, 4, 3, dilation=2, padding=2, bias=False), small) == "ConvolutionBackward0"
    with torch.no_grad():
        assert name(convolution, small) == "NoneType"


@pytest.mark.parametrize("shape", [(1, 1), (1, "same"), (2, 0), ([2, 1], [1, 1])], ids=str)
def test_what_is_not_said_in_pairs_is_left_to_torch(shape: tuple[Any, ...]) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 4, 5, 5), torch.randn(6, 4, 3, 3, requires_grad=True)
    with products(CPU):
        found = nn.functional.conv2d(x, weight, None, *shape)
    assert type(found.grad_fn).__name__ == "ConvolutionBackward0"
    assert torch.equal(found, nn.functional.conv2d(x, weight, None, *shape))


def test_frozen_weights_get_no_gradient() -> None:
    for convolution in (nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(4, 4, 3, bias=False)):
        convolution.requires_grad_(False)
        x = torch.randn(2, 4, 4, 4, requires_grad=True)
        with products(CPU):
            convolution(x).sum().backward()
        assert x.grad is not None
        assert convolution.weight.grad is None
