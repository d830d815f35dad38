"""RandAugment and TrivialAugment: operations on shape and colour, one draw for each image, all images at once.

The operations and their ranges are torchvision's, after Cubuk et al. 2020 and Müller and Hutter 2021. Shapes are
interpolated linearly, as in torchvision's training recipes (its functions take the nearest pixel if not told), and what
lies outside the image is black. New colours are cut to whole numbers, as Pillow's are.
"""

from __future__ import annotations

from enum import IntEnum
from typing import assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

from fit50.spec.training import RandAugment, TrivialAugment

Size = tuple[int, int]


class Operation(IntEnum):
    """What is done to an image."""

    IDENTITY = 0
    SHEAR_X = 1
    SHEAR_Y = 2
    TRANSLATE_X = 3
    TRANSLATE_Y = 4
    ROTATE = 5
    BRIGHTNESS = 6
    CONTRAST = 7
    POSTERIZE = 8
    SOLARIZE = 9
    AUTOCONTRAST = 10
    EQUALIZE = 11
    COLOUR = 12
    SHARPNESS = 13


_STARTS = (0, 0, 0, 0, 0, 0, 1, 1, 8, 255, 0, 0, 1, 1)
"""Each operation's magnitude that does least: factors of one, eight bits, a threshold of 255."""

_LUMINANCE = (0.2989, 0.587, 0.114)
"""Red, green and blue in a grey value (ITU-R BT.601)."""


def draw_operations(
    policy: RandAugment | TrivialAugment, n: int, size: Size, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """What each of ``n`` images of ``size`` (height, width) goes through.

    Returns:
        Operations int64 (N, K), the first first, and their magnitudes float32 (N, K): shears as tangents, translations
        in pixels, angles in degrees, factors, bits, and thresholds from 0 to 255.
    """
    height, width = size
    match policy:
        case RandAugment(ops=count, magnitude=magnitude, spread=spread):
            level = (magnitude + spread * torch.randn(n, count, generator=generator)).clamp(0, 10) / 10
            shear, down, across, angle, factor, bits = 0.3, 150 / 331 * height, 150 / 331 * width, 30.0, 0.9, 4
        case TrivialAugment():
            count = 1
            level = torch.randint(31, (n, count), generator=generator) / 30
            shear, down, across, angle, factor, bits = 0.99, 32.0, 32.0, 135.0, 0.99, 6
        case _:
            assert_never(policy)
    spans = (0, shear, shear, across, down, angle, factor, factor, bits, 255, 0, 0, factor, factor)
    operations = torch.randint(len(Operation), (n, count), generator=generator)
    one_way = (operations == Operation.POSTERIZE) | (operations == Operation.SOLARIZE)
    negative = one_way | (torch.rand(n, count, generator=generator) < 0.5)
    moved = torch.tensor(spans)[operations] * level
    return operations, torch.tensor(_STARTS)[operations] + torch.where(negative, -moved, moved)


def operate(images: Tensor, operations: Tensor, magnitudes: Tensor) -> Tensor:
    """Every image through its operations, in their order.

    Each step takes the same few kernels however the operations were drawn, and each of these only the images concerned.

    Args:
        images: uint8 (N, H, W, C) on any device; left as they are.
        operations: int64 (N, K) on the CPU, which therefore waits for no other device.
        magnitudes: float32 (N, K) on the CPU.
    """
    families = {
        _warped: range(Operation.SHEAR_X, Operation.BRIGHTNESS),
        _tabled: range(Operation.BRIGHTNESS, Operation.COLOUR),
        _coloured: range(Operation.COLOUR, Operation.SHARPNESS),
        _sharpened: range(Operation.SHARPNESS, len(Operation)),
    }
    images = images.clone()
    for operation, magnitude in zip(operations.T, magnitudes.T, strict=True):
        for change, kinds in families.items():
            rows = ((operation >= kinds.start) & (operation < kinds.stop)).nonzero().squeeze(1)
            if len(rows):
                places = on(images, rows)
                changed = change(images.index_select(0, places), operation[rows], magnitude[rows])
                images.index_copy_(0, places, changed)
    return images


def on(images: Tensor, drawn: Tensor) -> Tensor:
    """What was drawn, on the images' device."""
    return drawn.to(images.device, non_blocking=True)


def _warped(images: Tensor, operation: Tensor, magnitude: Tensor) -> Tensor:
    """Shears about the upper left corner, translations by whole pixels, rotations about the centre."""

    def amount(kind: Operation) -> Tensor:
        return magnitude.where(operation == kind, 0)

    tall = images.shape[1] / images.shape[2]
    angle = torch.deg2rad(amount(Operation.ROTATE))
    shear_x, shear_y = amount(Operation.SHEAR_X), amount(Operation.SHEAR_Y)
    across = 2 / images.shape[2] * amount(Operation.TRANSLATE_X).trunc()
    down = 2 / images.shape[1] * amount(Operation.TRANSLATE_Y).trunc()
    x = [angle.cos(), (shear_x - angle.sin()) * tall, shear_x * tall - across]
    y = [(shear_y + angle.sin()) / tall, angle.cos(), shear_y / tall - down]
    to_source = torch.stack([torch.stack(x, 1), torch.stack(y, 1)], 1)  # (N, 2, 3), both images from -1 to 1
    planes = images.permute(0, 3, 1, 2).float()  # (N, C, H, W)
    grid = F.affine_grid(on(images, to_source), list(planes.shape), align_corners=False)
    return F.grid_sample(planes, grid, align_corners=False).round_().to(torch.uint8).permute(0, 2, 3, 1)


def _tabled(images: Tensor, operation: Tensor, magnitude: Tensor) -> Tensor:
    """What changes a value by a table of 256, which for some operations depends on the image's own values."""
    n, channels = len(images), images.shape[3]
    first = 256 * torch.arange(n * channels, device=images.device).view(n, 1, 1, channels)
    entries = (images + first).flatten()  # of all tables one behind the other
    counts = torch.zeros(n * channels * 256, dtype=torch.int32, device=images.device)
    counts.scatter_add_(0, entries, counts.new_ones(1).expand(len(entries)))
    tables = _tables(counts.view(n, channels, 256), on(images, operation), on(images, magnitude))
    return tables.flatten().index_select(0, entries).view_as(images)


def _tables(counts: Tensor, operation: Tensor, magnitude: Tensor) -> Tensor:
    """From how often each value occurs (N, C, 256), what it becomes; uint8 (N, C, 256)."""
    level = torch.arange(256, device=counts.device)
    operation, magnitude = operation.view(-1, 1, 1), magnitude.view(-1, 1, 1)
    passed = counts.cumsum(2)
    pixels = passed[:, :, -1:]
    lowest = torch.where(counts > 0, level, 255).amin(2, keepdim=True)  # (N, C, 1)
    highest = torch.where(counts > 0, level, 0).amax(2, keepdim=True)
    span = highest - lowest
    share = (pixels - counts.gather(2, highest)) // 255  # of the pixels, for each of the values that equalize gives

    mean = _grey((counts * level).sum(2).float() / pixels.squeeze(2)).unsqueeze(2)  # (N, 1, 1)
    about = torch.where(operation == Operation.CONTRAST, mean, 0)
    tables = (about + magnitude * (level - about)).long()  # also brightness
    for kind, others in (
        (Operation.POSTERIZE, level & (-256 >> magnitude.round().long().clamp(0, 8))),
        (Operation.SOLARIZE, torch.where(level < magnitude, level, 255 - level)),
        (Operation.AUTOCONTRAST, torch.where(span > 0, (level - lowest) * 255 // span.clamp(min=1), level)),
        (Operation.EQUALIZE, torch.where(share > 0, (passed - counts + share // 2) // share.clamp(min=1), level)),
    ):
        tables = torch.where(operation == kind, others, tables)
    return tables.clamp_(0, 255).to(torch.uint8)


def _coloured(images: Tensor, operation: Tensor, magnitude: Tensor) -> Tensor:
    """Nearer to grey or further from it; what has no three colours stays."""
    return _blended(images, _grey(images.float()).floor_(), magnitude) if images.shape[3] == 3 else images


def _sharpened(images: Tensor, operation: Tensor, magnitude: Tensor) -> Tensor:
    """Nearer to the smoothed image, whose pixels weigh five and their neighbours one, or further from it."""
    wide = images.to(torch.int16)
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    centre = wide[:, 1:-1, 1:-1]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4 * centre
    sharpened = images.clone()
    sharpened[:, 1:-1, 1:-1] = _blended(centre, (total + 6) // 13, magnitude)
    return sharpened


def _blended(images: Tensor, others: Tensor, factor: Tensor) -> Tensor:
    """The others for a factor of zero, the images for one, and beyond them above; uint8 (N, H, W, C)."""
    return (others + on(images, factor).view(-1, 1, 1, 1) * (images - others)).clamp_(0, 255).to(torch.uint8)


def _grey(values: Tensor) -> Tensor:
    """The luminance of red, green and blue, or the mean of other channels; float (..., C) -> (..., 1)."""
    weights = _LUMINANCE if values.shape[-1] == 3 else (1 / values.shape[-1],) * values.shape[-1]
    return (values @ on(values, torch.tensor(weights))).unsqueeze(-1)
