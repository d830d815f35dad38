"""The images that two models answer differently."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fit50.data.images import Images
from fit50.evaluate.flips import write_flips
from fit50.spec.errors import StorageError
from fit50.spec.evaluation import Flip

FLIPS = (
    Flip(name="dogs/1.png", label="dog", old="dog", new="cat"),
    Flip(name="cats/2.png", label="big cat/s", old="dog", new="big cat/s"),
)


@pytest.fixture
def split() -> Images:
    colour = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.full((1, 4, 4, 3), (10, 20, 30), np.uint8)
    return Images((colour, np.full((3, 4, 4, 1), 200, np.uint8)), np.arange(3), ("a.png", "dogs/1.png", "cats/2.png"))


def test_images_and_table(tmp_path: Path, split: Images) -> None:
    write_flips(tmp_path / "flips", FLIPS, split)
    with (tmp_path / "flips" / "flips.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], row["image"], row["label"], row["old"], row["new"]) for row in rows] == [
        ("lost", "dogs/1.png", "dog", "dog", "cat"),
        ("won", "cats/2.png", "big cat/s", "dog", "big cat/s"),
    ]
    assert [row["file"] for row in rows] == [
        "lost/000001-dog-old-dog-new-cat.png",
        "won/000002-big_cat_s-old-dog-new-big_cat_s.png",
    ]
    picture = np.asarray(Image.open(tmp_path / "flips" / rows[1]["file"]))
    assert picture.shape == (4, 8, 3)
    assert (picture[:, :4] == (20, 40, 60)).all()
    assert (picture[:, 4:] == 200).all()


def test_no_flips_are_an_empty_table(tmp_path: Path, split: Images) -> None:
    write_flips(tmp_path / "flips", (), split)
    assert [path.name for path in (tmp_path / "flips").iterdir()] == ["flips.csv"]


def test_a_folder_that_exists_is_left_alone(tmp_path: Path, split: Images) -> None:
    (tmp_path / "mine.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(StorageError, match="expected a new folder"):
        write_flips(tmp_path, FLIPS, split)
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "precious"
