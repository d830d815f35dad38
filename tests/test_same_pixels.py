"""One rule for resize and crop: a file's pixels are the same bits wherever they are used."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fit50.cli.main import main
from fit50.data.dataset import open_dataset
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle
from fit50.spec.digest import edit_all
from fit50.spec.network import Network
from fit50.weights.checkpoint import Checkpoint

SIZES = ((37, 53), (224, 31), (9, 9), (301, 199), (24, 32), (1, 7))
LIVES = Callable[..., Checkpoint]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of odd sizes, two of each in every split and class."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number, (height, width) in enumerate(SIZES):
                coarse = Image.fromarray(random.integers(0, 256, (5, 5, 3), np.uint8))
                image = coarse.resize((width, height), Image.Resampling.BICUBIC)
                image.save(folder / f"{number}.png")
                image.save(folder / f"{number}.jpg", quality=90)
    return root


@pytest.mark.parametrize("resize", ["crop", "stretch"])
def test_training_evaluation_prediction_and_every_runtime_see_the_same_pixels(
    photos: Path,
    narrow: Callable[..., Network],
    lived_in: LIVES,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    resize: Literal["crop", "stretch"],
) -> None:
    size = (("inputs[0].height", 25), ("inputs[0].width", 18), ("inputs[0].resize", resize), ("head.classes", 2))
    network = edit_all(narrow((1,)), size)
    checkpoint = replace(lived_in(network), classes=("cat", "dog"))
    kept = open_dataset(photos, network.inputs, cache=tmp_path / "cache").split("test")
    streamed = open_dataset(photos, network.inputs, cache=tmp_path / "other", disk_budget=0).split("test")
    pixels: list[NDArray[np.uint8]] = [
        np.concatenate([batch.images[0].numpy() for batch in split.batches(5)]) for split in (kept, streamed)
    ]
    assert pixels[0].shape == (2 * 2 * len(SIZES), 25, 18, network.inputs[0].channels)
    assert np.array_equal(*pixels)
    files = [str(photos / name) for name in kept.names]
    for name in ("openvino", "onnxruntime", "torch"):
        bundle: Bundle = runtime(name).export(checkpoint, tmp_path / name)
        session = runtime(name).open(bundle, threads=1)
        expected = np.concatenate([session.run(pixels[0][i : i + 1]) for i in range(len(files))])
        with pytest.raises(SystemExit) as ended:
            main(["predict", str(bundle.folder), *files, "--threads", "1", "--json"])
        assert not ended.value.code
        found = json.loads(capsys.readouterr().out)["images"]
        for answer, probabilities in zip(found, expected, strict=True):
            said = {each["name"]: each["probability"] for each in answer["classes"]}
            assert said == {name: float(p) for name, p in zip(checkpoint.classes, probabilities, strict=True)}
