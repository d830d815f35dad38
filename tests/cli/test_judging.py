"""The verbs that judge models by a data set."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.cli.conftest import Fit50

from fit50.data.decode import read_image
from fit50.weights.checkpoint import Checkpoint


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def turned(weights: Path, tmp_path: Path) -> Path:
    """The weights with each class's answer given to the next class: whatever was answered, another is."""
    checkpoint = Checkpoint.load(weights)
    tensors = dict(checkpoint.tensors)
    for key in ("fc.weight", "fc.bias"):
        tensors[key] = tensors[key].roll(1, 0)
    checkpoint.with_(tensors=tensors).save(tmp_path / "turned.safetensors")
    return tmp_path / "turned.safetensors"


@pytest.fixture
def couples(photos: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The photos, and the same in grey."""
    for path in photos.rglob("*.png"):
        grey = tmp_path / "grey" / path.relative_to(photos)
        grey.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).convert("L").save(grey)
    return photos, tmp_path / "grey"


def facts(text: str) -> dict[str, Any]:
    """The one JSON object that was printed."""
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def test_evaluate_gives_all_figures(fit50: Fit50, weights: Path, photos: Path) -> None:
    found = facts(fit50("evaluate", weights, photos, "--topk", "2", "--json").out)
    assert (found["split"], found["n"], found["trained_with_these_splits"]) == ("val", 9, False)
    assert found["accuracy"]["n"] == found["top_k"]["n"] == 9
    assert found["top_k"]["correct"] >= found["accuracy"]["correct"]
    assert [each["name"] for each in found["classes"]] == ["blue", "green", "red"]
    assert [sum(row) for row in found["confusion"]] == [3, 3, 3]
    for name in ("balanced_accuracy", "macro_f1", "calibration_error", "log_likelihood_loss"):
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]
    assert (found["without"], found["robustness"]) == ([], None)


def test_evaluate_says_it_in_words(fit50: Fit50, bundle: Path, photos: Path) -> None:
    out = fit50("evaluate", bundle, photos, "--split", "train").out
    assert out.startswith("train accuracy ")
    assert "top-" not in out, "three classes have no top five"
    for words in ("balanced accuracy", "macro F1", "calibration error", "negative log-likelihood", "\nclass  images"):
        assert words in out


def test_evaluate_under_corruptions(fit50: Fit50, weights: Path, photos: Path) -> None:
    words = ("evaluate", weights, photos, "--json", "--corruptions")
    some = facts(fit50(*words, "contrast", "gaussian-noise").out)["robustness"]
    assert [each["corruption"] for each in some["corruptions"]] == ["contrast", "gaussian-noise"]
    assert all(len(each["severities"]) == 5 for each in some["corruptions"])
    assert some == facts(fit50(*words, "contrast", "gaussian-noise").out)["robustness"]
    assert len(facts(fit50(*words).out)["robustness"]["corruptions"]) == 12


@pytest.mark.parametrize("words", [("--corruptions", "rain"), ("--topk", "0"), ("--split", "all")])
def test_evaluate_refuses_what_it_does_not_know(fit50: Fit50, weights: Path, photos: Path, words: tuple[str]) -> None:
    ended = fit50("evaluate", weights, photos, *words)
    assert ended.code == 2
    assert words[1] in ended.err


def test_inputs_that_may_be_missing_are_left_out_in_turn(
    fit50: Fit50, pairs: Path, couples: tuple[Path, Path], request: pytest.FixtureRequest
) -> None:
    colour, grey = couples
    found = facts(fit50("evaluate", pairs, colour, "--pair", grey, "--json").out)
    may_miss = "either-missing" in request.node.name
    assert [each["input"] for each in found["without"]] == (["rgb", "thermal"] if may_miss else [])


def test_images_of_another_training_are_said_so(fit50: Fit50, weights: Path, photos: Path, tmp_path: Path) -> None:
    note = "these are not the images and splits that the model was trained with"
    assert note not in fit50("evaluate", weights, photos).out
    elsewhere = replace(Checkpoint.load(weights), provenance={"dataset": "0" * 64, "seed": "0"})
    elsewhere.save(tmp_path / "elsewhere.safetensors")
    assert note in fit50("evaluate", tmp_path / "elsewhere.safetensors", photos).out
    out = fit50("compare", weights, tmp_path / "elsewhere.safetensors", photos).out
    assert out.count("these are not the images") == 1
    assert "elsewhere.safetensors was trained with" in out


@pytest.mark.parametrize("verb", ["evaluate", "compare"])
def test_other_classes_are_refused(fit50: Fit50, weights: Path, photos: Path, tmp_path: Path, verb: str) -> None:
    shutil.copytree(photos, tmp_path / "other")
    (tmp_path / "other" / "red").rename(tmp_path / "other" / "yellow")
    models = [weights] * (2 if verb == "compare" else 1)
    ended = fit50(verb, *models, tmp_path / "other")
    assert ended.code == 2
    assert "expected the model's classes blue, green, red, found blue, green, yellow" in ended.err


def test_a_file_and_its_weights_answer_alike(fit50: Fit50, weights: Path, bundle: Path, photos: Path) -> None:
    found = facts(fit50("compare", weights, bundle, photos, "--json").out)
    assert found["old"] == found["new"]
    assert (found["lost"], found["won"], found["changed"], found["flips"], found["p"]) == (0, 0, 0, [], 1.0)
    assert found["difference"]["low"] < 0 < found["difference"]["high"], "nine images prove no equality"


def test_compare_finds_what_changed(fit50: Fit50, weights: Path, turned: Path, photos: Path, tmp_path: Path) -> None:
    words = ("compare", weights, turned, photos, "--split", "test", "--flips", tmp_path / "flips")
    found = facts(fit50(*words, "--json").out)
    assert found["lost"] + found["won"] + found["changed"] == found["old"]["n"] == len(found["flips"])
    with (tmp_path / "flips" / "flips.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [flip["name"] for flip in found["flips"]]
    assert all(read_image(tmp_path / "flips" / row["file"]).shape == (16, 16, 3) for row in rows)
    again = fit50(*words)
    assert again.code == 2
    assert "expected a new folder" in again.err
    assert "McNemar's exact test: p = " in fit50("compare", weights, turned, photos).out


def test_compare_networks_of_two_sizes(fit50: Fit50, weights: Path, photos: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.load(weights)
    larger = checkpoint.network.inputs[0].model_copy(update={"height": 20, "width": 20})
    network = checkpoint.network.model_copy(update={"inputs": (larger,)})
    checkpoint.with_(network=network).save(tmp_path / "larger.safetensors")
    ended = fit50("compare", weights, tmp_path / "larger.safetensors", photos)
    assert ended.code == 0, ended.err
    assert ended.out.count("n=9 (") == 3
