"""Convolutions of small maps as matrix products, which the CPU computes faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

_POINTWISE = {torch.bfloat16: 4096, torch.float32: 1024}
"""Up to how many pixels of output, over the batch, all of a 1x1 convolution is a product, by what it computes in."""
_SPATIAL = {torch.bfloat16: 1024, torch.float32: 512}
"""Up to how many a larger one's gradient of the weight is a product for each of its taps."""

Pair = tuple[int, int]


@contextmanager
def products(device: torch.device) -> Iterator[None]:
    """Inside, a network that learns on the CPU computes its convolutions of small maps as matrix products.

    oneDNN, which torch calls for a convolution, is slow where many channels meet few pixels: in the last stages of a
    ResNet-50, above all for small images, and most of all in the weight's gradient. From how many pixels on it is the
    faster one again was measured (``benchmarks/step.py``). The result is the same but for rounding.
    """
    if device.type != "cpu":
        yield
        return
    with _Products():
        yield


class _Products(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        learns = func is torch.conv2d and not kwargs and torch.is_grad_enabled()
        if learns and all(isinstance(each, tuple) for each in args[3:6]):  # stride, padding, dilation of nn.Conv2d
            return _conv2d(*args)
        return func(*args, **(kwargs or {}))


def _conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Tensor:
    """As torch.conv2d, (N, C, H, W) and (O, C / groups, K, K) to (N, O, H', W')."""
    if torch.is_autocast_enabled("cpu"):
        x, weight = (tensor.to(torch.get_autocast_dtype("cpu")) for tensor in (x, weight))
    height, width = (
        (size + 2 * pad - kernel) // step + 1
        for size, pad, kernel, step in zip(x.shape[2:], padding, weight.shape[2:], stride, strict=True)
    )
    pointwise = weight.shape[2:] == (1, 1) and padding == (0, 0)
    limits = _POINTWISE if pointwise else _SPATIAL
    if bias is not None or dilation != (1, 1) or groups > 1 or len(x) * height * width > limits.get(x.dtype, 0):
        return torch.conv2d(x, weight, bias, stride, padding, dilation, groups)
    product: Tensor = (_Pointwise if pointwise else _Spatial).apply(x, weight, stride, padding)
    return product


class _Pointwise(torch.autograd.Function):
    """A 1x1 convolution."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        seen = x[:, :, :: stride[0], :: stride[1]]
        ctx.save_for_backward(seen, weight)
        ctx.shape, ctx.stride = x.shape, stride
        return _maps(_rows(seen) @ weight.flatten(1).T, seen)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        seen, weight = ctx.saved_tensors
        rows, of_x, of_weight = _rows(gradient), None, None
        if ctx.needs_input_grad[0]:
            of_x = _maps(rows @ weight.flatten(1), gradient)
            if ctx.stride != (1, 1):
                spread = torch.zeros(ctx.shape, dtype=of_x.dtype).contiguous(memory_format=torch.channels_last)
                spread[:, :, :: ctx.stride[0], :: ctx.stride[1]] = of_x
                of_x = spread
        if ctx.needs_input_grad[1]:
            of_weight = (rows.T @ _rows(seen)).view_as(weight)
        return of_x, of_weight, None, None


class _Spatial(torch.autograd.Function):
    """A larger convolution; only its gradient of the weight is made of products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return torch.conv2d(x, weight, None, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight = None, None
        if ctx.needs_input_grad[0]:
            of_x, _, _ = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1, (True, False, False)
            )
        if ctx.needs_input_grad[1]:
            of_weight = torch.empty_like(weight)
            for down in range(weight.shape[2]):
                from_rows, to_rows = _met(down, x.shape[2], gradient.shape[2], ctx.stride[0], ctx.padding[0])
                for right in range(weight.shape[3]):
                    from_columns, to_columns = _met(right, x.shape[3], gradient.shape[3], ctx.stride[1], ctx.padding[1])
                    seen, wanted = x[:, :, from_rows, from_columns], gradient[:, :, to_rows, to_columns]
                    of_weight[:, :, down, right] = _rows(wanted).T @ _rows(seen)
        return of_x, of_weight, None, None


def _met(tap: int, size: int, outputs: int, stride: int, padding: int) -> tuple[slice, slice]:
    """Along one side: the inputs that a tap of the kernel meets, without padding, and the outputs it meets them for."""
    first = max(0, -(-(padding - tap) // stride))
    end = max(first, min(outputs, (size - 1 + padding - tap) // stride + 1))
    start = first * stride + tap - padding
    return slice(start, start + (end - first) * stride, stride), slice(first, end)


def _rows(maps: Tensor) -> Tensor:
    """(N, C, H, W) to (N * H * W, C)."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _maps(rows: Tensor, like: Tensor) -> Tensor:
    """(N * H * W, C) to (N, C, H, W), channels last."""
    count, _, height, width = like.shape
    return rows.view(count, height, width, -1).permute(0, 3, 1, 2)
