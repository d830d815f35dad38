"""What happens to training images: one draw for each, all images at once, on whichever device they are."""

from __future__ import annotations

import torch
from torch import Tensor

from fit50.data.draws import Draws, draw
from fit50.data.policies import on, operate
from fit50.spec.training import Augment

__all__ = ["Draws", "augment", "draw", "mix"]


def augment(images: tuple[Tensor, ...], how: Augment, draws: Draws) -> tuple[Tensor, ...]:
    """Crops and resizes, mirrors and moves, does what a policy says, and erases: in this order.

    Nothing is interpolated unless there is a crop, another size or a policy; a policy's shapes are interpolated after
    the crop, as published recipes do, so that each operation sees what the one before it left. Several inputs of a
    sample are treated alike, in colours too; what an operation takes from an image, such as its mean, it takes from
    each input.

    Args:
        images: for each input uint8 (N, H, W, C), on any device; they are left as they are.
        how: what to do; an input itself is returned if that is nothing.
        draws: of N samples, for images of this size.

    Returns:
        uint8 (N, h, w, C), of the size that was drawn for.
    """
    changed = []
    for image in images:
        with torch.autocast(image.device.type, enabled=False):  # which would multiply pixels in eight bits
            changed.append(_augmented(image, how, draws))
    return tuple(changed)


def mix(images: tuple[Tensor, ...], targets: Tensor, how: Augment, draws: Draws) -> tuple[tuple[Tensor, ...], Tensor]:
    """Blends neighbours (mixup, Zhang et al. 2018), or pastes a part of one into the other (CutMix, Yun et al. 2019).

    Sample 2k's neighbour is 2k+1, and the other way round; an odd last sample stays alone.

    Args:
        images: for each input (N, H, W, C), uint8 or float.
        targets: float (N, classes), blended as the pixels are.
        how: whether to mix; the images and targets themselves are returned if not.
        draws: of N samples, for images of this size.

    Returns:
        Images of the type that was given, whole numbers rounded, and targets.
    """
    if not how.mixes:
        return images, targets
    partner = torch.arange(len(draws)) ^ 1
    partner = on(targets, partner.clamp(max=len(draws) - 1))
    share = on(targets, draws.share).unsqueeze(1)
    return tuple(_mixed(image, partner, draws) for image in images), torch.lerp(targets[partner], targets, share)


def _augmented(images: Tensor, how: Augment, draws: Draws) -> Tensor:
    if how.crop or images.shape[1:3] != draws.size:
        images = _resampled(images, draws)
    if how.flip or how.shift:
        images = _moved(images, how, draws)
    if how.policy:
        images = operate(images, draws.operations, draws.magnitudes)
    if how.erase or how.erasing:
        images = _erased(images, draws.holes)
    return images


def _resampled(images: Tensor, draws: Draws) -> Tensor:
    """Each image's box, brought to the wanted size.

    Linear, and antialiased where it shrinks: each side is one product with a matrix of triangles as wide as a wanted
    pixel, the same as Pillow's and torchvision's but for their rounding in between.
    """
    n, height, width, channels = images.shape
    box = on(images, draws.box)
    down = _triangles(box[:, 0], box[:, 2], height, draws.size[0])  # (N, h, H)
    across = _triangles(box[:, 1], box[:, 3], width, draws.size[1])  # (N, w, W)
    rows = down @ images.flatten(2).float()  # (N, h, W * C)
    columns = across @ rows.view(n, -1, width, channels).transpose(1, 2).flatten(2)  # (N, w, h * C)
    return columns.round_().to(torch.uint8).view(n, draws.size[1], -1, channels).transpose(1, 2).contiguous()


def _triangles(start: Tensor, length: Tensor, stored: int, wanted: int) -> Tensor:
    """Weights (N, wanted, stored) of stored pixels in wanted ones, which lie evenly over ``length`` from ``start``."""
    scale = (length / wanted).view(-1, 1, 1)
    centre = start.view(-1, 1, 1) + scale * (torch.arange(wanted, device=start.device).view(1, -1, 1) + 0.5)
    place = torch.arange(stored, device=start.device).view(1, 1, -1)
    weights = (1 - (place + 0.5 - centre).abs() / scale.clamp(min=1)).clamp_(min=0)
    first = start.view(-1, 1, 1)
    weights *= (place >= first) & (place < first + length.view(-1, 1, 1))
    return weights / weights.sum(2, keepdim=True)


def _moved(images: Tensor, how: Augment, draws: Draws) -> Tensor:
    """Each image mirrored or not, and moved by whole pixels with its border repeated."""
    n, height, width, channels = images.shape
    down, across = on(images, draws.shift).unsqueeze(2).unbind(1)  # (N, 1)
    columns = torch.arange(width, device=images.device)
    columns = torch.where(on(images, draws.flip).unsqueeze(1), width - 1 - columns, columns)  # (N, W)
    columns = (columns + across).clamp(0, width - 1)
    values = (columns.unsqueeze(2) * channels + torch.arange(channels, device=images.device)).view(n, 1, -1)
    images = images.flatten(2).gather(2, values.expand(-1, height, -1))  # (N, H, W * C)
    if how.shift:
        rows = (torch.arange(height, device=images.device) + down).clamp(0, height - 1)  # (N, H)
        first = height * torch.arange(n, device=images.device).unsqueeze(1)
        images = images.flatten(0, 1).index_select(0, (first + rows).flatten())
    return images.view(n, height, width, channels)


def _erased(images: Tensor, holes: Tensor) -> Tensor:
    """Each image with its holes (N, J, 4) filled with its mean colour."""
    inside = _inside(on(images, holes), images.shape[1], images.shape[2]).any(1)  # (N, H, W)
    return torch.where(inside.unsqueeze(3), _mean(images)[:, None, None, :], images)


def _mixed(images: Tensor, partner: Tensor, draws: Draws) -> Tensor:
    """Each image with its partner's pixels."""
    inside = _inside(on(images, draws.patch), images.shape[1], images.shape[2])
    own = torch.where(inside, 0, on(images, draws.blend)[:, None, None]).unsqueeze(3)  # (N, H, W, 1)
    mixed = torch.lerp(images.index_select(0, partner).float(), images.float(), own)
    return mixed if images.is_floating_point() else mixed.round_().to(torch.uint8)


def _inside(rectangles: Tensor, height: int, width: int) -> Tensor:
    """The pixels in each rectangle (..., 4); bool (..., H, W)."""
    top, left, tall, wide = rectangles.unsqueeze(-2).unbind(-1)
    rows = torch.arange(height, device=rectangles.device) - top  # (..., H)
    columns = torch.arange(width, device=rectangles.device) - left
    return ((rows >= 0) & (rows < tall)).unsqueeze(-1) & ((columns >= 0) & (columns < wide)).unsqueeze(-2)


def _mean(images: Tensor) -> Tensor:
    """The mean colour of each image, rounded in whole numbers, hence the same on every device; uint8 (N, C)."""
    count = images.shape[1] * images.shape[2]
    total = images.sum(1, dtype=torch.int32).sum(1, dtype=torch.int64)
    return ((total + count // 2) // count).to(torch.uint8)
