from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fit50.data.dataset import open_dataset
from fit50.data.inspecting import inspect_images, statistics
from fit50.data.opening import open_source
from fit50.data.stream import Stream
from fit50.data.thumbnails import thumbnails
from fit50.spec.inspection import Inspection
from fit50.spec.network import Input

Folder = Callable[[Mapping[str, int]], Path]
IMAGE = Input(name="rgb", height=8, width=8, resize="stretch")
THERMAL = Input(name="thermal", height=8, width=8, resize="stretch", channels=1, mean=(0.5,), std=(0.2,))


def inspected(
    root: Path, pair: Path | None = None, inputs: tuple[Input, ...] = (IMAGE,), disk_budget: int | None = None
) -> Inspection:
    cache = root.parent / "cache"
    dataset = open_dataset(root, inputs, cache=cache, pair=pair, disk_budget=disk_budget)
    assert all(isinstance(split, Stream) == (disk_budget == 0) for split in dataset.splits.values())
    return inspect_images("photos", open_source(root, cache=cache, pair=pair), dataset, inputs, "resnet50", 0.1)


@pytest.fixture
def given(folder: Folder) -> Path:
    """Splits that the user made: 4 images in each class of each."""
    return folder({f"{split}/{name}": 4 for split in ("train", "val", "test") for name in ("cat", "dog")})


def test_formats_and_modes_are_those_of_the_files(given: Path) -> None:
    colour = np.random.default_rng(1).integers(0, 256, (9, 9, 3), np.uint8)
    cat = given / "train" / "cat"
    Image.fromarray(colour.astype(np.uint16)[..., 0] * 257).save(cat / "deep.png")
    Image.fromarray(colour).quantize(8).save(cat / "palette.gif")
    Image.fromarray(colour).convert("RGBA").save(cat / "alpha.png")
    Image.fromarray(colour[..., 1]).save(cat / "grey.jpg")
    Image.fromarray(colour).save(cat / "whole.jpg")
    (cat / "cut.jpg").write_bytes((cat / "whole.jpg").read_bytes()[:-200])
    found = inspected(given)
    (facts,) = found.inputs
    assert facts.formats == {"PNG": 26, "JPEG": 2, "GIF": 1}
    assert facts.modes == {"RGB": 25, "16-bit grey": 1, "palette": 1, "RGB with alpha": 1, "grey": 1}
    assert [name for name, _ in found.set_aside] == ["train/cat/cut.jpg"]
    assert found.totals == {"train": 13, "val": 8, "test": 8}
    assert found.imbalance == 9 / 4
    assert (found.median, found.smallest, found.largest) == ((8, 6), (8, 6), (9, 9))


def test_duplicates_are_paired_with_the_earliest(given: Path) -> None:
    first = given / "train" / "cat" / "000.png"
    shutil.copy(first, given / "train" / "cat" / "again.png")
    shutil.copy(first, given / "val" / "dog" / "again.png")
    Image.open(given / "train" / "dog" / "001.png").save(given / "test" / "dog" / "other.bmp")
    twins = {(twin.names, twin.splits, twin.classes, twin.exact) for twin in inspected(given).twins}
    assert twins == {
        (("train/cat/000.png", "train/cat/again.png"), ("train", "train"), ("cat", "cat"), True),
        (("train/cat/000.png", "val/dog/again.png"), ("train", "val"), ("cat", "dog"), True),
        (("train/dog/001.png", "test/dog/other.bmp"), ("train", "test"), ("dog", "dog"), False),
    }


def test_a_copy_in_its_own_split_leaks_where_it_looks_like_an_earlier_splits(given: Path) -> None:
    picture = given / "val" / "cat" / "a.bmp"
    Image.open(given / "train" / "cat" / "000.png").save(picture)
    shutil.copy(picture, picture.with_name("b.bmp"))
    found = [(twin.names[0], twin.exact, twin.leaks) for twin in inspected(given).twins]
    assert found == 2 * [("train/cat/000.png", False, True)]


@pytest.mark.parametrize("disk_budget", [None, 0], ids=["resident", "streamed"])
def test_two_inputs_have_facts_each(given: Path, disk_budget: int | None) -> None:
    pair = given.parent / "thermal"
    for path in given.rglob("*.png"):
        target = (pair / path.relative_to(given)).with_suffix(".bmp")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((5, 5), 51, np.uint8)).save(target)
    rgb, thermal = inspected(given, pair, (IMAGE, THERMAL), disk_budget).inputs
    assert (rgb.formats, rgb.modes, rgb.grey) == ({"PNG": 24}, {"RGB": 24}, False)
    assert (thermal.formats, thermal.modes, thermal.grey) == ({"BMP": 24}, {"grey": 24}, True)
    assert (thermal.mean, thermal.std) == (pytest.approx((0.2,)), pytest.approx((0,), abs=1e-6))
    assert (thermal.input_mean, thermal.input_std) == ((0.5,), (0.2,))
    assert rgb.sampled == thermal.sampled == 8


def test_statistics_are_those_of_all_pixels_in_the_inputs_order(folder: Folder) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 3, 4, 3), np.uint8)
    mean, std = statistics(pixels)
    np.testing.assert_allclose(mean, (pixels / 255).mean((0, 1, 2)))
    np.testing.assert_allclose(std, (pixels / 255).std((0, 1, 2)))
    root = folder({"cat": 5, "dog": 5})
    rgb, bgr = (inspected(root, inputs=(IMAGE.model_copy(update={"order": order}),)) for order in ("rgb", "bgr"))
    assert rgb.inputs[0].mean == bgr.inputs[0].mean[::-1] != bgr.inputs[0].mean


def test_grey_photos_are_seen_whatever_their_mode(folder: Folder) -> None:
    root = folder({"cat": 5, "dog": 5})
    for path in root.rglob("*.png"):
        Image.open(path).convert("L").convert("RGB").save(path)
    assert inspected(root).inputs[0].grey


def test_thumbnails_are_small_pictures(given: Path) -> None:
    source = open_source(given, cache=given.parent / "cache")
    found = thumbnails(source, ["val/cat/001.png"], side=4)
    assert list(found) == ["val/cat/001.png"]
    assert found["val/cat/001.png"].startswith("data:image/png;base64,iVBOR")
