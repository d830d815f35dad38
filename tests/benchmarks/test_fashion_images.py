"""Fashion-MNIST as a data set: which images, which labels, and what is said when they are not there."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from fashion_images import SOURCE, fashion_dataset

from fit50.spec.errors import DataError
from fit50.spec.network import Input

GREY = Input(channels=1, height=28, width=28, resize="stretch", mean=(0.5,), std=(0.25,))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """40 training images and 20 test images whose every pixel is their place; labels in turn."""
    folder = tmp_path / "idx"
    folder.mkdir()
    for name, count in (("train", 40), ("t10k", 20)):
        pixels = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, 28, 28))
        for kind, array in (("images-idx3", pixels), ("labels-idx1", np.arange(count, dtype=np.uint8) % 10)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (folder / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return folder


@pytest.mark.parametrize("side", [28, 32])
def test_splits_hold_the_images_asked_for(source: Path, tmp_path: Path, side: int) -> None:
    input = GREY.model_copy(update={"height": side, "width": side})
    data = fashion_dataset(input, train=np.array([7, 3, 12]), val=np.array([9]), cache=tmp_path, source=source)
    again = fashion_dataset(input, train=np.array([7, 3, 12]), val=np.array([9]), cache=tmp_path, source=source)
    assert data.split("train").take(3, 0).pixels[0].shape == (3, side, side, 1)
    (pixels,), labels = next(data.split("train").batches(3))
    assert pixels[:, 0, 0, 0].tolist() == [7, 3, 12]
    assert [data.classes[label] for label in labels] == ["sneaker", "dress", "pullover"]
    assert (len(data.split("val")), len(data.split("test"))) == (1, 20)
    assert data.identity == again.identity
    assert data.audit.counts["train"]["sneaker"] == 1
    assert data.audit.duplicates == 4  # test images 3, 7, 9 and 12 look like the training images of these places


def test_an_image_may_not_be_in_two_splits(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found 1 in both, such as 4"):
        fashion_dataset(GREY, train=np.arange(5), val=np.array([4, 20]), cache=tmp_path, source=source)


def test_missing_files_say_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="apt-get install dataset-fashion-mnist"):
        fashion_dataset(GREY, train=np.arange(5), val=np.array([9]), cache=tmp_path, source=tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not SOURCE.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_the_whole_of_it(tmp_path: Path) -> None:
    data = fashion_dataset(GREY, train=np.arange(57_000), val=np.arange(57_000, 60_000), cache=tmp_path)
    assert sum(data.audit.counts["train"].values()) == 57_000
    assert set(data.audit.counts["test"].values()) == {1000}
