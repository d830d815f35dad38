"""The verb that looks at a data set."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Fit50

from fit50.weights.checkpoint import Checkpoint


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def facts(text: str) -> dict[str, Any]:
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def test_inspect_says_it_in_words(fit50: Fit50, photos: Path) -> None:
    ended = fit50("inspect", photos)
    assert ended.code == 0, ended.err
    assert "images          60 of 3 classes: train 42, val 9, test 9" in ended.out
    assert "--network.stem low-resolution" in ended.out
    assert "because: 42 training images, 14 for each of 3 classes" in ended.out


def test_inspect_gives_all_figures(fit50: Fit50, photos: Path) -> None:
    found = facts(fit50("inspect", photos, "--image-size", "64", "--json").out)
    assert found["counts"]["train"] == {"blue": 14, "green": 14, "red": 14}
    assert (found["imbalance"], found["network"], found["labels"]) == (1.0, "resnet50", None)
    assert (found["inputs"][0]["height"], found["inputs"][0]["formats"]) == (64, {"PNG": 60})
    assert all(set(each) == {"advice", "evidence", "technique", "source"} for each in found["advice"])


def test_the_page_shows_duplicates(fit50: Fit50, photos: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(photos, tmp_path / "own"))
    shutil.copy(own / "red" / "000.png", own / "blue" / "copy.png")
    ended = fit50("inspect", own, "--page", "page.html")
    assert ended.code == 0, ended.err
    assert "1 exact within a split" in ended.out
    assert "duplicates that are given two classes" in ended.out
    assert Path("page.html").read_text(encoding="utf-8").count('src="data:image/png;base64,') == 2


def test_a_second_folder_is_for_a_network_of_two_inputs(fit50: Fit50, photos: Path) -> None:
    found = facts(fit50("inspect", photos, "--pair", photos, "--image-size", "32", "--json").out)
    assert (found["network"], [each["name"] for each in found["inputs"]]) == ("m-mffnet", ["image1", "image2"])
    assert not any("--start" in each["advice"] for each in found["advice"])


def test_a_model_judges_labels_that_it_did_not_learn_from(
    fit50: Fit50, weights: Path, bundle: Path, photos: Path, tmp_path: Path
) -> None:
    for model in (weights, bundle):
        labels = facts(fit50("inspect", photos, "--model", model, "--json").out)["labels"]
        assert (labels["n"], labels["known"]) == (18, False)
        assert all(each["split"] in ("val", "test") for each in labels["suspects"])
    elsewhere = replace(Checkpoint.load(weights), provenance={"dataset": "0" * 64, "seed": "0"})
    elsewhere.save(tmp_path / "elsewhere.safetensors")
    ended = fit50("inspect", photos, "--model", tmp_path / "elsewhere.safetensors")
    assert ended.code == 2
    assert "found one trained with others" in ended.err


def test_two_sizes_are_refused(fit50: Fit50, weights: Path, photos: Path, tmp_path: Path) -> None:
    ended = fit50("inspect", photos, "--model", weights, "--image-size", "16")
    assert ended.code == 2
    assert "--model and --image-size" in ended.err
    assert "found a folder" in fit50("inspect", photos, "--page", tmp_path).err
