from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from fit50.data.policies import Operation, draw_operations, operate
from fit50.spec.training import RandAugment, TrivialAugment

NAMES = {
    Operation.IDENTITY: "Identity",
    Operation.SHEAR_X: "ShearX",
    Operation.SHEAR_Y: "ShearY",
    Operation.TRANSLATE_X: "TranslateX",
    Operation.TRANSLATE_Y: "TranslateY",
    Operation.ROTATE: "Rotate",
    Operation.BRIGHTNESS: "Brightness",
    Operation.CONTRAST: "Contrast",
    Operation.POSTERIZE: "Posterize",
    Operation.SOLARIZE: "Solarize",
    Operation.AUTOCONTRAST: "AutoContrast",
    Operation.EQUALIZE: "Equalize",
    Operation.COLOUR: "Color",
    Operation.SHARPNESS: "Sharpness",
}
FACTORS = (Operation.BRIGHTNESS, Operation.CONTRAST, Operation.COLOUR, Operation.SHARPNESS)
AMOUNTS = {
    Operation.SHEAR_X: (0.3, -0.99),
    Operation.SHEAR_Y: (0.21, -0.7),
    Operation.TRANSLATE_X: (5.7, -9.9),
    Operation.TRANSLATE_Y: (3.2, -12),
    Operation.ROTATE: (30, -135),
    Operation.POSTERIZE: (8, 4, 2),
    Operation.SOLARIZE: (255, 204, 0),
    **dict.fromkeys(FACTORS, (1.9, 1, 0.37, 0.01)),
}
BILINEAR = InterpolationMode.BILINEAR


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int = 5, channels: int = 3) -> Tensor:
    """Random images of several contrasts, one of them of one value."""
    images = torch.randint(0, 256, (n, 33, 47, channels), dtype=torch.uint8, generator=generator(1))
    images[1] //= 3
    images[2] = images[2] // 5 + 40
    images[3] = 77
    return images


def torchvisions(images: Tensor, operation: Operation, magnitude: float) -> Tensor:
    planes = images.permute(0, 3, 1, 2)
    still = {"translate": [0, 0], "scale": 1.0, "interpolation": BILINEAR}
    match operation:
        case Operation.IDENTITY:
            changed = planes
        case Operation.SHEAR_X:
            shear = [math.degrees(math.atan(magnitude)), 0.0]
            changed = tv.affine(planes, 0.0, shear=shear, center=[0, 0], **still)
        case Operation.SHEAR_Y:
            shear = [0.0, math.degrees(math.atan(magnitude))]
            changed = tv.affine(planes, 0.0, shear=shear, center=[0, 0], **still)
        case Operation.TRANSLATE_X:
            changed = tv.affine(planes, 0.0, **{**still, "translate": [int(magnitude), 0]}, shear=[0.0, 0.0])
        case Operation.TRANSLATE_Y:
            changed = tv.affine(planes, 0.0, **{**still, "translate": [0, int(magnitude)]}, shear=[0.0, 0.0])
        case Operation.ROTATE:
            changed = tv.rotate(planes, magnitude, interpolation=BILINEAR)
        case Operation.BRIGHTNESS:
            changed = tv.adjust_brightness(planes, magnitude)
        case Operation.CONTRAST:
            changed = tv.adjust_contrast(planes, magnitude)
        case Operation.COLOUR:
            changed = tv.adjust_saturation(planes, magnitude)
        case Operation.SHARPNESS:
            changed = tv.adjust_sharpness(planes, magnitude)
        case Operation.POSTERIZE:
            changed = tv.posterize(planes, int(magnitude))
        case Operation.SOLARIZE:
            changed = tv.solarize(planes, magnitude)
        case Operation.AUTOCONTRAST:
            changed = tv.autocontrast(planes)
        case Operation.EQUALIZE:
            changed = tv.equalize(planes)
    return changed.permute(0, 2, 3, 1)


def operated(images: Tensor, *steps: tuple[Operation, float]) -> Tensor:
    """All images through the same operations."""
    operations = torch.tensor([[int(operation) for operation, _ in steps]]).expand(len(images), -1)
    return operate(images, operations, torch.tensor([[float(amount) for _, amount in steps]]).expand(len(images), -1))


CASES = [
    pytest.param(operation, amount, id=f"{operation.name}-{amount}")
    for operation in Operation
    for amount in AMOUNTS.get(operation, (0,))
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("operation", "magnitude"), CASES)
def test_operations_are_torchvisions_within_a_level(operation: Operation, magnitude: float, channels: int) -> None:
    images = noise(channels=channels)
    changed = operated(images, (operation, magnitude))
    difference = (changed.int() - torchvisions(images, operation, magnitude).int()).abs()
    assert difference.max() <= 1
    # torchvision takes a contrast's mean of greys cut to whole numbers, and stretches with a rounded quotient.
    if operation not in (Operation.CONTRAST, Operation.AUTOCONTRAST):
        assert (difference > 0).float().mean() < 0.03


def test_every_image_gets_its_own_operations_in_their_order() -> None:
    images = noise(60)
    operations, magnitudes = draw_operations(RandAugment(ops=3, magnitude=6), 60, (33, 47), generator())
    together = operate(images, operations, magnitudes)
    for row in range(60):
        alone = images[row : row + 1]
        for operation, magnitude in zip(operations[row].tolist(), magnitudes[row].tolist(), strict=True):
            alone = operated(alone, (Operation(operation), magnitude))
        assert torch.equal(together[row], alone[0])


def test_the_first_operation_comes_first() -> None:
    bright = torch.full((1, 21, 21, 3), 200, dtype=torch.uint8)
    turn, invert = (Operation.ROTATE, 45), (Operation.SOLARIZE, 0)
    assert (operated(bright, turn, invert)[0, 0, 0] == 255).all()  # the black corner is inverted too
    assert (operated(bright, invert, turn)[0, 0, 0] == 0).all()


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (3, 3)])
def test_tiny_images(size: tuple[int, int]) -> None:
    images = torch.randint(0, 256, (14, *size, 3), dtype=torch.uint8, generator=generator())
    magnitudes = torch.tensor([0, 0.2, 0.2, 1, 1, 30, 1.5, 1.5, 4, 128, 0, 0, 1.5, 1.5]).unsqueeze(1)
    assert operate(images, torch.arange(14).unsqueeze(1), magnitudes).shape == images.shape


@pytest.mark.parametrize("step", range(0, 31, 3))
def test_randaugments_magnitudes_are_torchvisions(step: int) -> None:
    policy = RandAugment(ops=2, magnitude=step / 3)
    _agrees(*draw_operations(policy, 500, (64, 32), generator()), v2.RandAugment._AUGMENTATION_SPACE, [step])


def test_trivialaugments_magnitudes_are_torchvisions() -> None:
    operations, magnitudes = draw_operations(TrivialAugment(), 20_000, (64, 32), generator())
    assert operations.shape == (20_000, 1)
    _agrees(operations, magnitudes, v2.TrivialAugmentWide._AUGMENTATION_SPACE, list(range(31)))


def _agrees(operations: Tensor, magnitudes: Tensor, space: dict[str, Any], steps: list[int]) -> None:
    """Every operation has all magnitudes of torchvision's space, and no others."""
    for operation, name in NAMES.items():
        amounts = magnitudes[operations == operation]
        expected, signed = space[name][0](31, 64, 32), space[name][1]
        if operation in FACTORS:
            amounts = amounts - 1
        if operation == Operation.POSTERIZE:
            amounts = amounts.round()
        if operation == Operation.SOLARIZE:
            amounts = amounts / 255
        if expected is None:
            assert (amounts == 0).all()
            continue
        wanted = expected[steps].double()
        wanted = torch.cat([wanted, -wanted]) if signed else wanted
        apart = (amounts.double().unsqueeze(1) - wanted).abs()
        assert apart.amin(1).max() < 1e-4
        assert apart.amin(0).max() < 1e-4


def test_operations_and_signs_are_equally_likely() -> None:
    operations, magnitudes = draw_operations(RandAugment(), 7000, (32, 32), generator())
    counts = torch.bincount(operations.flatten(), minlength=14)
    assert len(counts) == 14
    assert (counts - 1000).abs().max() < 120
    for operation in (Operation.ROTATE, Operation.SHEAR_X, Operation.TRANSLATE_Y):
        assert 0.44 < (magnitudes[operations == operation] > 0).float().mean() < 0.56


def test_spread_varies_the_magnitude_within_its_range() -> None:
    operations, magnitudes = draw_operations(RandAugment(magnitude=9, spread=1), 5000, (32, 32), generator())
    angles = magnitudes[operations == Operation.ROTATE].abs()
    assert angles.max() <= 30
    assert (angles == 30).float().mean() == pytest.approx(0.159, abs=0.05)  # what lies one deviation above
    assert angles.median() == pytest.approx(27, abs=0.5)
