"""The verb that says what int8 would cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Fit50

from fit50.weights.checkpoint import Checkpoint


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_probe(fit50: Fit50, weights: Path, photos: Path) -> None:
    words = ("probe", weights, photos, "--samples", "8", "--tried", "4", "--max-drop", "100")
    found = json.loads(fit50(*words, "--json").out)
    assert (found["calibrated"], found["tried"], found["allowed"]) == (8, 4, 100)
    assert found["int8"]["comparison"]["old"]["n"] == 9
    assert {"conv1", "fc"} < {each["name"] for each in found["sensitivities"]}
    assert "than the 100 that may be lost" in found["advice"]
    ended = fit50(*words)
    assert ended.code == 0
    bits = "8 bits" if found["weight_bits"] == 8 else "8 bits (weights: 7)"
    assert f"each rounded to {bits} alone (4 images)" in ended.out
    assert found["advice"] in ended.out


def test_weights_have_the_bits_that_the_device_allows(
    fit50: Fit50, weights: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, found = ("probe", weights, photos, "--samples", "8", "--tried", "4"), []
    for exact in (True, False):
        monkeypatch.setattr("fit50.runtimes.base.has_int8_dot_product", lambda flags=None, exact=exact: exact)
        found.append(json.loads(fit50(*words, "--json").out))
    assert [each["weight_bits"] for each in found] == [8, 7]
    assert found[0]["sensitivities"] != found[1]["sensitivities"]
    assert "rounded to 8 bits (weights: 7) alone" in fit50(*words).out


def test_weights_of_other_classes_are_refused(fit50: Fit50, weights: Path, photos: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.load(weights)
    other = Checkpoint(checkpoint.network, checkpoint.tensors, ("x", "y", "z"))
    other.save(tmp_path / "other.safetensors")
    ended = fit50("probe", tmp_path / "other.safetensors", photos)
    assert ended.code == 2
    assert "expected the data's classes blue, green, red, found x, y, z" in ended.err
