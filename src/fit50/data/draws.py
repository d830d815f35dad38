"""What is drawn for training images before anything is done to them: on the CPU, so that every device gets the same."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from fit50.data.policies import Size, draw_operations
from fit50.spec.training import Augment

_TRIES = 10


@dataclass(frozen=True)
class Draws:
    """Everything random for N samples; ``draws[a:b]`` is that of some of them. Mixed pairs want ``a`` and ``b`` even.

    A rectangle is (top, left, height, width) in whole pixels, int64; a height of zero is none.

    Attributes:
        size: height and width of the wanted images.
        box: (N, 4), the part of the stored image that is kept.
        flip: bool (N,), whether it is mirrored.
        shift: int64 (N, 2), moves down and across in wanted pixels.
        operations: int64 (N, K), of a policy.
        magnitudes: float32 (N, K), theirs.
        holes: (N, J, 4), the parts that are filled; they may hang over the edge.
        patch: (N, 4), the part that comes from the neighbour.
        blend: float32 (N,), the weight of the own pixels outside the patch.
        share: float32 (N,), the weight of the own label.
    """

    size: Size
    box: Tensor
    flip: Tensor
    shift: Tensor
    operations: Tensor
    magnitudes: Tensor
    holes: Tensor
    patch: Tensor
    blend: Tensor
    share: Tensor

    def __len__(self) -> int:
        return len(self.flip)

    def __getitem__(self, rows: slice) -> Draws:
        return Draws(self.size, *(getattr(self, field.name)[rows] for field in fields(self)[1:]))


def draw(n: int, how: Augment, source: Size, target: Size, generator: torch.Generator) -> Draws:
    """Draws for ``n`` samples; a process's part of a batch is ``draw(...)[a:b]`` of the whole batch's.

    Args:
        n: samples.
        how: what is random.
        source: height and width of the stored images.
        target: height and width of the wanted images.
        generator: decides everything; on the CPU.
    """
    box = torch.tensor((0, 0, *source)).expand(n, 4)
    if how.crop:
        box = _crops(n, source, how.crop, generator)
    operations, magnitudes = torch.zeros(n, 0, dtype=torch.int64), torch.zeros(n, 0)
    if how.policy:
        operations, magnitudes = draw_operations(how.policy, n, target, generator)
    return Draws(
        target,
        box,
        torch.rand(n, generator=generator) < how.flip,
        torch.randint(-how.shift, how.shift + 1, (n, 2), generator=generator),
        operations,
        magnitudes,
        _holes(n, how, target, generator),
        *_mixing(n, how, target, generator),
    )


def _crops(n: int, size: Size, area: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Parts of an image; where none of the tries fits, the whole image cut to the nearest ratio; int64 (N, 4)."""
    height, width = size
    low, high = 3 / 4, 4 / 3
    sides = _sides(n, size, area, (low, high), generator)
    whole = torch.tensor((min(height, round(width / low)), min(width, round(height * high))))
    return _placed(sides.where(sides > 0, whole), size, generator)


def _sides(
    n: int, size: Size, area: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Heights and widths of rectangles of a share of an image's area and a ratio of width to height; int64 (N, 2).

    torchvision's rule: of ten tries the first that fits into the image; zeros where none does.
    """
    height, width = size
    low, high = (math.log(limit) for limit in ratio)
    pixels = height * width * (area[0] + (area[1] - area[0]) * _uniform((n, _TRIES), generator))
    ratios = (low + (high - low) * _uniform((n, _TRIES), generator)).exp()
    sides = torch.stack([(pixels / ratios).sqrt(), (pixels * ratios).sqrt()], 2).round().long()  # (N, tries, 2)
    fits = ((sides > 0) & (sides <= torch.tensor(size))).all(2)
    first = fits.int().argmax(1)
    return sides[torch.arange(n), first].where(fits.any(1, keepdim=True), 0)


def _placed(sides: Tensor, size: Size, generator: torch.Generator) -> Tensor:
    """Rectangles of these heights and widths (N, 2) anywhere in an image; int64 (N, 4)."""
    corner = (_uniform((len(sides), 2), generator) * (torch.tensor(size) - sides + 1)).long()
    return torch.cat([corner, sides], 1)


def _holes(n: int, how: Augment, size: Size, generator: torch.Generator) -> Tensor:
    """A square whose centre lies anywhere in the image, then a rectangle that lies in it; int64 (N, 0..2, 4).

    Where none of the tries for the rectangle fits, as in very elongated images, there is none.
    """
    holes = []
    if how.erase:
        corner = (_uniform((n, 2), generator) * torch.tensor(size)).long() - how.erase // 2
        holes.append(torch.cat([corner, torch.full((n, 2), how.erase)], 1))
    if how.erasing:
        spared = _uniform((n, 1), generator) >= how.erasing
        sides = _sides(n, size, (0.02, 0.33), (0.3, 3.3), generator)
        holes.append(_placed(sides, size, generator).masked_fill(spared | (sides == 0).any(1, keepdim=True), 0))
    return torch.stack(holes, 1) if holes else torch.zeros(n, 0, 4, dtype=torch.int64)


def _mixing(n: int, how: Augment, size: Size, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """``patch``, ``blend`` and ``share`` of Draws: the same for both samples of a pair."""
    pairs = (n + 1) // 2
    patch, blend, share = torch.zeros(pairs, 4, dtype=torch.int64), torch.ones(pairs), torch.ones(pairs)
    if how.mixes:
        mixed = _uniform((pairs,), generator) < how.mixing
        chance = 0.5 if how.mixup and how.cutmix else float(how.cutmix > 0)
        pasted = mixed & (_uniform((pairs,), generator) < chance)
        patches = _patches(_beta(how.cutmix, pairs, generator), size, generator)
        patch = patches.where(pasted.unsqueeze(1), 0)
        blend = _beta(how.mixup, pairs, generator).float().where(mixed & ~pasted, 1)
        share = blend - patch[:, 2:].prod(1) / math.prod(size)
    pair = torch.arange(n) // 2
    return patch[pair], blend[pair], share[pair]


def _patches(kept: Tensor, size: Size, generator: torch.Generator) -> Tensor:
    """Rectangles of the image's ratio about a centre anywhere in it, cut off at its edge (Yun et al. 2020)."""
    limits = torch.tensor(size)
    sides = (limits * (1 - kept).sqrt().unsqueeze(1)).long()
    centre = (_uniform((len(kept), 2), generator) * limits).long()
    start = (centre - sides // 2).clamp(min=0)
    stop = torch.minimum(centre - sides // 2 + sides, limits)
    return torch.cat([start, stop - start], 1)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """From 0 to below 1, in double precision, so that a product with a whole number stays below it."""
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _beta(alpha: float, n: int, generator: torch.Generator) -> Tensor:
    """Beta(alpha, alpha), from NumPy, since PyTorch's takes no generator; ones for an alpha of zero; float64 (N,)."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, n)) if alpha else torch.ones(n).double()
