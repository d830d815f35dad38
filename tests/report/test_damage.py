"""Damage for the terminal."""

from __future__ import annotations

from tests.spec.test_damage import damaged

from fit50.report.damage import damage_text
from fit50.spec.damage import LayerError
from fit50.spec.evaluation import Flip


def test_damage_in_full() -> None:
    layers = (
        LayerError(name="layer1.0", channels=12, error=0.1),
        LayerError(name="layer2.10", channels=128, error=0),
    )
    found = damaged(-10, {"shirt": -40.0, "coat": 2.0}, layers).model_copy(update={"not_compared": ("layer3.0",)})
    flips = tuple(Flip(name=f"{i}.png", label="shirt", old="shirt", new="coat") for i in range(9))
    found = found.model_copy(update={"comparison": found.comparison.model_copy(update={"flips": flips})})
    assert damage_text(found).splitlines() == [
        "validation accuracy 50.0 % [40.0, 60.0], n=100 before",
        "validation accuracy 40.0 % [30.0, 50.0], n=100 after",
        "difference -10.0 points [-12.0, -8.0], n=100",
        "calibration error 0.0 % [0.0, 0.0] before, 0.0 % [0.0, 0.0] after",
        "flips: 12 right to wrong, 2 wrong to right, 0 otherwise",
        "",
        "the 5 most telling of 9 images that are answered differently",
        *(f"  {i}.png  shirt  shirt -> coat" for i in range(5)),
        "",
        "class  images  before %  after %                points",
        "shirt     100      50.0     50.0  -40.0 [-42.0, -38.0]",
        "coat      100      50.0     50.0     +2.0 [+0.0, +4.0]",
        "",
        "block's output  channels  relative error    dB",
        "layer1.0              12           0.100  20.0",
        "layer2.10            128           0.000     -",
        "not compared, as which channels were left cannot be told: layer3.0",
    ]


def test_of_many_classes_the_most_hurt() -> None:
    text = damage_text(damaged(-1, {f"class {i}": i - 50.0 for i in range(40)}))
    assert "the 10 most hurt of 40 classes" in text
    assert "class 9 " in text and "class 10 " not in text
    assert "most telling" not in text
    assert "block's output" not in text and "not compared" not in text
