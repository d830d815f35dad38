"""Weights of others as a start, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from tests.photos import write_photos
from tests.weights.conftest import Repository

from fit50.cli import main
from fit50.runtimes.base import sha256
from fit50.spec.recipe import Load, Recipe
from fit50.weights.checkpoint import Checkpoint

NAME = "timm:test_resnet.r160_in1k"
SHORT = ("--train.epochs", "1", "--train.batch", "8", "--train.precision", "float32")


def fit50(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three classes of ten images."""
    return write_photos(tmp_path / "photos", count=10)


@pytest.fixture
def file(repository: Repository) -> Path:
    """timm's smallest network for a thousand classes, on the Hub, for images of another preparation than ours."""
    torch.manual_seed(0)
    configuration = {"architecture": "test_resnet", "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    return repository(NAME.replace(":", "/"), timm.create_model("test_resnet").state_dict(), configuration)


def test_a_name_is_enough_to_start(photos: Path, file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, output = tmp_path / "runs", tmp_path / "model.safetensors"
    assert fit50("train", photos, "--start", NAME, "--out", out, "--output", output, *SHORT) == 0
    said = "the classifier is drawn anew, for the weights tell 1000 classes apart and the images show 3"
    assert capfd.readouterr().err.count(said) == 1
    made = Checkpoint.load(output)
    assert made.classes == ("blue", "green", "red")
    assert (made.network.inputs[0].height, made.network.inputs[0].mean) == (32, (0.5, 0.5, 0.5))
    assert (made.provenance or {})["classifier"] == said.removeprefix("the classifier is ")
    (run,) = (out / "steps").iterdir()
    first = Recipe.read(run / "recipe.yaml").steps[0]
    assert isinstance(first, Load)
    assert (first.weights, first.sha256) == (NAME, sha256(file))
    events = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [event["event"] for event in events].count("classifier") == 1


def test_a_teacher_has_a_name_too(photos: Path, file: Path, repository: Repository, tmp_path: Path) -> None:
    """It normalises for itself: its mean and deviation need not be the student's."""
    taught = timm.create_model("test_resnet", num_classes=3).state_dict()
    repository("someone/teacher", taught, {"architecture": "test_resnet"})
    words = ("train", photos, "--start", NAME, "--teacher", "hf:someone/teacher", "--out", tmp_path / "runs", *SHORT)
    assert fit50(*words, "--output", tmp_path / "model.safetensors") == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:vit_base_patch16_224", "does not build timm's 'vit_base_patch16_224'"),
        ("timm:resnet50.a1_in1k", "expected to download model.safetensors from 'timm/resnet50.a1_in1k'"),
        ("torchvision:resnet18.IMAGENET1K_V1", "torchvision:resnet18.IMAGENET1K_V1: expected to download"),
        ("caffe:none.pth", "none.pth: expected a weights file"),
    ],
)
@pytest.mark.parametrize("verb", ["train", "optimize"])
def test_no_such_start_is_the_users_mistake(
    photos: Path,
    repository: Repository,
    torch_cache: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    verb: str,
    name: str,
    said: str,
) -> None:
    assert fit50(verb, photos, "--start", name, "--out", tmp_path / "runs") == 2
    error = capfd.readouterr().err
    assert said in error and error.startswith("error: ") and "Traceback" not in error
    assert not (tmp_path / "runs").exists()
