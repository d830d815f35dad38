"""A probe for the terminal."""

from __future__ import annotations

from tests.spec.test_damage import probed

from fit50.report.probing import probe_text
from fit50.spec.damage import Sensitivity, Spread
from fit50.spec.evaluation import Estimate


def test_the_worst_layers_the_prediction_and_advice() -> None:
    loss = Estimate(value=0.25, low=0.1, high=0.4)
    spread = Spread(largest=123.4, usual=1.5, outliers=90)
    layers = (
        Sensitivity(name="layer1.0.conv2", weights=spread, inputs=spread, error=0.3, loss=loss),
        Sensitivity(name="layer1.0.add", weights=None, inputs=spread, error=0.01, loss=loss),
        *(Sensitivity(name=f"fc{i}", weights=None, inputs=spread, error=0.001, loss=loss) for i in range(20)),
    )
    text = probe_text(probed(-4, sensitivities=layers)).splitlines()
    assert text[:4] == [
        "the 10 most sensitive of 22 places, each rounded to 8 bits alone (100 images)",
        "layer           error %                     loss  inputs: largest  99.9 %  outliers  weights: largest  99.9 %",
        "layer1.0.conv2    30.00  +0.250 [+0.100, +0.400]              123     1.5      90.0               123     1.5",
        "layer1.0.add       1.00  +0.250 [+0.100, +0.400]              123     1.5      90.0                 -       -",
    ]
    assert text[12:16] == [
        "",
        "all of them rounded, as ONNX Runtime does (OpenVINO's files, their biases corrected, may lose less)",
        "validation accuracy 50.0 % [40.0, 60.0], n=100 before",
        "validation accuracy 46.0 % [30.0, 50.0], n=100 after",
    ]
    assert text[-2:] == [
        "",
        "int8 will probably change the accuracy by -4.0 points [-6.0, -2.0], n=100; no few layers are to blame: use "
        "--method qat, or stay in float.",
    ]
