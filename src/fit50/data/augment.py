"""What happens to training images: one draw for each, all images at once, on whichever device they are."""

from __future__ import annotations

import torch
from torch import Tensor

from fit50.spec.training import Augment


def augment(images: Tensor, how: Augment, generator: torch.Generator, fill: Tensor | None = None) -> Tensor:
    """Mirrors, moves and erases.

    Args:
        images: uint8 (N, H, W, C).
        how: what to do; the input itself is returned if that is nothing.
        generator: decides everything, on its own device, so that a CPU's gives the same draws for images anywhere.
        fill: the colour of erased squares, uint8 (C,); by default the mean colour of each image.

    Returns:
        uint8 (N, H, W, C).
    """
    if how.flip or how.shift:
        images = _moved(images, how, generator)
    if how.erase:
        images = _erased(images, how.erase, generator, fill)
    return images


def _moved(images: Tensor, how: Augment, generator: torch.Generator) -> Tensor:
    """Each image mirrored or not, and moved by whole pixels with its border repeated."""
    n, height, width, channels = images.shape
    rows, columns = _grid(height, images), _grid(width, images)  # (1, H), (1, W)
    if how.flip:
        mirrored = _uniform(n, generator, images) < how.flip  # (N, 1)
        columns = torch.where(mirrored, width - 1 - columns, columns)  # (N, W)
    if how.shift:
        rows = (rows + _whole(n, -how.shift, how.shift, generator, images)).clamp(0, height - 1)  # (N, H)
        columns = (columns + _whole(n, -how.shift, how.shift, generator, images)).clamp(0, width - 1)  # (N, W)
    first = _grid(n, images).T * height  # (N, 1), the place of each image's first row
    places = ((first + rows) * width).unsqueeze(2) + columns.unsqueeze(1)  # (N, H, W)
    return images.reshape(-1, channels)[places]


def _erased(images: Tensor, side: int, generator: torch.Generator, fill: Tensor | None) -> Tensor:
    """Each image with a square filled whose centre lies anywhere in it, so that part of the square may lie outside."""
    n, height, width, _ = images.shape
    top = _whole(n, 0, height - 1, generator, images) - side // 2  # (N, 1)
    left = _whole(n, 0, width - 1, generator, images) - side // 2
    rows, columns = _grid(height, images) - top, _grid(width, images) - left  # (N, H), (N, W)
    inside = ((rows >= 0) & (rows < side)).unsqueeze(2) & ((columns >= 0) & (columns < side)).unsqueeze(1)
    colour = _mean(images) if fill is None else fill.to(images.device).expand(n, -1)  # (N, C)
    return torch.where(inside.unsqueeze(3), colour[:, None, None, :], images)


def _mean(images: Tensor) -> Tensor:
    """The mean colour of each image, rounded in whole numbers, hence the same on every device; uint8 (N, C)."""
    count = images.shape[1] * images.shape[2]
    return ((images.sum((1, 2), dtype=torch.int64) + count // 2) // count).to(torch.uint8)


def _grid(length: int, images: Tensor) -> Tensor:
    return torch.arange(length, device=images.device).unsqueeze(0)


def _uniform(n: int, generator: torch.Generator, images: Tensor) -> Tensor:
    return torch.rand(n, 1, generator=generator, device=generator.device).to(images.device)


def _whole(n: int, low: int, high: int, generator: torch.Generator, images: Tensor) -> Tensor:
    """Whole numbers from ``low`` to ``high``, both included; int64 (N, 1)."""
    return torch.randint(low, high + 1, (n, 1), generator=generator, device=generator.device).to(images.device)
